"""A released encoder opens in timm by the two lines of the README, and gives the same features."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from core.errors import CheckpointError
from core.models.encoder import Encoder, EncoderConfig, PlainConfig, build_encoder
from core.models.export import export_timm
from core.models.normalization import IMAGENET, PER_IMAGE
from core.models.weights import load_encoder

README = Path(__file__).resolve().parents[3] / "README.md"
FOLDER = "runs/demo/encoder_timm"

CONFIGS = [
    EncoderConfig(size="custom", width=16, depth=2, heads=2, patch=4, side=12, channels=1),
    EncoderConfig(size="custom", width=24, depth=3, heads=3, patch=7, side=35, channels=3, drop_path=0.2),
    EncoderConfig(size="custom", width=16, depth=1, heads=2, patch=4, side=12, layer_scale=0.0),
    PlainConfig(size="custom", width=16, depth=2, heads=2, patch=4, side=12, layer_scale=0.0),
    PlainConfig(size="custom", width=16, depth=2, heads=4, patch=4, side=20, channels=1, layer_scale=0.1),
]
EACH = pytest.mark.parametrize("config", CONFIGS)


def _encoder(config: EncoderConfig) -> Encoder:
    encoder = build_encoder(config, seed=0).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def _two_lines() -> str:
    """The code of the README's section, as it stands there."""
    section = README.read_text().split("\n## Use the encoder\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```\n(.*?)```", section, flags=re.DOTALL)
    return str(code)


def _opened(folder: Path, monkeypatch: Any) -> Any:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(_two_lines(), names)
    return names["encoder"].eval()


@EACH
def test_the_two_lines_of_the_readme_open_it(tmp_path: Path, monkeypatch: Any, config: EncoderConfig) -> None:
    assert len(_two_lines().splitlines()) == 2
    ours = _encoder(config)
    export_timm(ours, tmp_path / FOLDER, meta={"normalization": PER_IMAGE})
    theirs = _opened(tmp_path, monkeypatch)
    images = torch.rand(3, config.channels, config.side, config.side)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours.features(images), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(theirs.forward_features(images), ours(images), rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())


def test_timms_usual_arguments_work(tmp_path: Path) -> None:
    ours, name = _encoder(CONFIGS[1]), f"local-dir:{tmp_path}"
    export_timm(ours, tmp_path, meta={})
    headed = timm.create_model(name, pretrained=True, num_classes=4).eval()
    images = torch.rand(2, 3, 35, 35)
    with torch.no_grad():
        assert headed(images).shape == (2, 4)
        torch.testing.assert_close(headed(images), headed.head(ours.features(images)), rtol=1e-5, atol=1e-5)
        grey = timm.create_model(name, pretrained=True, in_chans=1).eval()
        one = torch.rand(2, 1, 35, 35)
        torch.testing.assert_close(grey(one), ours.features(one), rtol=1e-5, atol=1e-5)
    pyramid = timm.create_model(name, pretrained=True, features_only=True, out_indices=(0, 2))
    assert [tuple(level.shape) for level in pyramid(images)] == [(2, 24, 5, 5)] * 2


@EACH
def test_it_loads_here_too_as_a_release(tmp_path: Path, config: EncoderConfig) -> None:
    ours = _encoder(config)
    export_timm(ours, tmp_path, meta={"normalization": PER_IMAGE})
    loaded = load_encoder(tmp_path / "model.safetensors", drop_path=config.drop_path)
    assert loaded.normalization == PER_IMAGE
    assert loaded.licence == "in the model card beside it"
    assert loaded.encoder.config == config
    state = ours.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.encoder.state_dict().items())


def test_the_normalization_goes_with_the_weights(tmp_path: Path) -> None:
    export_timm(_encoder(CONFIGS[3]), tmp_path, meta={"normalization": IMAGENET})
    assert load_encoder(tmp_path / "model.safetensors").normalization == IMAGENET
    export_timm(_encoder(CONFIGS[3]), tmp_path, meta={"normalization": ["odd"]})
    with pytest.raises(CheckpointError, match=r"says normalization .*unknown here"):
        load_encoder(tmp_path / "model.safetensors")


def test_the_same_encoder_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        export_timm(_encoder(CONFIGS[0]), tmp_path / folder, meta={})
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
