"""The cache gives the right pixels for every row, follows its sources, and survives kills and full disks."""

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
from core.data.decode import decode_image
from core.data.manifest import Manifest, Record, load_manifest
from core.errors import ConfigError, DataError

REAL = Path(__file__).parents[4] / "shared/data/ultrasound/manifest.csv"
SIDE = 16


def manifest_of(folder: Path, count: int, *, side: int = 24) -> Manifest:
    """Images of uniform grey 10, 20, 30, ...; every other one with a mask whose upper half is set."""
    folder.mkdir(exist_ok=True)
    records = []
    for number in range(count):
        image, mask = folder / f"i{number}.png", folder / f"m{number}.png"
        Image.new("L", (side, side), 10 * (number + 1) % 256).save(image)
        if number % 2 == 0:
            half = np.zeros((side, side), np.uint8)
            half[: side // 2] = 255
            Image.fromarray(half).save(mask)
        records.append(
            Record(image=image, organ="liver", patient=f"p{number}", mask=None if number % 2 else mask, row=number + 2)
        )
    return Manifest(path=folder / "manifest.csv", records=tuple(records))


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


def csv_of(manifest: Manifest) -> Path:
    rows = [f"{record.image},liver,{record.patient},{record.mask or ''}" for record in manifest.records]
    manifest.path.write_text("\n".join(["image,organ,patient,mask", *rows]) + "\n")
    return manifest.path


def test_rows_come_back_in_any_order_and_repeated(tmp_path: Path) -> None:
    cache = open_cache(manifest_of(tmp_path / "data", 5), folder=tmp_path / "cache", side=SIDE)
    assert len(cache) == 5
    assert cache.side == SIDE
    assert greys(cache) == [10, 20, 30, 40, 50]
    found = cache.images(np.array([4, 0, 4]))
    assert found.dtype == np.uint8
    assert found.shape == (3, SIDE, SIDE)
    assert found[:, 0, 0].tolist() == [50, 10, 50]


def test_masks_come_with_their_rows_and_their_absence_is_an_error(tmp_path: Path) -> None:
    cache = open_cache(manifest_of(tmp_path / "data", 5), folder=tmp_path / "cache", side=SIDE)
    assert [cache.has_mask(row) for row in range(5)] == [True, False, True, False, True]
    masks = cache.masks(np.array([2, 0]))
    assert (masks[:, : SIDE // 2] == 1).all()
    assert (masks[:, SIDE // 2 :] == 0).all()
    with pytest.raises(DataError, match=r"row 3: .*i1\.png has no mask"):
        cache.masks(np.array([0, 1]))


def test_what_is_returned_is_a_copy(tmp_path: Path) -> None:
    cache = open_cache(manifest_of(tmp_path / "data", 2), folder=tmp_path / "cache", side=SIDE)
    cache.images(np.array([0]))[:] = 99
    assert greys(cache) == [10, 20]


def test_one_folder_serves_many_manifests_and_decodes_each_source_once(tmp_path: Path) -> None:
    manifest, seen = manifest_of(tmp_path / "data", 6), list[tuple[int, int]]()

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    some = manifest.select(lambda record: record.patient in ("p4", "p1"))
    assert greys(open_cache(some, folder=tmp_path / "cache", side=SIDE, progress=progress)) == [20, 50]
    assert seen == [(1, 3), (2, 3), (3, 3)]  # two images and a mask
    seen.clear()
    assert greys(open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=progress)) == [
        10,
        20,
        30,
        40,
        50,
        60,
    ]
    assert seen[-1] == (6, 6)  # four images and two masks more
    seen.clear()
    backwards = Manifest(path=manifest.path, records=manifest.records[::-1])
    assert greys(open_cache(backwards, folder=tmp_path / "cache", side=SIDE, progress=progress)) == [
        60,
        50,
        40,
        30,
        20,
        10,
    ]
    assert seen == []


def test_two_sides_share_a_folder(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 2)
    for side in (8, 16):
        assert open_cache(manifest, folder=tmp_path / "cache", side=side).images(np.array([1])).shape == (1, side, side)


def test_an_empty_selection_is_an_empty_view(tmp_path: Path) -> None:
    nothing = manifest_of(tmp_path / "data", 1).select(lambda record: record.organ == "eye")
    cache = open_cache(nothing, folder=tmp_path / "cache", side=SIDE)
    assert cache.images(np.array([], np.int64)).shape == (0, SIDE, SIDE)


def test_a_changed_source_is_decoded_again_and_open_views_keep_what_they_had(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 4)
    before = open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    Image.new("L", (30, 30), 222).save(manifest.records[3].image)
    seen: list[int] = []
    after = open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=lambda done, _: seen.append(done))
    assert greys(after) == [10, 20, 30, 222]
    assert greys(before) == [10, 20, 30, 40]
    assert seen == [1]


def test_a_new_time_stamp_alone_is_noted_without_decoding(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 2)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    size = (tmp_path / f"cache/side-{SIDE}/images.u8").stat().st_size
    os.utime(manifest.records[0].image, (1, 1))
    seen: list[int] = []
    for _ in range(2):  # only the first time is the file read
        open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=lambda done, _: seen.append(done))
    assert seen == [1]
    assert (tmp_path / f"cache/side-{SIDE}/images.u8").stat().st_size == size


def test_every_unusable_file_is_listed_with_its_row_and_the_rest_is_kept(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 8)
    images = [record.image for record in manifest.records]
    images[0].write_bytes(b"")
    images[1].write_bytes(images[1].read_bytes()[:50])
    images[3].unlink()
    Image.new("L", (1, 1)).save(images[5])
    Image.new("L", (25, 24)).save(tmp_path / "data/m2.png")  # its image is 24 x 24
    (tmp_path / "data/m4.png").write_bytes(b"text")
    with pytest.raises(DataError) as caught:
        open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    expected = {
        "row 2": "zero bytes",
        "row 3": "is damaged",
        "row 4": "is 25 x 24 pixels, its image 24 x 24",
        "row 5": "cannot be read",
        "row 6": "no image of a known format",
        "row 7": "is 1 x 1 pixels",
    }
    assert len(caught.value.problems) == len(expected)
    for problem, (row, says) in zip(caught.value.problems, expected.items(), strict=True):
        assert problem.startswith(row)
        assert says in problem
    sound = manifest.select(lambda record: record.patient in ("p6", "p7"))
    seen: list[int] = []
    cache = open_cache(sound, folder=tmp_path / "cache", side=SIDE, progress=lambda done, _: seen.append(done))
    assert greys(cache) == [70, 80]
    assert seen == []


def test_a_source_that_broke_later_is_refused_and_recovers_when_mended(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 2)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    sound = manifest.records[1].image.read_bytes()
    manifest.records[1].image.write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(DataError, match="row 3: image"):
            open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    manifest.records[1].image.write_bytes(sound)
    assert greys(open_cache(manifest, folder=tmp_path / "cache", side=SIDE)) == [10, 20]


@pytest.mark.parametrize("done", [1, 4, 7, 9])
def test_a_kill_at_any_image_leaves_a_cache_that_goes_on(tmp_path: Path, done: int) -> None:
    """Six images and three masks, committed every three; killed by SIGKILL after the image or mask `done`."""
    manifest = manifest_of(tmp_path / "data", 6)
    assert run(BUILD, csv_of(manifest), tmp_path / "cache", done).returncode == -signal.SIGKILL
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


def test_an_interrupted_build_gives_back_what_was_not_committed(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 4)

    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=interrupt)
    assert files_with_bytes(tmp_path / "cache") == []
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
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    manifest = manifest_of(tmp_path / "data", 3)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    damage(tmp_path / f"cache/side-{SIDE}")
    Image.new("L", (24, 24), 77).save(manifest.records[2].image)
    assert greys(open_cache(manifest, folder=tmp_path / "cache", side=SIDE)) == [10, 20, 77]


def test_a_cache_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 2)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    index = tmp_path / f"cache/side-{SIDE}/index.json"
    index.write_bytes(index.read_bytes().replace(b'"schema":1', b'"schema":999'))
    held = [path.read_bytes() for path in files_with_bytes(tmp_path / "cache")]
    with pytest.raises(DataError, match="schema 999"):
        open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    assert [path.read_bytes() for path in files_with_bytes(tmp_path / "cache")] == held


