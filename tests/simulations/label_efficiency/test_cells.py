"""One cell: what makes it undefined, and when its file is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import config as configuration
from core.data.manifest import load_manifest, write_manifest
from core.errors import CheckpointError
from simulations.config import SimulationConfig
from simulations.prepare import manifest_path

Run = Callable[..., Path]


def metrics(folder: Path) -> dict[str, Any]:
    """The study's `metrics.json`."""
    return dict(json.loads((folder / "metrics.json").read_text()))


def test_a_class_without_enough_patients_is_undefined_at_every_arm(run: Run) -> None:
    task = "{kind: classification, organ: breast, classes: [benign, malignant], tuning: {steps: 1, batch: 2}}"
    folder = run(f"tasks.mask.task={task}", "budgets=[1]", "selection_budget=1")
    cells = metrics(folder)["cells"]
    assert {cell["value"] for cell in cells} == {None}
    assert {cell["reason"] for cell in cells if cell["reason"]} == {
        next(cell["reason"] for cell in cells if "of 1 patient none is of class" in cell["reason"])
    }
    assert metrics(folder)["gain_kept"]["overall"]["value"] is None


def test_images_without_any_mask_have_no_score_and_the_reason(run: Run) -> None:
    task = "{kind: segmentation, organ: kidney, tuning: {steps: 1, batch: 2}}"
    folder = run(f"tasks.mask.task={task}", "budgets=[2]")
    cells = metrics(folder)["cells"]
    assert {cell["value"] for cell in cells} == {None}
    assert {cell["reason"] for cell in cells} == {"no training patient is labelled"}
    assert metrics(folder)["steps"]["mask"]["note"] == "no score of validation patients"


def test_a_cell_of_other_patients_is_refused_and_a_damaged_one_too(run: Run) -> None:
    given = ("budgets=[2]", "arms=[random_init]")
    folder = run(*given)
    path = folder / "cells" / "mask" / "2" / "random_init" / "draw-1.json"
    content = json.loads(path.read_text())
    content["key"]["labelled patients"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="computed with other labelled patients"):
        run(*given, resume=True)
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"draw-1\.json: no cell"):
        run(*given, resume=True)


def test_distances_are_in_millimetres_where_the_manifest_knows_the_spacing(
    run: Run, pretrained: Path, tmp_path: Path
) -> None:
    config, _ = configuration.load(SimulationConfig, path=pretrained / "config.yaml", overrides=())
    manifest = load_manifest(manifest_path(config, progress=lambda *_: None))
    known = tmp_path / "manifest.csv"
    write_manifest([replace(record, spacing=0.5) for record in manifest.records], known)
    folder = run("budgets=[2]", "arms=[random_init]", f"data.manifest={known}")
    for cell in metrics(folder)["cells"]:
        # Images of 32 px at 0.5 mm are 16 mm wide, so a pixel of the 16 px that are scored is 1 mm.
        assert cell["metrics"]["hd95_mm"]["value"] == pytest.approx(cell["metrics"]["hd95"]["value"])
