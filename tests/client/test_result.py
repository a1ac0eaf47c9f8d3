"""The document of a result: complete, without names of patients, and warning of what weakens it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.labels import Prepared
from client.result import result_of, warnings_of
from core.data.labelled import Labelled
from core.evaluation.metrics.estimate import Estimate
from core.evaluation.metrics.score import TaskScore
from core.evaluation.task_words import FEW
from core.models.weights import Loaded, load_encoder
from core.training.fitted import Fitted, Point, load_fitted


def part(name: str, patients: int) -> Labelled:
    names = [f"{name}{number}" for number in range(patients)]
    pixels_NSS = np.random.default_rng(ord(name[0])).integers(0, 256, (patients, 4, 4), np.uint8)
    return Labelled(images_NSS=pixels_NSS, patients_N=np.array(names, dtype=np.str_))


def prepared(*, train: int = 20, validation: int = 20, test: int = 20, **more: Any) -> Prepared:
    parts = {"train": part("a", train), "validation": part("b", validation), "test": part("Zoe", test)}
    values: dict[str, Any] = {"rows": 60, "unused": {}, "splits_digest": "ef"}
    return Prepared(**parts, spacing_N2=np.full((test, 2), np.nan), **{**values, **more})


@pytest.fixture
def loaded(weights_file: Path) -> Loaded:
    """The tiny encoder."""
    return load_encoder(weights_file)


@pytest.fixture
def fitted(fitted_file: Callable[..., Path]) -> Fitted:
    """A model whose best state was not its last."""
    curve = [Point(step=1, loss=1.0, validation=0.5), Point(step=2, loss=0.5, validation=0.4)]
    return load_fitted(fitted_file(curve=curve, best_step=1, steps=2, validation=0.5))


def score(patients: int = 20, **counts: int) -> TaskScore:
    found = Estimate(value=0.5, low=0.4, high=0.6, reason="", patients=patients)
    by_patient = {f"Zoe{number}": 0.5 for number in range(patients)}
    return TaskScore(kind="segmentation", primary="dice", metrics={"dice": found}, by_patient=by_patient, counts=counts)


def test_nothing_weak_is_no_warning(fitted: Fitted, loaded: Loaded) -> None:
    assert list(warnings_of(fitted, score(), prepared(), loaded)) == []


def test_probabilities_of_evenly_drawn_classes_are_explained(fitted_file: Callable[..., Path], loaded: Loaded) -> None:
    (told,) = warnings_of(load_fitted(fitted_file("classification")), score(), prepared(), loaded)
    assert told.startswith("Classes were drawn alike in training")


@pytest.mark.parametrize("few", ["train", "validation", "test"])
def test_few_patients_of_any_part_are_warned_of(few: str, fitted: Fitted, loaded: Loaded) -> None:
    for patients, words in ((1, "1 {} patient:"), (FEW - 1, "9 {} patients:")):
        (told,) = warnings_of(fitted, score(), prepared(**{few: patients}), loaded)
        assert told.startswith(words.format("training" if few == "train" else few))
    assert not list(warnings_of(fitted, score(), prepared(**{few: FEW}), loaded))


def test_test_images_that_were_trained_on_are_warned_of_first(fitted: Fitted, loaded: Loaded) -> None:
    own = prepared(test=FEW - 1)
    taught = own.test.images_NSS[:2]  # two of the test patients stand in the manifest under another code too
    train = replace(own.train, images_NSS=np.concatenate([taught, own.train.images_NSS[2:]]))
    told = list(warnings_of(fitted, score(), replace(own, train=train), loaded))
    assert told[0].startswith("2 test images are, pixel for pixel, also images of training or validation patients")
    assert len(told) == 2


def test_few_patients_that_chose_nothing_are_no_warning(fitted: Fitted, loaded: Loaded) -> None:
    own = replace(fitted, validation=None, note="No validation score.")
    assert list(warnings_of(own, score(), prepared(validation=1), loaded)) == ["No validation score."]


def test_what_was_set_apart_and_left_out_is_told_with_its_number(fitted: Fitted, loaded: Loaded) -> None:
    told = list(
        warnings_of(
            replace(fitted, note="No training image of cyst."),
            score(empty_images=5, empty_right=3, hd95_penalised=2),
            prepared(unused={"without a mask": 7}),
            replace(loaded, normalization="imagenet", notes=("the file is old",)),
        )
    )
    assert told[0] == "No training image of cyst."
    assert "The mask of 5 test images is empty at the model's size: they are in no mean. Of these, 3 were" in told[1]
    assert "In 2 test images nothing was found" in told[2]
    assert told[3] == "7 of 60 rows of the manifest are not used: 7 without a mask."
    assert "normalized in another way (imagenet)" in told[4]
    assert told[5] == "Weights: the file is old."


def test_the_document_is_json_and_names_patients_only_when_asked(fitted: Fitted, loaded: Loaded) -> None:
    for names in (False, True):
        made = result_of(fitted, score(), prepared(), loaded, manifest=Path("/secret/place/m.csv"), seed=3, names=names)
        text = json.dumps(made, allow_nan=False)
        assert ("Zoe" in text) == names
        assert "/secret" not in text
        assert made["weights"]["path"] == "encoder.safetensors"
        assert made["data"]["splits"]["test"] == {"patients": 20, "images": 20}
        assert made["curve"][1] == {"step": 2, "loss": 0.5, "validation": 0.4}
        assert len(made["score"]["by_patient"]) == 20