@pytest.mark.parametrize("images_that_fit", [0, 2, 5])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path: Path, images_that_fit: int) -> None:
    """A limit on file size stands for the full disk: the system refuses the write just so (EFBIG for ENOSPC)."""
    path = csv_of(manifest_of(tmp_path / "data", 6))
    done = run(BUILD, path, tmp_path / "cache", -1, file_limit=images_that_fit * SIDE * SIDE + 5)
    assert done.returncode == 1
    assert f"cache {tmp_path}/cache/side-{SIDE}: the disk or a quota is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert files_with_bytes(tmp_path / "cache") == []


def test_a_disk_that_fills_up_later_keeps_what_was_there(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 20)
    some = manifest.select(lambda record: record.row <= 4)
    open_cache(some, folder=tmp_path / "cache", side=SIDE)
    before = {path: path.read_bytes() for path in files_with_bytes(tmp_path / "cache")}
    # 20 images need 5120 bytes in one file, so 4000 do not do.
    done = run(BUILD, csv_of(manifest), tmp_path / "cache", -1, file_limit=4000)
    assert "is full" in done.stderr
    assert {path: path.read_bytes() for path in files_with_bytes(tmp_path / "cache")} == before
    assert greys(open_cache(some, folder=tmp_path / "cache", side=SIDE)) == [10, 20, 30]


