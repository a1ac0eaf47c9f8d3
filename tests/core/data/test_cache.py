"""The cache gives the right pixels for every row, follows its sources, and needs little memory."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.cache import ImageCache, open_cache
from core.data.decode import decode_image
from core.data.manifest import Manifest, load_manifest
from core.errors import ConfigError, DataError

REAL = Path(__file__).parents[4] / "shared/data/ultrasound/manifest.csv"
SIDE = 16

MakeManifest = Callable[[Path, int], Manifest]


def greys(cache: ImageCache) -> list[int]:
    """The grey of every row; each image must be uniform."""
    images = cache.images(np.arange(len(cache)))
    assert (images == images[:, :1, :1]).all()
    return images[:, 0, 0].tolist()


def test_rows_come_back_in_any_order_and_repeated(tmp_path: Path, make_manifest: MakeManifest) -> None:
    cache = open_cache(make_manifest(tmp_path / "data", 5), folder=tmp_path / "cache", side=SIDE)
    assert len(cache) == 5
    assert cache.side == SIDE
    assert greys(cache) == [10, 20, 30, 40, 50]
    found = cache.images(np.array([4, 0, 4]))
    assert found.dtype == np.uint8
    assert found.shape == (3, SIDE, SIDE)
    assert found[:, 0, 0].tolist() == [50, 10, 50]


def test_masks_come_with_their_rows_and_their_absence_is_an_error(tmp_path: Path, make_manifest: MakeManifest) -> None:
    cache = open_cache(make_manifest(tmp_path / "data", 5), folder=tmp_path / "cache", side=SIDE)
    assert [cache.has_mask(row) for row in range(5)] == [True, False, True, False, True]
    masks = cache.masks(np.array([2, 0]))
    assert (masks[:, : SIDE // 2] == 1).all()
    assert (masks[:, SIDE // 2 :] == 0).all()
    with pytest.raises(DataError, match=r"row 3: .*i1\.png has no mask"):
        cache.masks(np.array([0, 1]))


def test_what_is_returned_is_a_copy(tmp_path: Path, make_manifest: MakeManifest) -> None:
    cache = open_cache(make_manifest(tmp_path / "data", 2), folder=tmp_path / "cache", side=SIDE)
    cache.images(np.array([0]))[:] = 99
    assert greys(cache) == [10, 20]


def test_one_folder_serves_many_manifests_and_decodes_each_source_once(
    tmp_path: Path, make_manifest: MakeManifest
) -> None:
    manifest, seen = make_manifest(tmp_path / "data", 6), list[tuple[int, int]]()

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


def test_two_sides_share_a_folder(tmp_path: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(tmp_path / "data", 2)
    for side in (8, 16):
        assert open_cache(manifest, folder=tmp_path / "cache", side=side).images(np.array([1])).shape == (1, side, side)


def test_an_empty_selection_is_an_empty_view(tmp_path: Path, make_manifest: MakeManifest) -> None:
    nothing = make_manifest(tmp_path / "data", 1).select(lambda record: record.organ == "eye")
    cache = open_cache(nothing, folder=tmp_path / "cache", side=SIDE)
    assert cache.images(np.array([], np.int64)).shape == (0, SIDE, SIDE)


def test_a_changed_source_is_decoded_again_and_open_views_keep_what_they_had(
    tmp_path: Path, make_manifest: MakeManifest
) -> None:
    manifest = make_manifest(tmp_path / "data", 4)
    before = open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    Image.new("L", (30, 30), 222).save(manifest.records[3].image)
    seen: list[int] = []
    after = open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=lambda done, _: seen.append(done))
    assert greys(after) == [10, 20, 30, 222]
    assert greys(before) == [10, 20, 30, 40]
    assert seen == [1]


def test_a_new_time_stamp_alone_is_noted_without_decoding(tmp_path: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(tmp_path / "data", 2)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    size = (tmp_path / f"cache/side-{SIDE}/images.u8").stat().st_size
    os.utime(manifest.records[0].image, (1, 1))
    seen: list[int] = []
    for _ in range(2):  # only the first time is the file read
        open_cache(manifest, folder=tmp_path / "cache", side=SIDE, progress=lambda done, _: seen.append(done))
    assert seen == [1]
    assert (tmp_path / f"cache/side-{SIDE}/images.u8").stat().st_size == size


def test_every_unusable_file_is_listed_with_its_row_and_the_rest_is_kept(
    tmp_path: Path, make_manifest: MakeManifest
) -> None:
    manifest = make_manifest(tmp_path / "data", 8)
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


def test_a_source_that_broke_later_is_refused_and_recovers_when_mended(
    tmp_path: Path, make_manifest: MakeManifest
) -> None:
    manifest = make_manifest(tmp_path / "data", 2)
    open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    sound = manifest.records[1].image.read_bytes()
    manifest.records[1].image.write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(DataError, match="row 3: image"):
            open_cache(manifest, folder=tmp_path / "cache", side=SIDE)
    manifest.records[1].image.write_bytes(sound)
    assert greys(open_cache(manifest, folder=tmp_path / "cache", side=SIDE)) == [10, 20]


@pytest.mark.parametrize("side", [0, -1, 4097])
def test_a_side_out_of_range_is_a_config_error(tmp_path: Path, side: int, make_manifest: MakeManifest) -> None:
    with pytest.raises(ConfigError):
        open_cache(make_manifest(tmp_path / "data", 1), folder=tmp_path / "cache", side=side)


def test_memory_stays_flat_whatever_the_number_of_images(tmp_path: Path, make_manifest: MakeManifest) -> None:
    """100 MB of squares are built and read one batch at a time; the process grows by far less."""
    path = make_manifest(tmp_path / "data", 400).path
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
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True)
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


def test_spacing_is_that_of_the_squeezed_pixels_and_nan_where_unknown(tmp_path: Path) -> None:
    Image.new("L", (60, 30)).save(tmp_path / "wide.png")
    Image.new("L", (60, 30), 9).save(tmp_path / "unknown.png")
    (tmp_path / "m.csv").write_text(
        "image,organ,patient,spacing\nwide.png,liver,1,0.4\nunknown.png,liver,2,\n", encoding="utf-8"
    )
    cache = open_cache(load_manifest(tmp_path / "m.csv"), folder=tmp_path / "cache", side=20)
    # 30 rows of 0.4 mm are squeezed into 20, 60 columns likewise
    expected = [0.4 * 30 / 20, 0.4 * 60 / 20]
    assert cache.spacing(np.array([1, 0, 0])) == pytest.approx(
        np.array([[np.nan] * 2, expected, expected]), nan_ok=True
    )
    assert cache.spacing(np.array([], dtype=np.int64)).shape == (0, 2)
