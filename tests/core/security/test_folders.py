"""A folder is there whole or not at all; a file from elsewhere is small and plain."""

import os
from pathlib import Path

import pytest

from core.errors import SecurityError
from core.security.folders import new_folder, read_file, write_file


def fill(path: Path, error: Exception) -> None:
    with new_folder(path) as place:
        (place / "key").write_text("secret")
        raise error


@pytest.mark.parametrize("error", [SecurityError("no"), OSError(28, "No space left on device")])
def test_nothing_is_left_of_a_folder_that_could_not_be_filled(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(SecurityError):
        fill(tmp_path / "a", error)
    assert not list(tmp_path.iterdir())


def test_whatever_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(SecurityError, match="never overwritten"), new_folder(tmp_path / name):
            pytest.fail("must not be filled")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_pipe_a_folder_and_a_long_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"x" * (64 * 1024 + 1))
    for name in ("pipe", "long", "missing"):
        with pytest.raises(SecurityError, match="ask again"):
            read_file(tmp_path / name, remedy="ask again")
    with pytest.raises(SecurityError, match="ask again"):
        read_file(tmp_path, remedy="ask again")


def test_a_fresh_file_takes_no_others_place(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b", b"1", fresh=True)
    with pytest.raises(SecurityError, match="already"):
        write_file(tmp_path / "a" / "b", b"2", fresh=True)
    write_file(tmp_path / "a" / "b", b"3")
    assert (tmp_path / "a" / "b").read_bytes() == b"3"
