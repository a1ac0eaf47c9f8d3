"""Files are whole or not there: on a full disk, after a kill, and after a bit has flipped."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save, save_file

from core.errors import CheckpointError
from core.federation.tensors import digest_of
from core.files import append_line, load_tensors, save_tensors, write_bytes, write_json, write_text

META = {"schema_version": 1, "note": "é"}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b", b"content")
    assert (tmp_path / "a" / "b").read_bytes() == b"content"
    assert listing(tmp_path / "a") == ["b"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o644


def test_a_file_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "f", "old and longer")
    write_text(tmp_path / "f", "nëw")
    assert (tmp_path / "f").read_text(encoding="utf-8") == "nëw"
    assert listing(tmp_path) == ["f"]


def test_on_a_full_disk_the_old_file_stays_and_nothing_is_left(tmp_path: Path) -> None:
    write_bytes(tmp_path / "f", b"old")
    with disk_of(100), pytest.raises(CheckpointError, match=r"f: cannot be written .*; free space"):
        write_bytes(tmp_path / "f", b"x" * 1000)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert listing(tmp_path) == ["f"]


@pytest.mark.parametrize("write", [lambda path: write_bytes(path, b"x"), lambda path: append_line(path, "x")])
def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        write(tmp_path / "file" / "f")


def test_a_folder_in_the_files_place_is_a_sentence_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_bytes(tmp_path / "f", b"x")
    assert listing(tmp_path) == ["f"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "f", {"a": [1, 0.5]})
    assert json.loads((tmp_path / "f").read_text()) == {"a": [1, 0.5]}
    assert (tmp_path / "f").read_text().endswith("}\n")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "f", {"a": float("nan")})
    assert json.loads((tmp_path / "f").read_text()) == {"a": [1, 0.5]}


@pytest.mark.parametrize(
    ("before", "line", "after"),
    [
        (None, "a", b"a\n"),
        (b"", "a", b"a\n"),
        (b"a\n", "b", b"a\nb\n"),
        (b"a\nb\n", "b", b"a\nb\n"),  # it stands there
        (b"a\n", "", b"a\n"),  # nothing to say
        (b"a\nb", "b", b"a\nb\n"),  # the closing newline was lost
        (b'a\n{"x"', "b", b"a\nb\n"),  # torn in the middle
        (b"a\nb\xc3", "b", b"a\nb\n"),  # torn within a letter
        (b"torn", "b", b"b\n"),
        (b"a\nb\nto", "b", b"a\nb\n"),  # torn after it was repeated
        (b"b\na\n", "b", b"b\na\nb\n"),  # an earlier line of the same text is another line
        (b"ab\n", "b", b"ab\nb\n"),  # the end of a line is not the line
    ],
)
def test_a_file_of_lines_ends_with_the_line(tmp_path: Path, before: bytes | None, line: str, after: bytes) -> None:
    path = tmp_path / "lines"
    if before is not None:
        path.write_bytes(before)
    for _ in range(2):
        append_line(path, line)
        assert path.read_bytes() == after


def test_a_line_cut_at_any_byte_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for length in range(len(b"first\nsecond\n") + 1):
        path.write_bytes(b"first\nsecond\n"[:length])
        append_line(path, "second")
        assert path.read_bytes() in (b"first\nsecond\n", b"second\n")
        assert (path.read_bytes() == b"first\nsecond\n") == (length >= len(b"first\n"))


def test_a_full_disk_while_appending_keeps_the_lines_before(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, "first")
    with disk_of(20), pytest.raises(CheckpointError, match="cannot be written"):
        append_line(path, "x" * 100)
    append_line(path, "second")
    assert path.read_bytes() == b"first\nsecond\n"


TENSORS = {
    "m/step": np.array(3.0, np.float32),
    "m/a": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "u": np.array([1, 65535], np.uint16),
    "empty": np.zeros((0, 2), np.float32),
}


def test_tensors_come_back_with_shape_type_and_document(tmp_path: Path) -> None:
    save_tensors(tmp_path / "t", TENSORS, meta=META)
    found, meta = load_tensors(tmp_path / "t", schema=1)
    assert digest_of(found) == digest_of(TENSORS)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in TENSORS.items()
    }
    assert meta == META


def test_the_file_is_what_safetensors_itself_would_write(tmp_path: Path) -> None:
    save_tensors(tmp_path / "t", TENSORS, meta=META)
    with safe_open(tmp_path / "t", framework="numpy") as file:
        metadata = file.metadata()
    arrays = {name: np.ascontiguousarray(value).reshape(value.shape) for name, value in TENSORS.items()}
    assert (tmp_path / "t").read_bytes() == save(arrays, metadata=metadata)


def test_a_type_that_the_format_does_not_know_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a is complex128, which safetensors does not know"):
        save_tensors(tmp_path / "t", {"a": np.zeros(2, np.complex128)}, meta=META)
    assert not (tmp_path / "t").exists()


def test_a_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    path = tmp_path / "t"
    save_tensors(path, TENSORS, meta=META)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            found, meta = load_tensors(path, schema=1)
        except CheckpointError:
            continue
        assert digest_of(found) == digest_of(TENSORS), place  # a header's blank may become another blank
        assert meta == META, place


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    save_tensors(path, TENSORS, meta=META)
    content = path.read_bytes()
    for length in [0, 1, 7, 8, 9, len(content) // 2, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cannot be read .*; remove it to start over"):
            load_tensors(path, schema=1)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    save_tensors(tmp_path / "t", TENSORS, meta={"schema_version": 2})
    with pytest.raises(CheckpointError, match="schema version 2, this code reads 1"):
        load_tensors(tmp_path / "t", schema=1)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "plain")
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "list", metadata={"document": "[]"})
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "unsealed", metadata={"document": '{"schema_version": 1}'})
    for name in ("plain", "list", "unsealed"):
        with pytest.raises(CheckpointError, match=name):
            load_tensors(tmp_path / name, schema=1)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tensors(tmp_path / "t", schema=1)
