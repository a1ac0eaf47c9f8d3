"""Scores: the same images, masks and draws for every arm; labels as the task says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from core.data.manifest import Record, write_manifest
from core.errors import DataError
from core.federation.tensors import digest_of
from simulations.arms import Bench, plan_of
from simulations.config import TaskConfig
from simulations.display import Display
from simulations.prepare import prepare
from simulations.results import load_result, save_result
from simulations.score import Scorer, labelled

Make = Callable[..., Any]

TASKS = (
    "evaluation.tasks.organ={dataset: tiny, column: organ, classes: [breast, liver]}",
    "evaluation.tasks.none={dataset: elsewhere, classes: [benign, malignant]}",
)


@pytest.fixture
def bench(configure: Make, tmp_path: Path) -> Make:
    """(key=value, ...) -> the tiny run's bench."""

    def make(*overrides: str) -> Bench:
        config = configure(*overrides)
        prepared = prepare(config, progress=lambda what, done, total: None)
        display = Display(Console(quiet=True))
        return Bench(config=config, prepared=prepared, plan=plan_of(config, prepared), display=display, folder=tmp_path)

    return make


def record(*, label: str, organ: str = "breast", dataset: str = "d") -> Record:
    return Record(image=Path("/x.png"), organ=organ, patient="p", dataset=dataset, label=label)


RECORDS = [
    (0, record(label="benign")),
    (1, record(label="malignant")),
    (2, record(label="cyst")),
    (3, record(label="")),
    (4, record(label="benign", organ="liver")),
    (5, record(label="benign", dataset="other")),
]


def test_labels_are_numbered_in_the_order_of_the_classes() -> None:
    task = TaskConfig(dataset="d", organ="breast", classes=["malignant", "benign"])
    assert labelled(task, RECORDS) == ([0, 1], [1, 0])


def test_a_bar_merges_two_values() -> None:
    task = TaskConfig(dataset="d", organ="breast", classes=["benign|cyst", "malignant"])
    assert labelled(task, RECORDS) == ([0, 1, 2], [0, 1, 0])


def test_without_dataset_and_organ_every_image_with_a_class_counts() -> None:
    assert labelled(TaskConfig(classes=["benign", "malignant"]), RECORDS) == ([0, 1, 4, 5], [0, 1, 0, 0])


def test_the_organ_may_be_the_label() -> None:
    task = TaskConfig(dataset="d", column="organ", classes=["breast", "liver"])
    assert labelled(task, RECORDS) == ([0, 1, 2, 3, 4], [0, 0, 0, 0, 1])


def test_scores_are_of_held_out_patients_each_once(bench: Make) -> None:
    it = bench()
    scored = Scorer(it).score(it.random_init().model)
    for split, losses in (("test", scored.test), ("validation", scored.validation)):
        expected = {f"{patient}/{patient.split('-')[1]}" for patient, at in it.prepared.splits.items() if at == split}
        assert set(losses) == expected
        assert all(key.endswith(f"/{organ}") and np.isfinite(loss) for key, (organ, loss) in losses.items())
    assert not set(scored.test) & set(scored.validation)


def test_the_same_model_scores_the_same_whatever_was_scored_before(bench: Make) -> None:
    it = bench(*TASKS)
    model = it.random_init().model
    other = {name: value + np.float32(0.01) for name, value in model.items()}
    first = Scorer(it).score(model)
    scorer = Scorer(bench(*TASKS))
    worse = scorer.score(other)
    assert scorer.score(model) == first
    assert worse.test != first.test


def test_the_evaluation_batch_does_not_matter(bench: Make) -> None:
    model = bench().random_init().model
    one, many = (Scorer(bench(f"evaluation.batch={size}")).score(model).test for size in (1, 128))
    assert {key: loss for key, (_, loss) in one.items()} == pytest.approx(
        {key: loss for key, (_, loss) in many.items()}, rel=1e-5
    )


def test_probes_have_a_mean_within_their_interval_or_a_reason(bench: Make) -> None:
    it = bench(*TASKS)
    tasks = Scorer(it).score(it.random_init().model).tasks
    assert set(tasks) == {"organ", "none"}
    for probe in ("linear", "knn"):
        found = tasks["organ"][probe]
        assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 1
        assert tasks["none"][probe]["mean"] is None
        assert tasks["none"][probe]["reason"]


