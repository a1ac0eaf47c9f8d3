"""Every kind of file ends as one grey square or as a sentence that says what is wrong with it."""

import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.decode import MAX_BYTES, bomb_warnings_off, decode_image, decode_mask, read_source
from core.errors import DataError

RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))  # 64 x 64, dark on the left


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(content: bytes, side: int = 64) -> np.ndarray:
    return decode_image(content, side=side).pixels


def png(*, width: int, height: int) -> bytes:
    """A PNG whose header announces this size; its pixels are missing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_a_grey_picture_is_the_same_in_every_mode(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    found = grey(encoded(Image.fromarray(RAMP).convert("RGB" if mode == "CMYK" else "L").convert(mode), kind))
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - RAMP).max() <= 1  # luma weights round


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_are_exact(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert (grey(encoded(Image.fromarray(RAMP), kind, **options)) == RAMP).all()


@pytest.mark.parametrize(("highest", "scale"), [(255, 1), (4095, 4095 / 255), (65535, 257)])
def test_sixteen_bit_files_use_the_bits_that_they_have(highest: int, scale: float) -> None:
    values = np.rint(RAMP.astype(float) * scale).astype(np.uint16)
    values[0, -1] = highest
    expected = RAMP.copy()
    expected[0, -1] = 255
    assert np.abs(grey(encoded(Image.fromarray(values))).astype(int) - expected).max() <= 1


def test_transparent_pixels_are_black_and_their_hidden_colour_does_not_show() -> None:
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    image.paste((200, 200, 200, 255), (0, 0, 32, 64))
    found = grey(encoded(image))
    assert (found[:, :30] == 200).all()
    assert (found[:, 34:] == 0).all()


def test_transparent_palette_entries_are_black() -> None:
    image = Image.fromarray(RAMP).convert("P")
    assert (grey(encoded(image, transparency=bytes(256))) == 0).all()


def test_an_orientation_tag_is_ignored() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # rotated by 90 degrees
    assert (grey(encoded(Image.fromarray(RAMP), exif=tags.tobytes())) == RAMP).all()


def test_resizing_averages_and_gives_a_square_whatever_the_shape() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (300, 128))  # 300 x 256: one pixel black, one white
    decoded = decode_image(encoded(Image.fromarray(stripes)), side=32)
    assert decoded.pixels.shape == (32, 32)
    assert (decoded.width, decoded.height) == (256, 300)
    assert np.abs(decoded.pixels[:, 1:-1].astype(float) - 127.5).max() < 12  # every other pixel would give 0 or 255


@pytest.mark.parametrize("high", [1, 2, 255])
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "I;16"])
def test_any_value_above_zero_is_foreground(mode: str, high: int) -> None:
    binary = np.zeros((64, 64), np.uint8)
    binary[16:48, 16:48] = 1
    if mode == "I;16":
        image = Image.fromarray(binary.astype(np.uint16) * high)
    elif mode == "P":
        image = Image.fromarray(binary)
        image = image.convert("P")
        image.putpalette([0, 0, 0, 128, 0, 0])  # the usual colours of label maps: black, dark red
    else:
        image = Image.fromarray(binary * high).convert(mode)
    assert (decode_mask(encoded(image), side=64).pixels == binary).all()


def test_masks_of_one_bit() -> None:
    binary = RAMP > 100
    assert (decode_mask(encoded(Image.fromarray(binary)), side=64).pixels == binary).all()


def test_the_ringing_of_a_jpeg_mask_is_no_foreground() -> None:
    binary = np.zeros((64, 64), np.uint8)
    binary[20:43, 11:37] = 1
    content = encoded(Image.fromarray(binary * 255), "JPEG", quality=60)
    assert ((np.asarray(Image.open(io.BytesIO(content))) > 0) != binary).any()  # above 0 would be wrong
    assert (decode_mask(content, side=64).pixels == binary).all()


def test_a_mask_shrinks_without_inventing_values_and_keeps_its_area() -> None:
    y, x = np.mgrid[:300, :256]
    disc = (((x - 120) ** 2 + (y - 160) ** 2) < 70**2).astype(np.uint8) * 255
    found = decode_mask(encoded(Image.fromarray(disc)), side=64).pixels
    assert set(np.unique(found)) == {0, 1}
    assert found.mean() == pytest.approx((disc > 0).mean(), rel=0.03)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no image at all", "no image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known format"),  # would start Ghostscript
        (encoded(Image.fromarray(RAMP), "GIF"), "no image of a known format"),
        (encoded(Image.new("L", (1, 1))), "is 1 x 1 pixels, too small"),
        (encoded(Image.new("L", (500, 3))), "is 500 x 3 pixels, too small"),
        (encoded(Image.fromarray(RAMP), "JPEG")[:-100], "is damaged"),
        (encoded(Image.fromarray(RAMP))[:-40], "is damaged"),
        (png(width=64, height=64), "is damaged"),
        (png(width=12_000, height=10_000), "unpacks to 12,000 x 10,000 pixels"),
        (png(width=60_000, height=60_000), "unpacks to more than"),
        (
            encoded(Image.fromarray(RAMP), "TIFF", save_all=True, append_images=[Image.fromarray(RAMP)]),
            "holds 2 frames",
        ),
        (encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "floating-point"),
        (encoded(Image.fromarray(RAMP.astype(np.int32) - 5), "TIFF"), "outside 0 to 65535"),
    ],
)
def test_what_is_no_single_sound_frame_is_refused(content: bytes, says: str) -> None:
    with bomb_warnings_off(), pytest.raises(DataError, match=says):
        decode_image(content, side=32)


def test_damaged_bytes_end_in_a_data_error_or_an_image() -> None:
    """Pillow's readers raise very different errors on damaged files; none may get through."""
    generator = random.Random(0)
    whole = [encoded(Image.fromarray(RAMP), kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")]
    refused = 0
    for _ in range(400):
        content = bytearray(generator.choice(whole))
        for _ in range(4):
            content[generator.randrange(min(len(content), 200))] = generator.randrange(256)
        try:
            with bomb_warnings_off():
                assert decode_image(bytes(content), side=16).pixels.shape == (16, 16)
        except DataError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.png", "cannot be read"),
        ("folder", "cannot be read|not a regular file"),
        ("pipe", "not a regular file"),
        ("empty.png", "zero bytes"),
        ("huge.png", "more than"),
    ],
)
def test_files_that_cannot_be_an_image_are_refused_unread(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty.png").touch()
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no space
    with pytest.raises(DataError, match=says):
        read_source(tmp_path / name)
