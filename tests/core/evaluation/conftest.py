"""A small study to report on: two hospitals, two organs, one task; and a task of bright squares to segment."""

import copy
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from core.evaluation.masked import Masked
from core.evaluation.pictures import Example
from core.evaluation.report import ReportData
from core.models.encoder import Encoder, EncoderConfig, build_encoder

HOSTILE = '<script>alert("h")</script> & $\\frac{ [red]x[/] 医院'
"""A hospital's name that would break a page, a figure or a table that trusts it."""


VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The tags of a page with their attributes, its visible text, and whether every tag is closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="session")
def page_of() -> type[Page]:
    """Reads the source of a page: its tags, its text, and whether every tag is closed in order."""
    return Page


def _arm(loss: float, mean: float | None) -> dict[str, Any]:
    score: dict[str, Any] = {"mean": mean, "low": None, "high": None, "reason": "no test image of class 1"}
    if mean is not None:
        score = {"mean": mean, "low": mean - 0.1, "high": mean + 0.05, "reason": "", "classes": 2}
    held_out = {"overall": loss, "liver": loss, "fetal_head": loss + 0.1}
    tasks = {"liver_lesion": {"linear": score, "knn": score}}
    return {"held_out_loss": held_out, "tasks": tasks, "images": 12000, "seconds": 12.5, "role": ""}


@pytest.fixture
def metrics() -> dict[str, Any]:
    """A run that shows something."""
    losses = {"random_init": 1.2, "local_mean": 0.9, "local_best": 0.8, "fedavg": 0.7, "federated": 0.6,
              "centralized": 0.5, "centralized_wide": 0.55, "centralized_long": 0.5,
              "local:north": 0.8, f"local:{HOSTILE}": 1.0}  # fmt: skip
    return {
        "schema_version": 1,
        "name": "trial",
        "arms": {arm: _arm(loss, None if arm == "fedavg" else 1.2 - loss) for arm, loss in losses.items()},
        "gap_closed": {"value": 0.75, "low": 0.6, "high": 0.9, "reason": ""},
        "gap_closed_fedavg": {"value": 0.5, "low": 0.3, "high": 0.7, "reason": ""},
        "rounds": 2,
        "timing": {"seconds": 300.0, "images_per_second": 400.0},
        "bytes": {"up": 4_000_000, "down": 8_000_000},
        "final_hash": "ab" * 32,
        "reference": "centralized_long",
        "mix": {"liver": 0.6, "fetal_head": 0.4},
        "licences": {"CC0-1.0": 120, "": 3},
        "limits": ["One seed."],
    }


@pytest.fixture
def grown(metrics: dict[str, Any]) -> dict[str, Any]:
    """The same run with two training seeds, segmentation, comparisons and the order of the organs."""
    made = copy.deepcopy(metrics)
    for arm in made["arms"].values():
        loss = arm["held_out_loss"]["overall"]
        arm["tasks"]["mass"] = {
            name: {"mean": more - loss / 4, "low": more - loss / 4 - 0.1, "high": more - loss / 4 + 0.1, "reason": ""}
            for name, more in (("finetune_32", 0.8), ("frozen", 0.6), ("finetune_8", 0.7))
        }
    difference = {"value": -0.1, "low": -0.15, "high": -0.05, "reason": "", "unit": "loss", "meaning": "less is better"}
    seed = {"arms": copy.deepcopy(made["arms"]), "gap_closed": {"value": 0.7, "low": 0.6, "high": 0.8, "reason": ""}}
    return {
        **made,
        "seeds": [0, 1],
        "by_seed": {"0": seed, "1": copy.deepcopy(seed)},
        "rarest": ["liver", "fetal_head"],
        "comparisons": {"federated_minus_fedavg": difference, "federated_minus_fedavg:liver": difference,
                        "federated_minus_best_hospital": {**difference, "unit": "Dice"}},
        "gain_kept": {"value": 0.8, "low": 0.5, "high": 1.1, "reason": "", "tasks": ["mass/frozen"]},
    }  # fmt: skip


@pytest.fixture
def report(metrics: dict[str, Any]) -> ReportData:
    """All that a page can hold, with a hostile hospital."""
    rng = np.random.default_rng(0)
    picture = rng.random((8, 8))
    passed = np.ones((8, 5), bool)
    passed[2, 2] = False
    example = Example(organ="liver", arm="federated", original=picture, corrupted=picture * 0.5, filtered=picture,
                      reconstructed=picture + 0.5, ring_mask=passed)  # fmt: skip
    receipts = [
        {"round": 1, "contributors": {"north": {}, HOSTILE: {}}, "refused": {}, "absent": {},
         "effective_mix": {"liver": 0.6, "fetal_head": 0.4}, "model_hash": "cd" * 32},
        {"round": 2, "contributors": {"north": {}}, "refused": {HOSTILE: "norm 41.2 exceeds 1.0"}, "absent": {},
         "effective_mix": {"liver": 0.9, "fetal_head": 0.1}, "model_hash": "ef" * 32},
    ]  # fmt: skip
    curve = [(100.0 * i, 1.0 / i) for i in range(1, 200)]
    return ReportData(
        metrics=metrics,
        case_mix={"north": {"liver": 12}, HOSTILE: {"fetal_head": 70, "liver": 3}},
        curves={"federated": curve, f"local:{HOSTILE}": curve[:20]},
        held_out_curve={"federated": curve[:3]},
        examples=[example],
        receipts=receipts,
        config_text="name: trial\npath: <b>here</b>\n",
    )


def _squares(*, patients: int, name: str, seen: bool, seed: int) -> Masked:
    """Two images a patient, 16 x 16: a bright square under faint noise; unseen, the mask's square is another."""
    rng = np.random.default_rng(seed)
    images, masks = np.zeros((2, 2 * patients, 16, 16), np.uint8)
    for number in range(2 * patients):
        for target, value in ((images, 200), (masks, 1)):
            top, left = rng.integers(0, 9, 2)
            if target is images or not seen:
                corner = (top, left)
            target[number, corner[0] : corner[0] + 8, corner[1] : corner[1] + 8] = value
    images += rng.integers(0, 30, images.shape, dtype=np.uint8)
    return Masked(images, masks, np.array([f"{name}{number // 2}" for number in range(2 * patients)]))


@pytest.fixture
def squares() -> Callable[..., tuple[Masked, Masked, Masked]]:
    """(seen=...) -> training, validation and test images; where `seen`, a mask is what is bright in its image."""

    def make(*, seen: bool, patients: int = 12) -> tuple[Masked, Masked, Masked]:
        train, validation, test = (
            _squares(patients=count, name=name, seen=seen, seed=seed)
            for seed, (name, count) in enumerate((("train", patients), ("validation", 6), ("test", 10)))
        )
        return train, validation, test

    return make


@pytest.fixture
def small_encoder() -> Encoder:
    """One block, 32 channels, 4 x 4 patches of 4 x 4 pixels; its weights are random."""
    config = EncoderConfig(size="custom", width=32, depth=1, heads=2, patch=4, side=16, channels=1)
    return build_encoder(config, seed=0)
