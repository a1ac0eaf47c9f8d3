"""What a study leaves beside its cells."""

import json
from collections.abc import Callable
from pathlib import Path

from simulations.label_efficiency.outputs import command_line

SHIPPED = Path(__file__).parents[3] / "configs" / "simulation" / "label_efficiency.yaml"


def test_the_command_that_is_told_names_no_folder_of_this_machine() -> None:
    given = [
        "data.manifest=/secret/m.csv",
        "data.cache=/secret/c",
        "runs=/secret/r",
        "public.usfm=/secret/w.pth",
        "draws=4",
    ]
    assert command_line(SHIPPED, given, quick=True) == (
        "python simulations/run.py --config configs/simulation/label_efficiency.yaml --quick "
        "data.manifest=PATH/m.csv public.usfm=PATH/w.pth draws=4"
    )


def test_cost_counts_the_cells_of_each_arm(finished: Path) -> None:
    found = json.loads((finished / "metrics.json").read_text())
    assert set(found["cost"]) == {"random_init", "local", "local_best", "federated", "centralized"}
    own = [cell for cell in found["cells"] if cell["arm"] == "federated"]
    assert found["cost"]["federated"]["cells"] == len(own) == 2 * 2 * 2  # tasks, budgets, draws
    assert found["cost"]["federated"]["images"] == sum(cell["images"] for cell in own)
    assert found["pretraining_seconds"] > 0


def test_steps_and_hospitals_are_on_record(finished: Path) -> None:
    found = json.loads((finished / "metrics.json").read_text())
    assert [one["steps"] for one in found["steps"]["mask"]["tried"]] == [3, 6]
    assert found["steps"]["mask"]["converged"] in (True, False)
    hospitals = found["hospitals"]["mask"]
    assert hospitals["scores"][hospitals["best"]] == max(hospitals["scores"].values())


def test_every_field_of_the_metrics_is_documented_and_no_other(
    finished: Path, undocumented: Callable[..., set]
) -> None:
    found = json.loads((finished / "metrics.json").read_text())
    placeholders = {
        "design.tasks": "<task>", "gain_kept": "<task>", "cells[].by_patient": "<patient>",
        "cells[].metrics": "<metric>", "encoders": "<encoder>", "steps": "<task>", "hospitals": "<task>",
        "hospitals.<task>.scores": "<hospital>", "cost": "<arm>",
    }  # fmt: skip
    assert not undocumented(found, "metrics.json of a label-efficiency study", placeholders)
