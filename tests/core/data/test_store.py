"""The cache's files survive kills, full disks, damage and builders at the same time."""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.cache import ImageCache, open_cache
from core.data.manifest import Manifest, Record
from core.errors import DataError

SIDE = 16

MakeManifest = Callable[[Path, int], Manifest]

BUILD = f"""
import os, signal, sys
from pathlib import Path
import core.data.cache as cache
from core.data.manifest import load_manifest
from core.errors import DataError
def progress(done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
cache.COMMIT_EVERY = 3
try:
    cache.open_cache(load_manifest(Path(sys.argv[1])), folder=Path(sys.argv[2]), side={SIDE}, progress=progress)
except DataError as error:
    sys.exit(str(error))
"""


def greys(cache: ImageCache) -> list[int]:
    """The grey of every row; each image must be uniform."""
    images = cache.images(np.arange(len(cache)))
    assert (images == images[:, :1, :1]).all()
    return images[:, 0, 0].tolist()


def files_with_bytes(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]


def run(script: str, *arguments: object, file_limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """A Python process of its own; `file_limit` is the size in bytes that its files may have."""

    def limit() -> None:
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)


@pytest.mark.parametrize("done", [1, 4, 7, 9])
def test_a_kill_at_any_image_leaves_a_cache_that_goes_on(
    tmp_path: Path, done: int, make_manifest: MakeManifest
) -> None:
    """Six images and three masks, committed every three; killed by SIGKILL after the image or mask `done`."""
    manifest = make_manifest(tmp_path / "data", 6)
    assert run(BUILD, manifest.path, tmp_path / "cache", done).returncode == -signal.SIGKILL
    (tmp_path / f"cache/side-{SIDE}/.index.json.1.part").write_bytes(b"half an ind")  # killed in the index, too
    seen: list[tuple[int, int]] = []
    cache = open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=lambda *counts: seen.append(counts))
    assert greys(cache) == [10, 20, 30, 40, 50, 60]
    assert (cache.masks(np.array([0, 2, 4])).mean(axis=(1, 2)) == 0.5).all()
    assert len(seen) == 9 - 3 * (done // 3)  # whole groups of three were committed and are not decoded again
    assert sorted(path.name for path in (tmp_path / f"cache/side-{SIDE}").iterdir()) == [
        "images.u8",
        "index.json",
        "lock",
        "masks.u8",
    ]


def test_an_interrupted_build_gives_back_what_was_not_committed(tmp_path: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(tmp_path / "data", 4)

    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=interrupt)
    assert [path.name for path in (tmp_path / f"cache/side-{SIDE}").iterdir()] == ["lock"]
    some = manifest.select(lambda record: record.row == 2)
    open_cache(some, folder=tmp_path / "cache", side=SIDE)
    before = {path: path.read_bytes() for path in files_with_bytes(tmp_path / "cache")}
    with pytest.raises(KeyboardInterrupt):
        open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=interrupt)
    assert {path: path.read_bytes() for path in files_with_bytes(tmp_path / "cache")} == before
    assert greys(open_cache(manifest, folder=tmp_path / "cache", side=SIDE)) == [10, 20, 30, 40]


def damage_nothing(place: Path) -> None:
    assert place.is_dir()


def damage_index(place: Path) -> None:
    (place / "index.json").write_bytes(b'{"schema": 1')


def damage_index_type(place: Path) -> None:
    (place / "index.json").write_bytes(b"[1, 2]")


def damage_older_schema(place: Path) -> None:
    (place / "index.json").write_bytes((place / "index.json").read_bytes().replace(b'"schema":1', b'"schema":0'))


def damage_short_pixels(place: Path) -> None:
    os.truncate(place / "images.u8", SIDE * SIDE)


def damage_no_pixels(place: Path) -> None:
    (place / "images.u8").unlink()


def damage_extra_bytes(place: Path) -> None:
    with (place / "images.u8").open("ab") as file:
        file.write(b"tail of a killed build")


@pytest.mark.parametrize(
    "damage",
    [
        damage_nothing,
        damage_index,
        damage_index_type,
        damage_older_schema,
        damage_short_pixels,
        damage_no_pixels,
        damage_extra_bytes,
    ],
)
def test_a_damaged_cache_is_made_again(
    tmp_path: Path, damage: Callable[[Path], None], make_manifest: MakeManifest
) -> None:
    manifest = make_manifest(tmp_path / "data", 3)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    damage(tmp_path / f"cache/side-{SIDE}")
    Image.new("L", (24, 24), 77).save(manifest.records[2].image)
    assert greys(open_cache(manifest, folder=tmp_path / "cache", side=SIDE)) == [10, 20, 77]


