"""Rows on images into memory: each PNG decoded again by Pillow, against the cache and the training crop.

Ours is what a training step does: draw the images, copy them from the memory-mapped cache, crop, flip, brighten, float.
The baseline only decodes to grey.
"""

import itertools

import numpy as np
from PIL import Image

from simulations.bench.rows import Row, Settings, in_turn
from simulations.bench.steps import training_source

BATCH = 40


def clinical(settings: Settings) -> Row:
    """Files as an ultrasound machine writes them."""
    return _row(settings, "cache-clinical", goal=100.0, shape=(768, 1024))


def small_files(settings: Settings) -> Row:
    """Files that somebody has made small before."""
    return _row(settings, "cache-small", goal=5.0, shape=(256, 256))


def _row(settings: Settings, name: str, *, goal: float, shape: tuple[int, int]) -> Row:
    height, width = shape
    batch = 2 if settings.small else BATCH
    generator = np.random.default_rng(0)
    folder = settings.folder / name
    folder.mkdir()
    files = [folder / f"{number}.png" for number in range(2 if settings.small else 8)]
    for file in files:
        speckle = 40 * generator.gamma(4.0, size=(height // 4, width // 4)) / 4
        Image.fromarray(speckle.clip(0, 255).astype(np.uint8)).resize((width, height)).save(file)
    source, steps = training_source(settings), itertools.count()

    def decode() -> None:
        for number in range(batch):
            with Image.open(files[number % len(files)]) as image:
                np.asarray(image.convert("L"))

    row = Row(
        name=name,
        baseline_name=f"Pillow, PNG of {width} x {height}, decoded each time",
        ours_name="cache of 72 px, cropped to 64",
        goal=goal,
        sizes=f"{batch} images",
        threads=settings.threads,
    )
    return in_turn(row, baseline=decode, ours=lambda: source.batch(next(steps), size=batch), seconds=settings.seconds)
