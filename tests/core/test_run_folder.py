"""A run's folder: nobody's work is overwritten, two processes do not share it, a run goes on only as what it was."""

import fcntl
from pathlib import Path

import pytest

from core.errors import CheckpointError, ConfigError, RunExists
from core.run_folder import CONFIG, LOCK, alone_in, check_folder, check_inputs, clear, taken

HINT = "choose another --out"


def check(folder: Path, text: str = "steps: 4\n", *, resume: bool = False, overwrite: bool = False) -> None:
    check_folder(folder, text, resume=resume, overwrite=overwrite, elsewhere=HINT)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder that holds a run."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / CONFIG).write_text("steps: 4\n")
    (folder / "arms").mkdir()
    (folder / "arms" / "a.txt").touch()
    return folder


def test_a_new_folder_is_free_and_so_is_one_with_the_lock_alone(tmp_path: Path) -> None:
    check(tmp_path / "new")
    (tmp_path / LOCK).touch()
    assert not taken(tmp_path)
    check(tmp_path)


def test_a_run_is_resumed_or_overwritten_only_when_asked(run: Path) -> None:
    with pytest.raises(RunExists, match=f"{HINT}, or --resume"):
        check(run)
    check(run, resume=True)
    check(run, overwrite=True)
    with pytest.raises(ConfigError, match="give one of them"):
        check(run, resume=True, overwrite=True)


def test_a_run_of_another_configuration_is_not_gone_on_with_and_the_difference_told(run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"saved: steps: 4\n  now:   steps: 5"):
        check(run, "steps: 5\n", resume=True)


def test_what_is_no_run_is_never_removed_nor_resumed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunExists, match="holds no run"):
        check(tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match="there is no run to resume"):
        check(tmp_path, resume=True)


def test_clearing_leaves_the_lock_and_follows_no_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (run / "link").symlink_to(tmp_path / "precious")
    (run / LOCK).touch()
    clear(run)
    assert [path.name for path in run.iterdir()] == [LOCK]
    assert (tmp_path / "precious").exists()


def test_inputs_are_kept_once_and_compared_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    check_inputs(path, {"data": "ab"})
    check_inputs(path, {"data": "ab"})
    with pytest.raises(CheckpointError, match="changed since the run began"):
        check_inputs(path, {"data": "cd"})


def test_what_cannot_be_read_is_named_with_the_remedy(run: Path, tmp_path: Path) -> None:
    (run / CONFIG).write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"config.yaml: cannot be read .*--overwrite starts over"):
        check(run, resume=True)
    (tmp_path / "inputs.json").mkdir()
    with pytest.raises(CheckpointError, match=r"inputs.json: cannot be read"):
        check_inputs(tmp_path / "inputs.json", {"data": "ab"})


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunExists, match="in use by another process"), alone_in(tmp_path):
            raise AssertionError
    with alone_in(tmp_path / "deep" / "new"):
        assert (tmp_path / "deep" / "new" / LOCK).exists()


def test_a_folder_that_cannot_be_made_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=HINT), alone_in(tmp_path / "file" / "run", elsewhere=HINT):
        raise AssertionError
