"""Example predictions: which patient, and what is drawn."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError
from core.evaluation.label_efficiency.cells import Cell
from core.evaluation.label_efficiency.predictions import (
    PREDICTION,
    TRUTH,
    Example,
    Prediction,
    example_row,
    median_patient,
    outlined,
)


def _pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_the_median_patient_of_random_weights_is_taken(cell: Callable[..., Cell]) -> None:
    scores = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.4}
    cells = [cell("mass", "federated", 32, 0, dict.fromkeys("abcd", 0.5)), cell("mass", "random_init", 32, 0, scores)]
    assert median_patient(cells, task="mass") == "d"  # of 0.1, 0.4, 0.5, 0.9 the lower of the two in the middle
    assert median_patient(cells, task="mass", draw=1) is None
    assert median_patient([cell("mass", "random_init", 32, 0, None)], task="mass") is None
    pairs = {"a": [[2, 2], [0, 0]], "b": [[0, 1], [0, 0]], "c": [[0, 0], [1, 2]]}
    assert median_patient([cell("lung", "random_init", 32, 0, pairs)], task="lung") == "c"  # of 0, 1/2, 1


def test_outlines_run_inside_the_masks_and_the_truth_lies_above() -> None:
    image_SS, truth_SS = np.full((4, 4), 0.5), np.zeros((4, 4), bool)
    truth_SS[1:3, 1:3] = True
    pixels = _pixels(outlined(image_SS, truth_SS, truth_SS))
    assert pixels.shape == (256, 256, 3)  # 64 pixels for one
    yellow, blue = (np.round(255 * np.array(colour)) for colour in (TRUTH, PREDICTION))
    assert (pixels[64, 64] == yellow).all()
    assert (pixels[65, 66] == yellow).all()
    assert (pixels[66, 67] == blue).all()
    assert (pixels[63, 64] == 128).all()  # outside
    assert (pixels[128, 128] == 128).all()  # well inside
    assert (_pixels(outlined(image_SS, None, None)) == 128).all()


def test_a_row_has_the_truth_and_every_arm_with_its_score_and_no_patient() -> None:
    image_SS, mask_SS = np.zeros((4, 4)), np.ones((4, 4), bool)
    predicted = {"random_init": Prediction(score=0.25, mask_SS=mask_SS), "federated": Prediction(mask_SS=mask_SS)}
    row = example_row(Example(task="head", patient="secret-1", budget=8, image_SS=image_SS, truth_SS=mask_SS,
                              predicted=predicted))  # fmt: skip
    for said in ("head, 8 patients", ">annotated<", ">random weights 0.25<", ">federated (ours) –<"):
        assert said in row
    assert row.count("<img") == 3
    assert "secret" not in row


def test_classes_and_restored_images_are_shown_too() -> None:
    image_SS = np.zeros((4, 4))
    labelled = Example(task="lung", patient="p", budget=32, image_SS=image_SS, truth="viral <b>",
                       predicted={"federated": Prediction(said="healthy")})  # fmt: skip
    assert ">image: viral &lt;b&gt;<" in example_row(labelled)
    assert ">federated (ours): healthy<" in example_row(labelled)
    restored = Example(task="clean", patient="p", budget=32, image_SS=image_SS, target_SS=image_SS + 1,
                       predicted={"federated": Prediction(score=30.0, picture_SS=image_SS + 1)})  # fmt: skip
    assert ">undegraded<" in example_row(restored)


def test_pictures_of_unlike_size_are_refused() -> None:
    with pytest.raises(DataError, match="example head, patient p are not all square"):
        Example(task="head", patient="p", budget=8, image_SS=np.zeros((4, 4)), truth_SS=np.zeros((4, 5), bool),
                predicted={})  # fmt: skip
    with pytest.raises(DataError, match="not all square"):
        Example(task="head", patient="p", budget=8, image_SS=np.zeros((4, 4)),
                predicted={"federated": Prediction(mask_SS=np.zeros((2, 2), bool))})  # fmt: skip
