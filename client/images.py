"""The images of a folder, found without a manifest; and what the files that are made from them are called."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from PIL import Image

from core.data.decode import FORMATS
from core.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class Listing:
    """What lies in a folder and the folders inside; paths are relative to it."""

    images: list[Path] = field(default_factory=list)
    """Files with the suffix of an image, sorted."""
    skipped: dict[Path, str] = field(default_factory=dict)
    """Everything else, and why."""
    unread: dict[Path, str] = field(default_factory=dict)
    """Folders that could not be looked into, and why."""


def list_images(folder: Path, *, leave_out: Iterable[Path] = ()) -> Listing:
    """Look through a folder.

    A link to a folder is not followed, so that a circle of links ends. Whether a file really is an image shows when it
    is decoded; here the suffix counts.

    Args:
        folder: Where to look.
        leave_out: Folders inside that are none of the images', for example where results go.

    Raises:
        ConfigError: There is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"--images {folder}: is no folder; name the folder that holds the images")
    found, out, suffixes = Listing(), {path.resolve() for path in leave_out}, image_suffixes()

    def unreadable(error: OSError) -> None:
        found.unread[Path(error.filename).relative_to(folder)] = f"cannot be read ({error.strerror})"

    for place, folders, files in os.walk(folder, onerror=unreadable):
        here = Path(place)
        for name in sorted(folders):
            path = here / name
            if reason := _why_not_inside(path, out):
                folders.remove(name)
                found.skipped[path.relative_to(folder)] = reason
        for name in files:
            path = (here / name).relative_to(folder)
            if reason := _why_no_image(name, suffixes):
                found.skipped[path] = reason
            else:
                found.images.append(path)
    if Path() in found.unread:
        raise ConfigError(f"--images {folder}: {found.unread[Path()]}; check its permissions")
    found.images.sort()
    return found


def image_suffixes() -> frozenset[str]:
    """Suffixes of the formats that are decoded, in small letters."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)


def _why_not_inside(path: Path, out: set[Path]) -> str:
    if path.is_symlink():
        return "a link to a folder; links are not followed, name the folder itself"
    if path.resolve() in out:
        return "the folder of the results"
    return "a hidden folder" if path.name.startswith(".") else ""


def _why_no_image(name: str, suffixes: frozenset[str]) -> str:
    suffix = PurePath(name).suffix.casefold()
    if name.startswith("."):
        return "a hidden file"
    if suffix in suffixes:
        return ""
    if suffix in (".dcm", ".dicom", ".ima"):
        return "DICOM is not read yet; export PNG"
    return f"no suffix of an image ({suffix or 'none'})"


def output_names(images: Sequence[Path], *, suffix: str = ".png") -> dict[Path, Path]:
    """Image -> the file made from it, in the same folder: `a/x.jpg` gives `a/x.png`.

    Where two images of a folder share their name up to the suffix (or differ by capitals only, which some disks do
    not tell apart), each keeps its whole name: `x.jpg.png` and `x.png.png`.
    """
    short = Counter(_folded(path.with_suffix(suffix)) for path in images)
    names = {path: path.with_suffix(suffix) for path in images if short[_folded(path.with_suffix(suffix))] == 1}
    taken = {_folded(name) for name in names.values()}
    for path in (path for path in images if path not in names):
        name = path.with_name(path.name + suffix)
        while _folded(name) in taken:
            name = name.with_name(name.name + suffix)
        taken.add(_folded(name))
        names[path] = name
    return names


def _folded(path: Path) -> str:
    return str(path).casefold()


def shown(path: PurePath | str) -> str:
    """A file's name as text that can be written as UTF-8; bytes that are none become a replacement mark."""
    return os.fsencode(path).decode("utf-8", "replace")