def test_the_tail_of_a_killed_build_is_cut_off(tmp_path: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(tmp_path / "data", 3)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    damage_extra_bytes(tmp_path / f"cache/side-{SIDE}")
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    assert (tmp_path / f"cache/side-{SIDE}/images.u8").stat().st_size == 3 * SIDE * SIDE


def test_a_cache_of_a_newer_program_is_left_alone(tmp_path: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(tmp_path / "data", 2)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    index = tmp_path / f"cache/side-{SIDE}/index.json"
    index.write_bytes(index.read_bytes().replace(b'"schema":1', b'"schema":999'))
    held = [path.read_bytes() for path in files_with_bytes(tmp_path / "cache")]
    with pytest.raises(DataError, match="schema 999"):
        open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    assert [path.read_bytes() for path in files_with_bytes(tmp_path / "cache")] == held


@pytest.mark.parametrize("images_that_fit", [0, 2, 5])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(
    tmp_path: Path, images_that_fit: int, make_manifest: MakeManifest
) -> None:
    """A limit on file size stands for the full disk: the system refuses the write just so (EFBIG for ENOSPC)."""
    path = make_manifest(tmp_path / "data", 6).path
    done = run(BUILD, path, tmp_path / "cache", -1, file_limit=images_that_fit * SIDE * SIDE + 5)
    assert done.returncode == 1
    assert f"cache {tmp_path}/cache/side-{SIDE}: the disk or a quota is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert files_with_bytes(tmp_path / "cache") == []


def test_a_disk_that_fills_up_later_keeps_what_was_there(tmp_path: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(tmp_path / "data", 20)
    some = manifest.select(lambda record: record.row <= 4)
    open_cache(some, folder=tmp_path / "cache", side=SIDE)
    before = {path: path.read_bytes() for path in files_with_bytes(tmp_path / "cache")}
    # 20 images need 5120 bytes in one file, so 4000 do not do.
    done = run(BUILD, manifest.path, tmp_path / "cache", -1, file_limit=4000)
    assert "is full" in done.stderr
    assert {path: path.read_bytes() for path in files_with_bytes(tmp_path / "cache")} == before
    assert greys(open_cache(some, folder=tmp_path / "cache", side=SIDE)) == [10, 20, 30]


def test_an_index_that_does_not_fit_the_disk_leaves_nothing(tmp_path: Path, make_manifest: MakeManifest) -> None:
    """Pixels fit (16 bytes an image at side 4), the index of about 200 bytes an image does not."""
    path = make_manifest(tmp_path / "data", 6).path
    script = BUILD.replace(f"side={SIDE}", "side=4").replace("COMMIT_EVERY = 3", "COMMIT_EVERY = 1000")
    done = run(script, path, tmp_path / "cache", -1, file_limit=500)
    assert "is full" in done.stderr
    assert files_with_bytes(tmp_path / "cache") == []


def test_more_than_the_free_space_is_refused_before_any_work(tmp_path: Path) -> None:
    """A manifest of so many rows that 4096 x 4096 squares need more than the disk has; the images need not exist."""
    filesystem = os.statvfs(tmp_path)
    count = filesystem.f_bavail * filesystem.f_frsize // 4096**2 + 2
    records = tuple(Record(image=tmp_path / f"{n}.png", organ="eye", patient="p") for n in range(count))
    with pytest.raises(DataError, match=r"side-4096: .* are needed and .* are free; free some space"):
        open_cache(Manifest(path=tmp_path / "m.csv", records=records), folder=tmp_path / "cache", side=4096)
    assert files_with_bytes(tmp_path / "cache") == []


def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(tmp_path / "data", 1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be used"):
        open_cache(manifest, folder=tmp_path / "file", side=SIDE)


def test_builders_at_the_same_time_wait_for_each_other(tmp_path: Path, make_manifest: MakeManifest) -> None:
    """Two threads and two processes ask for overlapping halves; the lock works between all four."""
    manifest = make_manifest(tmp_path / "data", 12)
    path = manifest.path
    command = [sys.executable, "-c", BUILD, str(path), str(tmp_path / "cache"), "-1"]
    processes = [subprocess.Popen(command) for _ in range(2)]
    found: dict[str, list[int]] = {}

    def build(name: str, first: int) -> None:
        half = manifest.select(lambda record: first <= record.row < first + 8)
        found[name] = greys(open_cache(half, folder=tmp_path / "cache", side=SIDE))

    threads = [threading.Thread(target=build, args=(name, first)) for name, first in (("low", 2), ("high", 6))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait() for process in processes] == [0, 0]
    assert found == {"low": list(range(10, 90, 10)), "high": list(range(50, 130, 10))}
    # Each source was decoded once: twelve images.
    assert (tmp_path / f"cache/side-{SIDE}/images.u8").stat().st_size == 12 * SIDE * SIDE
