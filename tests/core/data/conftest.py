"""Images on disk that the tests of the cache share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.manifest import Manifest, Record, write_manifest


@pytest.fixture
def make_manifest() -> Callable[[Path, int], Manifest]:
    """(folder, count) -> 24 x 24 images of uniform grey 10, 20, 30, ..., and the manifest, written there as well.

    Every other image has a mask whose upper half is set.
    """

    def make(folder: Path, count: int) -> Manifest:
        folder.mkdir()
        half = np.zeros((24, 24), np.uint8)
        half[:12] = 255
        records = []
        for number in range(count):
            image, mask = folder / f"i{number}.png", folder / f"m{number}.png"
            Image.new("L", (24, 24), 10 * (number + 1) % 256).save(image)
            if number % 2 == 0:
                Image.fromarray(half).save(mask)
            records.append(
                Record(
                    image=image,
                    organ="liver",
                    patient=f"p{number}",
                    mask=None if number % 2 else mask,
                    row=number + 2,
                )
            )
        write_manifest(records, folder / "manifest.csv")
        return Manifest(path=folder / "manifest.csv", records=tuple(records))

    return make
