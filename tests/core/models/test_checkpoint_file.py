"""A file is read or refused; nothing in it runs."""

import argparse
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from core.errors import CheckpointError
from core.files import save_tensors
from core.models.checkpoint_file import read_checkpoint, sha256_of


class _Bomb:
    """Asks the unpickler to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"abc")  # the example of FIPS 180-2, appendix B.1
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.pt", "a.bin"])
def test_tensors_come_back(tmp_path: Path, name: str) -> None:
    tensors = {"a": torch.rand(2, 3), "b": torch.arange(4)}
    (save_file if name.endswith("tensors") else torch.save)(tensors, tmp_path / name)
    read = read_checkpoint(tmp_path / name)
    assert read.document is None
    assert read.content.keys() == tensors.keys()
    assert all(torch.equal(read.content[key], tensors[key]) for key in tensors)


def test_a_namespace_beside_the_weights_is_allowed(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1)}, "args": argparse.Namespace(lr=1.0)}, tmp_path / "a.pth")
    assert set(read_checkpoint(tmp_path / "a.pth").content) == {"model", "args"}
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_named_and_does_not_run(tmp_path: Path, zipped: Any) -> None:
    path, trace = tmp_path / "a.pth", tmp_path / "ran"
    torch.save({"w": torch.ones(2), "x": _Bomb(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"a\.pth: .*posix\.mkdir.*nothing of it was run.*safetensors"):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.is_dir()  # so it was a real one


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(_Bomb(tmp_path / "ran"), protocol=protocol))
    with pytest.raises(CheckpointError, match=r"a\.bin"):
        read_checkpoint(tmp_path / "a.bin")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "legacy.pth"])
@pytest.mark.parametrize("kept", [3, 60, -5])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    if name == "a.safetensors":
        save_file({"a": torch.ones(100)}, path)
    else:
        torch.save({"a": torch.ones(100)}, path, _use_new_zipfile_serialization=name == "a.pth")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=rf"{name}: .*again"):
        read_checkpoint(path)


def test_a_file_longer_than_its_header_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(10)}, path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(CheckpointError, match=r"a\.safetensors: .*not fully covered"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_text_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html>404: the file that you asked for is not here</html>")
    with pytest.raises(CheckpointError, match="again"):
        read_checkpoint(tmp_path / name)


def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    for name, reason in (("", "is a folder"), ("absent.pth", "No such file"), ("empty.pth", "is empty")):
        with pytest.raises(CheckpointError, match=reason):
            sha256_of(tmp_path / name)


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "a.pickle")
    with pytest.raises(CheckpointError, match=r"a\.pickle: ends in none of \.safetensors, \.pth, \.pt, \.bin"):
        read_checkpoint(tmp_path / "a.pickle")


def test_a_list_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_checkpoint(tmp_path / "a.pt")


def test_an_archive_that_grows_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as whole, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as small:
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    with pytest.raises(CheckpointError, match=r"b\.pt: .*unpacks to"):
        read_checkpoint(tmp_path / "b.pt")


def test_a_release_brings_its_document_and_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights = {"a": torch.ones(3).numpy()}
    save_tensors(path, weights, meta={"schema_version": 1, "encoder": {"width": 3}})
    document = read_checkpoint(path).document
    assert document is not None
    assert document["encoder"] == {"width": 3}
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="differs from what was released"):
        read_checkpoint(path)
    save_tensors(path, weights, meta={"schema_version": 7, "encoder": {}})
    with pytest.raises(CheckpointError, match="release schema 7, this code reads 1"):
        read_checkpoint(path)


@pytest.mark.parametrize("document", ["{", "[" * 100_000, '{"schema_version": 9}', "3"])
def test_another_tools_document_is_its_own_affair(tmp_path: Path, document: str) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "a.safetensors", metadata={"document": document})
    assert read_checkpoint(tmp_path / "a.safetensors").document is None
