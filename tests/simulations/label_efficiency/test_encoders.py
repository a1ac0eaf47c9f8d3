"""Encoders by draw, by file and by digest."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from core.errors import CheckpointError, ConfigError
from core.federation.tensors import digest_of, state_of
from core.files import save_tensors
from core.models.encoder import EncoderConfig, build_encoder
from simulations.results import load_result

Run = Callable[..., Path]


def metrics(folder: Path) -> dict[str, Any]:
    """The study's `metrics.json`."""
    return dict(json.loads((folder / "metrics.json").read_text()))


def test_random_weights_differ_between_draws_and_pretrained_ones_follow_the_training_seeds(finished: Path) -> None:
    digests = json.loads((finished / "encoders.json").read_text())
    assert digests["random_init/seed-0"] != digests["random_init/seed-1"]
    assert {name for name in digests if name.startswith("federated")} == {"federated/seed-0", "federated/seed-1"}
    assert metrics(finished)["encoders"] == digests


def test_given_weights_of_another_shape_are_an_arm_beside_the_others(
    run: Run, pretrained: Path, tmp_path: Path
) -> None:
    shape = EncoderConfig(size="custom", width=24, depth=2, heads=2, patch=4, side=32, channels=1)
    encoder = build_encoder(shape, seed=1)
    other = tmp_path / "other.safetensors"
    save_tensors(other, state_of(encoder), meta={"schema_version": 1, "encoder": asdict(shape), "sha256": ""})
    ours = pretrained / "encoder.safetensors"
    folder = run("budgets=[2]", "arms=[random_init]", f"public.other={other}", f"public.ours={ours}")
    found = metrics(folder)
    assert {cell["arm"] for cell in found["cells"]} == {"random_init", "public:other", "public:ours"}
    assert found["encoders"]["public:other"] == digest_of(state_of(encoder))
    federated = load_result(pretrained / "arms" / "seed-0" / "federated")
    assert federated is not None
    model = {k.removeprefix("encoder."): v for k, v in federated[0].model.items() if k.startswith("encoder.")}
    assert found["encoders"]["public:ours"] == digest_of(model)


def test_weights_that_are_no_encoder_are_refused_before_any_cell(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        run(f"public.bad={path}")
    assert not list(tmp_path.glob("runs/s/cells/**/*.json"))


def test_encoders_that_changed_do_not_go_on_with_a_study(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    shape = EncoderConfig(size="custom", width=16, depth=1, heads=2, patch=4, side=16, channels=1)
    for seed in (1, 2):
        save_tensors(path, state_of(build_encoder(shape, seed=seed)),
                     meta={"schema_version": 1, "encoder": asdict(shape), "sha256": ""})  # fmt: skip
        if seed == 1:
            run("budgets=[2]", "arms=[random_init]", f"public.mine={path}")
    with pytest.raises(CheckpointError, match=r"other encoders \(public:mine\)"):
        run("budgets=[2]", "arms=[random_init]", f"public.mine={path}", resume=True)


def test_an_arm_that_the_pretraining_lacks_is_refused(run: Run, pretrained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pretrained, copy)
    shutil.rmtree(copy / "arms" / "seed-1" / "federated")
    with pytest.raises(ConfigError, match=r"seed-1/federated: the pretraining has no such arm"):
        run(f"pretraining.run={copy}")


def test_the_digest_that_an_encoder_must_have_is_compared(run: Run, pretrained: Path, tmp_path: Path) -> None:
    wrong = "{federated/seed-0: " + "f" * 64 + "}"
    with pytest.raises(ConfigError, match=r"encoder federated/seed-0 has SHA-256 [0-9a-f]{64}, pretraining.digests"):
        run(f"pretraining.digests={wrong}")
    unknown = "{fedrated/seed-0: " + "f" * 64 + "}"
    with pytest.raises(ConfigError, match="there is no encoder 'fedrated/seed-0'"):
        run(f"pretraining.digests={unknown}", overwrite=True)


def test_what_is_given_is_loaded_before_a_folder_is_made(run: Run, pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: cannot be read"):
        run("public.other=/nowhere.pth")
    copy = tmp_path / "copy"
    shutil.copytree(pretrained, copy)
    shutil.rmtree(copy / "arms" / "seed-1" / "federated")
    with pytest.raises(ConfigError, match="the pretraining has no such arm"):
        run(f"pretraining.run={copy}")
    assert not (tmp_path / "runs").exists()


def test_an_encoder_file_that_was_exchanged_computes_no_cell(run: Run) -> None:
    given = ("budgets=[2]", "arms=[random_init,federated]")
    folder = run(*given)
    own, other = folder / "encoders/federated/seed-0.safetensors", folder / "encoders/random_init/seed-1.safetensors"
    cell = folder / "cells/mask/2/federated/draw-0.json"
    cell.unlink()
    shutil.copy(other, own)
    with pytest.raises(CheckpointError, match=r"seed-0\.safetensors: not the encoder that the study began with"):
        run(*given, resume=True)
    own.unlink()
    run(*given, resume=True)
    assert cell.exists()
