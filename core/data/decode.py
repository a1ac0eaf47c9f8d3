"""From the bytes of an image or mask to a small square of uint8, refusing whatever cannot be trusted to be one frame.

Only formats whose readers are plain decoders are opened (none that starts another program), and sizes are checked
before pixels are unpacked.
"""

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from core.errors import DataError

# S side of the square that is kept.

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
MIN_SIDE = 8
"""Pixels; less is no ultrasound frame."""
MAX_PIXELS = 100_000_000
"""Width times height; a decompression bomb unpacks to more."""
MAX_BYTES = 512 * 2**20
"""Of the file."""
_GREY_BITS = (8, 12, 16)


class Source(NamedTuple):
    """A file's bytes, with what tells later whether it changed."""

    content: bytes
    size: int
    mtime_ns: int
    sha256: str


class Decoded(NamedTuple):
    """The square of pixels, uint8 (S, S), and the size of the file's image before resizing."""

    pixels: np.ndarray
    width: int
    height: int


def read_source(path: Path) -> Source:
    """Read a file whole; the time stamp is taken first, so that a later change cannot be missed.

    Raises:
        DataError: It cannot be read, is empty, is no regular file, or is larger than any image should be.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would otherwise block for ever
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise DataError("is not a regular file; name an image file")
            if found.st_size > MAX_BYTES:
                raise DataError(f"has {found.st_size:,} bytes, more than {MAX_BYTES:,}; export single frames")
            content = file.read()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error}); check the file and its permissions") from error
    if not content:
        raise DataError("has zero bytes; export it again or remove the row")
    return Source(content, found.st_size, found.st_mtime_ns, hashlib.sha256(content).hexdigest())


def decode_image(content: bytes, *, side: int) -> Decoded:
    """One grey channel, resized to a square with antialiasing; the aspect ratio is not kept, as in USFM.

    Colour becomes luma (ITU-R BT.601), transparent pixels black. 16-bit files are scaled by the smallest of 8, 12 and
    16 bits that holds their maximum, since scanners store 12 bits in 16. Orientation tags are ignored: masks have none.

    Returns:
        Pixels of shape (S, S), 0 to 255.

    Raises:
        DataError: Not one complete frame of a known format and sensible size.
    """
    with _opened(content) as image:
        small = _grey(image).resize((side, side), Image.Resampling.BILINEAR)  # triangle filter: cannot overshoot
        return Decoded(np.asarray(small, dtype=np.uint8), image.width, image.height)


def decode_mask(content: bytes, *, side: int) -> Decoded:
    """A binary mask, resized by nearest neighbour.

    Foreground is every value above 0, so that masks of 0/1, of 0/255 and of numbered structures all work; in a JPEG it
    is every value above 127, because compression leaves faint ringing on the background.

    Returns:
        Pixels of shape (S, S), 0 or 1.

    Raises:
        DataError: As `decode_image`.
    """
    with _opened(content) as image:
        if image.mode == "F" or image.mode.startswith("I"):
            values = np.asarray(image)
        elif image.mode in ("1", "L"):
            values = np.asarray(image.convert("L"))
        else:
            values = np.asarray(_opaque(image)).max(axis=-1)
        binary = Image.fromarray((values > (127 if image.format == "JPEG" else 0)).astype(np.uint8))
        small = binary.resize((side, side), Image.Resampling.NEAREST)
        return Decoded(np.asarray(small, dtype=np.uint8), image.width, image.height)


@contextmanager
def bomb_warnings_off() -> Iterator[None]:
    """Silence Pillow's warning about large images, since `MAX_PIXELS` is checked; counts for every thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check(image)
            image.load()
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"unpacks to more than {MAX_PIXELS:,} pixels; export single frames") from error
    except UnidentifiedImageError as error:
        raise DataError(f"is no image of a known format ({', '.join(FORMATS)}); export it again") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything: SyntaxError, struct.error, EOFError
        raise DataError(f"is damaged ({error or type(error).__name__}); export it again or remove the row") from error


def _check(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"unpacks to {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}; export single frames")
    if min(width, height) < MIN_SIDE:
        raise DataError(f"is {width} x {height} pixels, too small for an image; the least is {MIN_SIDE} x {MIN_SIDE}")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise DataError(f"holds {frames} frames; export each as a file and row of its own")


def _grey(image: Image.Image) -> Image.Image:
    if image.mode == "L":
        return image
    if image.mode.startswith("I"):
        return _from_16_bit(np.asarray(image).astype(np.int64))
    if image.mode == "F":
        raise DataError("has floating-point pixels, whose range is not known; save it with 8 or 16 bits")
    return _opaque(image).convert("L")


def _opaque(image: Image.Image) -> Image.Image:
    """RGB, transparent pixels black."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    black.alpha_composite(image.convert("RGBA"))
    return black.convert("RGB")


def _from_16_bit(values: np.ndarray) -> Image.Image:
    highest = int(values.max())
    if int(values.min()) < 0 or highest >= 2 ** _GREY_BITS[-1]:
        raise DataError("has pixels outside 0 to 65535; save it with 8 or 16 bits")
    bits = next(bits for bits in _GREY_BITS if highest < 2**bits)
    return Image.fromarray(np.rint(values * (255 / (2**bits - 1))).astype(np.uint8))
