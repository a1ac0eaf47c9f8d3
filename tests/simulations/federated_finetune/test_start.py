"""The encoder that every arm starts from, and what is refused."""

import shutil
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


def test_a_run_that_trained_on_held_out_patients_is_refused(configure: Configure, whole_run: Path) -> None:
    header, *rows = (whole_run / "sites" / "east" / "manifest.csv").read_text().splitlines()
    row = dict(zip(header.split(","), rows[0].split(","), strict=True))
    start = configure(f"start.run={whole_run}")
    with pytest.raises(ConfigError, match="trained on 1 patients who are held out here"):
        start_of(start, held_out=[("tiny", row["patient"]), ("tiny", "nobody")])
    assert start_of(start, held_out=[("other", row["patient"])]).encoder is not None


def test_a_run_that_does_not_tell_whom_it_saw_is_refused(configure: Configure, whole_run: Path, tmp_path: Path) -> None:
    shutil.copy(whole_run / "metrics.json", tmp_path)
    with pytest.raises(ConfigError, match="which tell whom it was trained on"):
        start_of(configure(f"start.run={tmp_path}"))


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