def test_an_index_that_does_not_fit_the_disk_leaves_nothing(tmp_path: Path) -> None:
    """Pixels fit (16 bytes an image at side 4), the index of about 200 bytes an image does not."""
    path = csv_of(manifest_of(tmp_path / "data", 6))
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


def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", 1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be used"):
        open_cache(manifest, folder=tmp_path / "file", side=SIDE)


@pytest.mark.parametrize("side", [0, -1, 4097])
def test_a_side_out_of_range_is_a_config_error(tmp_path: Path, side: int) -> None:
    with pytest.raises(ConfigError):
        open_cache(manifest_of(tmp_path / "data", 1), folder=tmp_path / "cache", side=side)


def test_builders_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    """Two threads and two processes ask for overlapping halves; the lock works between all four."""
    manifest = manifest_of(tmp_path / "data", 12)
    path = csv_of(manifest)
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


def test_memory_stays_flat_whatever_the_number_of_images(tmp_path: Path) -> None:
    """100 MB of squares are built and read one batch at a time; the process grows by far less."""
    path = csv_of(manifest_of(tmp_path / "data", 400))
    script = """
import resource, sys
from pathlib import Path
from core.data.cache import open_cache
from core.data.manifest import load_manifest
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
manifest = load_manifest(Path(sys.argv[1]))
open_cache(manifest.select(lambda record: record.row < 60), folder=Path(sys.argv[2]), side=512)
before = peak()
open_cache(manifest, folder=Path(sys.argv[2]), side=512)
print(peak() - before)
"""
    done = run(script, path, tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    # 400 images of 512 x 512 are 105 MB, 200 masks 52 MB; 58 of the images came before the first measurement.
    assert float(done.stdout) < 25


@pytest.mark.skipif(not REAL.exists(), reason="the real images are not on this machine")
def test_real_images_and_masks_come_through(tmp_path: Path) -> None:
    whole = load_manifest(REAL)
    some = Manifest(path=whole.path, records=whole.records[::25])
    cache = open_cache(some, folder=tmp_path, side=64)
    images = cache.images(np.arange(len(cache)))
    assert len(cache) == 102
    for row in (0, 50, 101):
        direct = decode_image(some.records[row].image.read_bytes(), side=64).pixels
        assert (images[row] == direct).all()
    assert (images.std(axis=(1, 2)) > 5).all()  # none is blank
    masked = [row for row in range(len(cache)) if cache.has_mask(row)]
    areas = cache.masks(np.array(masked)).mean(axis=(1, 2))
    normal = np.array([some.records[row].label == "normal" for row in masked])
    assert (areas[normal] == 0).all()
    assert (areas[~normal] > 0).all()
    assert areas.max() < 0.9
