"""Predictions that the report shows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.labelled import Labelled
from core.errors import CheckpointError
from simulations.label_efficiency.predictions import first_images

Run = Callable[..., Path]
MASK = "{kind: segmentation, organ: breast, tuning: {steps: 2, batch: 2, evaluations: 1}}"


def metrics(folder: Path) -> dict[str, Any]:
    """The study's `metrics.json`."""
    return dict(json.loads((folder / "metrics.json").read_text()))


def test_enhancement_is_a_task_with_pictures_of_its_own(run: Run) -> None:
    task = "{kind: enhancement, organ: breast, tuning: {steps: 2, batch: 2, evaluations: 1}}"
    tasks = f"further: {{task: {task}}}"
    folder = run(
        f"tasks={{{tasks}, mask: {{task: {MASK}, core: true}}}}", "budgets=[2]", "arms=[random_init,federated]"
    )
    assert {cell["value"] is None for cell in metrics(folder)["cells"]} == {False}
    assert "undegraded" in (folder / "report.html").read_text()


def test_each_patient_is_shown_by_the_first_image_by_name() -> None:
    split = Labelled(
        images_NSS=np.zeros((4, 8, 8), np.uint8),
        patients_N=np.array(["q", "p", "q", "p"]),
        names_N=np.array(["1.png", "3.png", "0.png", "2.png"]),
    )
    assert first_images(split).tolist() == [3, 2]  # p's 2.png, q's 0.png


def test_a_prediction_that_is_gone_is_computed_again_as_the_error_says(run: Run) -> None:
    given = ("budgets=[2]", "arms=[random_init,federated]")
    folder = run(*given)
    shown = folder / "cells/mask/2/federated/draw-0.safetensors"
    shown.unlink()
    with pytest.raises(CheckpointError, match=r"remove draw-0\.json beside it"):
        run(*given, resume=True)
    shown.with_suffix(".json").unlink()
    run(*given, resume=True)
    assert shown.exists()
