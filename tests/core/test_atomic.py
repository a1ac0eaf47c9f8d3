"""A file is there whole or not at all."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from core.atomic import write_atomically


def test_content_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_parts_are_written_one_after_the_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"head", memoryview(b"body"), b"")
    assert (tmp_path / "a").read_bytes() == b"headbody"


def test_a_secret_is_nobody_elses_even_where_a_killed_process_left_a_file_for_all(tmp_path: Path) -> None:
    left = tmp_path / f".key.{os.getpid()}.part"
    left.write_bytes(b"old")
    left.chmod(0o666)
    write_atomically(tmp_path / "key", b"secret", mode=0o600)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    script = (
        "import sys; from pathlib import Path; from core.atomic import write_atomically\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(5000))\n"
        "except OSError as error: sys.exit(0 if error.errno == 27 else 1)"  # EFBIG
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),  # a file may have 1000 bytes
    )
    assert done.returncode == 0
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "é" * 127])
def test_the_longest_name_that_a_folder_takes_can_be_written(name: str, tmp_path: Path) -> None:
    write_atomically(tmp_path / name, b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "a.json", b"x")