def test_there_is_one_example_an_organ_in_pixel_space(bench: Make) -> None:
    it = bench()
    examples = Scorer(it).examples(it.random_init().model, arm="federated")
    assert [example.organ for example in examples] == ["breast", "liver"]
    for example in examples:
        assert example.original.shape == example.corrupted.shape == example.reconstructed.shape == (16, 16)
        assert 0 <= example.original.min() <= example.original.max() <= 1
        assert not np.array_equal(example.original, example.corrupted)


def test_scoring_leaves_the_model_as_it_was(bench: Make) -> None:
    it = bench()
    model = it.random_init().model
    before = digest_of(model)
    Scorer(it).score(model)
    assert digest_of(model) == before


def test_nobody_held_out_with_an_organ_of_the_study_is_an_error(bench: Make, configure: Make) -> None:
    """All are in training or test here; the organs of the study are those of enough patients."""
    it = bench()
    held_in = {p: "test" if at == "validation" else at for p, at in it.prepared.splits.items()}
    for patient, split in held_in.items():
        it.prepared.splits[patient] = split
    with pytest.raises(DataError, match=r"no validation patient with an organ of the study \(breast, liver\)"):
        Scorer(it)


@pytest.fixture
def masked(bench: Make, tmp_path: Path) -> Make:
    """(key=value, ...) -> the tiny run's bench where every breast has a mask, its bright band."""

    def make(*overrides: str) -> Bench:
        plain = bench()
        records = []
        for record in plain.prepared.manifest.records:
            mask = None
            if record.organ == "breast":
                mask = tmp_path / f"{record.patient}.png"
                bright = np.asarray(Image.open(record.image)) > 127
                Image.fromarray(np.where(bright, 255, 0).astype(np.uint8)).save(mask)
            records.append(replace(record, mask=mask))
        write_manifest(records, tmp_path / "masked.csv")
        return bench(f"data.manifest={tmp_path / 'masked.csv'}", *overrides)

    return make


SEGMENTATION = "evaluation.segmentation.{}={{organ: breast, budgets: [20, 2], steps: 2, batch: 2, repeats: 2}}"


def test_segmentation_scores_stand_beside_the_probes_of_a_task_of_the_same_name(masked: Make) -> None:
    it = masked(*TASKS, SEGMENTATION.format("organ"), SEGMENTATION.format("band"))
    scored = Scorer(it).score(it.random_init().model)
    assert list(scored.tasks["organ"]) == ["linear", "knn", "frozen", "finetune_2", "finetune_20"]
    band = scored.tasks["band"]
    assert list(band) == ["frozen", "finetune_2", "finetune_20"]
    breasts = {p for p, at in it.prepared.splits.items() if at == "test" and "breast" in p}
    for probe in ("frozen", "finetune_2"):
        assert 0 <= band[probe]["low"] <= band[probe]["mean"] <= band[probe]["high"] <= 1
        assert set(band[probe]["by_patient"]) == breasts
        assert band[probe]["patients"] == len(breasts)
    assert band["frozen"] == scored.tasks["organ"]["frozen"]
    assert band["finetune_20"]["mean"] is None
    assert band["finetune_20"]["reason"].startswith("20 labelled patients asked for, ")


def test_a_data_set_without_masks_gives_reasons(masked: Make) -> None:
    it = masked("evaluation.segmentation.liver={organ: liver}", "evaluation.segmentation.other={dataset: elsewhere}")
    for probes in Scorer(it).score(it.random_init().model).tasks.values():
        assert set(probes) == {"frozen", "finetune_8", "finetune_32"}
        assert all(score["reason"] == "no training image with a mask" for score in probes.values())


def test_scores_by_patient_come_back_from_the_arms_folder(masked: Make, tmp_path: Path) -> None:
    it = masked(*TASKS, SEGMENTATION.format("band"))
    trained = it.random_init()
    scored = Scorer(it).score(trained.model)
    save_result(tmp_path, trained, scored)
    loaded = load_result(tmp_path)
    assert loaded is not None
    assert loaded[1].tasks == scored.tasks
    right = np.array(list(scored.tasks["organ"]["knn"]["by_patient"].values())).sum(axis=0)
    assert np.mean(right[:, 0] / right[:, 1]) == pytest.approx(scored.tasks["organ"]["knn"]["mean"])
