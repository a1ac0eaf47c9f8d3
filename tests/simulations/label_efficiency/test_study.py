"""A study from its file to its report: what it leaves, how it goes on, what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from core.errors import CheckpointError, ConfigError
from core.evaluation.label_efficiency.analysis import analysis_from
from simulations.label_efficiency.study import run_study

Run = Callable[..., Path]


def metrics(folder: Path) -> dict[str, Any]:
    """The study's `metrics.json`."""
    return dict(json.loads((folder / "metrics.json").read_text()))


def files(folder: Path, pattern: str) -> dict[str, tuple[bytes, int]]:
    """File to its content and time stamp."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob(pattern)
    }


def test_a_study_leaves_every_cell_its_report_and_its_tables(finished: Path) -> None:
    found = metrics(finished)
    # 2 tasks x 5 arms x 2 budgets x 2 draws
    assert len(found["cells"]) == 40
    assert set(found["gain_kept"]) == {"overall", "mask", "malignancy"}
    assert set(found["gain_kept"]["overall"]) >= {"value", "low", "high"}
    assert analysis_from(found, place="metrics.json").document()["gains"] == found["gains"]
    assert "Example predictions" in (finished / "report.html").read_text()
    assert "python simulations/run.py --config study.yaml" in (finished / "results.md").read_text()
    assert (finished / "figures" / "label-efficiency.csv").exists()


def test_every_arm_gets_the_same_labelled_and_test_patients_and_steps(finished: Path) -> None:
    cells: dict[tuple[Any, ...], list[Any]] = {}
    for path in sorted(finished.glob("cells/*/*/*/*.json")):
        content = json.loads(path.read_text())
        cell, key = content["cell"], content["key"]
        told = [key["labelled patients"], key["steps"], sorted(cell["by_patient"]), cell["steps"], cell["images"]]
        cells.setdefault((cell["task"], cell["budget"], cell["draw"]), []).append(told)
    assert len(cells) == 8
    for told in cells.values():
        assert len(told) >= 4  # four encoders at least: two arms may be one hospital
        assert all(one == told[0] for one in told)


def test_a_finished_study_computes_nothing_again(run: Run) -> None:
    folder = run("budgets=[2]", "arms=[random_init,federated]")
    before = {**files(folder, "cells/**/*.json"), **files(folder, "convergence/**/*.json")}
    assert len(before) == 4 + 2
    run("budgets=[2]", "arms=[random_init,federated]", resume=True)
    assert {**files(folder, "cells/**/*.json"), **files(folder, "convergence/**/*.json")} == before


def test_another_configuration_does_not_go_on_with_a_study(run: Run) -> None:
    run("budgets=[2]", "arms=[random_init]")
    with pytest.raises(CheckpointError, match="differs from this configuration"):
        run("budgets=[2]", "arms=[random_init]", "seed=1", resume=True)


def test_one_hospital_alone_is_the_median_and_the_best(study_file: Path, tmp_path: Path) -> None:
    given = [
        "name=one",
        "budgets=[2]",
        'pretraining.overrides=["seeds=[0]",data.phantom.devices=1,federation.min_sites=1]',
    ]
    given += ["arms=[random_init,local,local_best]", f"data.cache={tmp_path / 'data' / 'cache'}"]
    folder = run_study(path=study_file, overrides=given, console=Console(quiet=True))
    found = metrics(folder)
    assert found["hospitals"]["mask"]["median"] == found["hospitals"]["mask"]["best"]
    assert len(list(folder.glob("cells/mask/2/*/*.json"))) == 2 * 2  # two encoders, two draws: not computed twice
    assert len(found["cells"]) == 2 * 3


def test_quick_takes_the_regime_of_the_file_and_an_override_wins(study_file: Path, pretrained: Path) -> None:
    content = yaml.safe_load(study_file.read_text())
    study_file.write_text(yaml.safe_dump({**content, "quick": ["budgets=[2]", "arms=[random_init]", "name=q"]}))
    given = [f"pretraining.run={pretrained}", "arms=[random_init,federated]"]
    folder = run_study(path=study_file, overrides=given, quick=True, console=Console(quiet=True))
    assert folder.name == "q"
    assert len(metrics(folder)["cells"]) == 2 * 2
    study_file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="has no quick regime"):
        run_study(path=study_file, overrides=given, quick=True, console=Console(quiet=True))


def test_a_study_goes_on_with_another_number_of_processes(run: Run) -> None:
    folder = run("budgets=[2]", "arms=[random_init]")
    before = files(folder, "cells/**/*.json")
    run("budgets=[2]", "arms=[random_init]", "processes=3", resume=True)
    assert files(folder, "cells/**/*.json") == before
    assert "processes: 1" in (folder / "config.yaml").read_text()
