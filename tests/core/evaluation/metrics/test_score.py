"""A score goes into a file and comes back the same; what is no score is refused and says why."""

import copy
import json
from typing import Any

import numpy as np
import pytest

from core.errors import CheckpointError
from core.evaluation.gain import gain_kept
from core.evaluation.metrics.classification import score_classification
from core.evaluation.metrics.score import TaskScore, score_document, score_from
from core.evaluation.metrics.segmentation import score_segmentation


def segmentation(*, seed: int = 0, right: float = 0.9, images: int = 12) -> TaskScore:
    rng = np.random.default_rng(seed)
    truth = rng.random((images, 6, 6)) < 0.4
    predicted = truth ^ (rng.random(truth.shape) > right)
    patients = np.array([f"p{number % 5}" for number in range(images)])
    return score_segmentation(predicted, truth, patients, spacing_N2=None, seed=0, draws=50)


def classification(*, seed: int = 0, sharp: float = 2.0) -> TaskScore:
    rng = np.random.default_rng(seed)
    labels = np.arange(30) % 3
    scores = np.exp(rng.normal(size=(30, 3)) + sharp * np.eye(3)[labels])
    patients = np.array([f"p{number % 8}" for number in range(30)])
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    return score_classification(probabilities, labels, patients, classes=["a", "b", "c"], seed=0, draws=50)


@pytest.mark.parametrize("score", [segmentation(), segmentation(images=0), classification()])
def test_a_score_survives_json(score: TaskScore) -> None:
    written = json.dumps(score_document(score), allow_nan=False)
    assert score_from(json.loads(written), place="cell") == score


def test_the_headline_is_the_primary_metric() -> None:
    assert segmentation().headline == segmentation().metrics["dice"]
    assert classification().headline == classification().metrics["balanced_accuracy"]


def test_scores_by_patient_serve_the_paired_statistics() -> None:
    arms = [{"lesion": [segmentation(right=right).by_patient], "tumour": [classification(sharp=sharp).by_patient]}
            for right, sharp in ((0.95, 5.0), (0.95, 5.0), (0.6, 0.5))]  # fmt: skip
    gain = gain_kept(*arms, tasks=["lesion", "tumour"], seed=0, draws=50)
    assert gain.value == 1  # the first two arms are alike


def _changed(path: str, value: object) -> dict[str, Any]:
    document = json.loads(json.dumps(score_document(segmentation())))
    *folders, last = path.split("/")
    inner = document
    for name in folders:
        inner = inner[name]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return dict(document)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("kind", KeyError, "the score lacks kind"),
        ("extra", 1, "the score holds unknown extra"),
        ("kind", "detection", "kind 'detection' with the primary metric 'dice'"),
        ("kind", ["segmentation"], "kind ['segmentation'] with"),
        ("primary", "iou", "with the primary metric 'iou'"),
        ("metrics", [], "metrics holds no names and values"),
        ("metrics/dice", KeyError, "metrics lacks the primary dice"),
        ("metrics/iou/low", KeyError, "metrics.iou does not hold exactly value, low"),
        ("metrics/iou", 0.5, "metrics.iou does not hold exactly"),
        ("metrics/iou/value", float("nan"), "metrics.iou holds what is no finite number"),
        ("metrics/iou/value", True, "metrics.iou holds what is no finite number"),
        ("metrics/iou/value", "0.5", "metrics.iou holds what is no finite number"),
        ("metrics/iou/value", 10**400, "metrics.iou holds what is no finite number"),
        ("metrics/iou/low", 2.0, "is no value with an interval"),
        ("metrics/iou/high", None, "is no value with an interval"),
        ("metrics/iou/reason", "because", "metrics.iou.reason must be there where"),
        ("metrics/iou/reason", None, "metrics.iou.reason is no text"),
        ("metrics/iou/patients", -1, "metrics.iou.patients is no count"),
        ("counts/images", 1.5, "counts.images is no count"),
        ("counts", None, "counts holds no names and values"),
        ("by_patient", {}, "by_patient must be there where dice has a value"),
        ("by_patient/p0", "good", "by_patient.p0 is neither a number nor"),
        ("by_patient/p0", [], "by_patient.p0 is neither a number nor"),
        ("by_patient/p0", [[2, 1]], "by_patient.p0 is neither a number nor"),
        ("by_patient/p0", [[0, 1]], "by_patient is not of one form"),
    ],
)
def test_what_is_no_score_is_refused(path: str, value: object, says: str) -> None:
    with pytest.raises(CheckpointError, match="cell 3: no score of a task") as caught:
        score_from(_changed(path, value), place="cell 3")
    assert says in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "score", 3])
def test_anything_but_names_and_values_is_refused(document: object) -> None:
    with pytest.raises(CheckpointError, match="it holds no names and values"):
        score_from(document, place="cell")


def test_reading_leaves_the_document_as_it_was() -> None:
    document = score_document(classification())
    before = copy.deepcopy(document)
    score_from(document, place="cell")
    assert document == before
