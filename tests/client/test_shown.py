"""What the page shows is what was scored."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.shown import examples
from core.data.labelled import Labelled
from core.evaluation.downstream import evaluate
from core.training.fitted import load_fitted

Make = Callable[..., Path]


@pytest.fixture
def held_out() -> Labelled:
    """Three patients with one image each: a bright box, which is the mask."""
    masks = np.zeros((3, 20, 20), np.uint8)
    for number in range(3):
        masks[number, 4 : 10 + 3 * number, 4:12] = 1
    images = masks * 200 + np.random.default_rng(0).integers(0, 40, masks.shape, dtype=np.uint8)
    return Labelled(
        images_NSS=images.astype(np.uint8),
        patients_N=np.array(["Zoe", "Ann", "Mia"]),
        masks_NSS=masks,
        labels_N=np.array([0, 1, 1], np.int64),
        names_N=np.array(["z.png", "a.png", "m.png"]),
    )


def test_the_number_beside_a_picture_is_the_one_that_was_scored(fitted_file: Make, held_out: Labelled) -> None:
    fitted = load_fitted(fitted_file(threshold=0.49))
    by_patient = evaluate(fitted, held_out, seed=0).by_patient
    made = examples(fitted, held_out, seed=0, names=True)
    assert [example.title.split(":")[0] for example in made] == ["Best", "In the middle", "Worst"]
    for example in made:
        value = by_patient[example.title.split(" ")[-1]]
        assert isinstance(value, float)
        assert example.note.startswith(f"Dice {value:.2f} in this image.")


@pytest.mark.parametrize(("kind", "pictures"), [("segmentation", 4), ("classification", 1), ("enhancement", 3)])
def test_every_kind_has_its_pictures_and_no_name_unless_asked(
    kind: str, pictures: int, fitted_file: Make, held_out: Labelled
) -> None:
    made = examples(load_fitted(fitted_file(kind)), held_out, seed=0, names=False)
    assert {len(example.pictures) for example in made} == {pictures}
    assert {example.title.split(": ")[1] for example in made} == {f"patient {n} of 3" for n in (1, 2, 3)}
