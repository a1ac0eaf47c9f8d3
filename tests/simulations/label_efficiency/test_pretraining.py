"""Where a study's encoders come from."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from core.errors import ConfigError
from simulations.label_efficiency.study import run_study

Run = Callable[..., Path]


def files(folder: Path, pattern: str) -> dict[str, tuple[bytes, int]]:
    """File to its content and time stamp."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob(pattern)
    }


def test_a_study_makes_its_own_pretraining_and_goes_on_from_it(study_file: Path) -> None:
    given = ["name=own", "arms=[random_init,federated]", "budgets=[2]", "pretraining.overrides=[seeds=[0]]"]
    folder = run_study(path=study_file, overrides=given, console=Console(quiet=True))
    arms = {path.name for path in (folder / "pretraining" / "arms" / "seed-0").iterdir()}
    assert arms == {"federated"}
    before = files(folder / "pretraining", "arms/*/*/arm.safetensors")
    run_study(path=study_file, overrides=given, resume=True, console=Console(quiet=True))
    assert files(folder / "pretraining", "arms/*/*/arm.safetensors") == before


@pytest.mark.parametrize("name", ["pretraining.run=/nowhere/run", "pretraining.config=/nowhere/file.yaml"])
def test_a_pretraining_that_is_not_there_is_refused_before_a_folder_is_made(
    name: str, study_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        run_study(path=study_file, overrides=[name], console=Console(quiet=True))
    assert not (tmp_path / "runs").exists()


def test_encoders_of_other_images_are_refused(run: Run, tiny_manifest: Path, tiny_cache: Path) -> None:
    with pytest.raises(ConfigError, match="was made from other images"):
        run(f"data.manifest={tiny_manifest}", f"data.cache={tiny_cache}")
