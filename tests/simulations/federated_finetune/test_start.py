"""The encoder that every arm starts from, and what is refused."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from core.errors import CheckpointError, ConfigError
from core.federation.tensors import digest_of, state_of
from core.files import load_tensors, save_tensors
from core.models.encoder import build_encoder
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.federated_finetune.start import start_of

Configure = Callable[..., FederatedFinetuneConfig]


def test_nothing_given_is_random_weights(configure: Configure) -> None:
    assert start_of(configure()) == (None, "random weights by the training seed")


def test_an_arm_of_a_finished_run_gives_its_encoder(configure: Configure, whole_run: Path) -> None:
    start = start_of(configure(f"start.run={whole_run}", "start.arm=centralized_wide"))
    model = load_tensors(whole_run / "arms" / "seed-0" / "centralized_wide" / "arm.safetensors", schema=1)[0]
    wanted = {n.removeprefix("encoder."): value for n, value in model.items() if n.startswith("encoder.")}
    assert start.encoder is not None
    assert digest_of(start.encoder) == digest_of(wanted)
    assert start.source == "run whole, arm centralized_wide, seed 0"


def test_a_run_without_such_an_arm_or_no_run_is_refused(configure: Configure, whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"start\.arm: .* has no arm best"):
        start_of(configure(f"start.run={whole_run}", "start.arm=best"))
    with pytest.raises(ConfigError, match="is not there"):
        start_of(configure(f"start.run={tmp_path / 'none'}"))


def test_a_run_that_held_out_others_of_the_same_images_is_refused(configure: Configure, whole_run: Path) -> None:
    manifest = next(line for line in (whole_run / "config.yaml").read_text().splitlines() if "manifest:" in line)
    with pytest.raises(ConfigError, match="held out other patients of the same images"):
        start_of(configure(f"start.run={whole_run}", f"data.manifest={manifest.split()[-1]}", "data.test=0.3"))


def test_a_file_of_ours_gives_its_encoder(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    state = state_of(build_encoder(config.encoder, seed=3))
    path = tmp_path / "encoder.safetensors"
    save_tensors(path, state, meta={"schema_version": 1, "encoder": asdict(config.encoder), "sha256": digest_of(state)})
    start = start_of(configure(f"start.weights={path}"))
    assert start.encoder is not None
    assert digest_of(start.encoder) == digest_of(state)
    assert start.source.startswith("weights encoder.safetensors (")
    with pytest.raises(ConfigError, match="not an encoder as the section encoder says"):
        start_of(configure(f"start.weights={path}", "encoder.depth=2"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors"):
        start_of(configure(f"start.weights={path}"))
