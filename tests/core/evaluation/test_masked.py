"""Images with masks, from the cache and at the encoder's side."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.data.cache import open_cache
from core.data.manifest import Manifest
from core.errors import DataError
from core.evaluation.masked import Masked, encoder_input, masked_images, predict


def _split(images: int = 3, side: int = 4) -> Masked:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, side, side), dtype=np.uint8)
    return Masked(pixels, (pixels > 127).astype(np.uint8), np.array([f"p{i}" for i in range(images)]))


def test_rows_without_a_mask_are_left_out(manifest: Manifest, cache_folder: Path, tmp_path: Path) -> None:
    mask = np.zeros((20, 24), np.uint8)
    mask[:10] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    records = list(manifest.records[:4])
    records[1] = replace(records[1], mask=tmp_path / "mask.png")
    records[3] = replace(records[3], mask=tmp_path / "mask.png")
    some = Manifest(path=manifest.path, records=tuple(records))
    cache = open_cache(some, folder=cache_folder, side=20)
    found = masked_images(some, cache, [0, 1, 2, 3])
    assert found.patients_N.tolist() == [records[1].patient, records[3].patient]
    assert np.array_equal(found.images_NSS, cache.images(np.array([1, 3])))
    assert found.masks_NSS.mean() == pytest.approx(0.5, abs=0.06)
    assert len(masked_images(some, cache, [0, 2]).patients_N) == 0


def test_the_images_of_some_patients_keep_their_order() -> None:
    split = _split(images=3)
    assert split.of(["p2", "p0"]).patients_N.tolist() == ["p0", "p2"]
    assert np.array_equal(split.of({"p1"}).masks_NSS, split.masks_NSS[[1]])


def test_masks_at_another_side_stay_of_two_values() -> None:
    halves = Masked(np.zeros((1, 6, 6), np.uint8), np.repeat([[[0, 1]]], 6, 1).repeat(3, 2).astype(np.uint8),
                    np.array(["p"]))  # fmt: skip
    truth = halves.truth(side=4)
    assert truth.masks_NSS.tolist() == [[[False, False, True, True]] * 4]
    assert halves.of([]).truth(side=4).masks_NSS.shape == (0, 4, 4)


def test_the_encoder_gets_images_of_mean_0_and_deviation_1() -> None:
    images = encoder_input(_split().images_NSS, side=4, device=torch.device("cpu"))
    assert images.shape == (3, 1, 4, 4)
    assert images.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert images.std(dim=(1, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=0.01)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_predictions_come_in_order_whatever_the_batch(batch: int) -> None:
    split = _split()
    found = predict(lambda x: torch.cat([x, -x], 1), split, side=4, device=torch.device("cpu"), batch=batch)
    expected = encoder_input(split.images_NSS, side=4, device=torch.device("cpu"))[:, 0].numpy()
    assert found.shape == (2, 3, 4, 4)
    assert np.allclose(found[0], expected)
    assert np.array_equal(found[1], -found[0])


@pytest.mark.parametrize(
    ("masks", "patients", "words"),
    [
        (np.zeros((2, 4, 4), np.uint8), 3, "do not belong together"),
        (np.zeros((3, 4, 4), np.uint8), 2, "do not belong together"),
        (np.full((3, 4, 4), 255, np.uint8), 3, "masks hold 255"),
    ],
)
def test_what_does_not_belong_together_is_refused(masks: np.ndarray, patients: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Masked(np.zeros((3, 4, 4), np.uint8), masks, np.array([f"p{i}" for i in range(patients)]))
