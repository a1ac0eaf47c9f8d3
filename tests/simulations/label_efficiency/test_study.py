"""A study from its file to its report: what it leaves, how it goes on, what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from core.errors import CheckpointError, ConfigError, TimeIsUp
from core.evaluation.label_efficiency.analysis import analysis_from
from core.federation.tensors import digest_of, state_of
from core.files import save_tensors
from core.models.encoder import EncoderConfig, build_encoder
from simulations.label_efficiency.study import run_study
from simulations.results import load_result

Run = Callable[..., Path]
SEGMENTATION: dict[str, Any] = {"kind": "segmentation", "organ": "breast", "tuning": {"steps": 3, "batch": 4}}
ROOT = Path(__file__).parents[3]


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


def test_random_weights_differ_between_draws_and_pretrained_ones_follow_the_training_seeds(finished: Path) -> None:
    digests = json.loads((finished / "encoders.json").read_text())
    assert digests["random_init/seed-0"] != digests["random_init/seed-1"]
    assert {name for name in digests if name.startswith("federated")} == {"federated/seed-0", "federated/seed-1"}
    assert metrics(finished)["encoders"] == digests


def test_a_budget_without_a_patient_of_each_class_is_undefined_and_said(finished: Path) -> None:
    # stratified, so the same in every draw: of 2 patients, with more benign ones than malignant
    few = [cell for cell in metrics(finished)["cells"] if (cell["task"], cell["budget"]) == ("malignancy", 2)]
    held = {cell["value"] is None for cell in few}
    assert len(held) == 1
    if held == {True}:
        assert all("none is of class" in cell["reason"] for cell in few)


def test_a_class_without_enough_patients_is_undefined_at_every_arm(run: Run) -> None:
    task = "{kind: classification, organ: breast, classes: [benign, malignant], tuning: {steps: 1, batch: 2}}"
    folder = run(f"tasks.mask.task={task}", "budgets=[1]", "selection_budget=1")
    cells = metrics(folder)["cells"]
    assert {cell["value"] for cell in cells} == {None}
    assert {cell["reason"] for cell in cells if cell["reason"]} == {
        next(cell["reason"] for cell in cells if "of 1 patient none is of class" in cell["reason"])
    }
    assert metrics(folder)["gain_kept"]["overall"]["value"] is None


def test_a_finished_study_computes_nothing_again(run: Run) -> None:
    folder = run("budgets=[2]", "arms=[random_init,federated]")
    before = {**files(folder, "cells/**/*.json"), **files(folder, "convergence/**/*.json")}
    assert len(before) == 4 + 2
    run("budgets=[2]", "arms=[random_init,federated]", resume=True)
    assert {**files(folder, "cells/**/*.json"), **files(folder, "convergence/**/*.json")} == before


def test_a_study_whose_time_is_up_goes_on_and_ends_as_if_never_stopped(run: Run, tmp_path: Path) -> None:
    given = ("arms=[random_init,federated]", "budgets=[2]")
    with pytest.raises(TimeIsUp, match="--resume goes on"):
        run(*given, minutes=0)
    folder = run(*given, resume=True)
    whole = run(*given, "name=whole")
    for one in (metrics(folder), metrics(whole)):
        assert one["gains"] == metrics(whole)["gains"]
        assert [cell["by_patient"] for cell in one["cells"]] == [cell["by_patient"] for cell in metrics(whole)["cells"]]


def test_processes_give_the_bits_of_one_after_the_other(run: Run) -> None:
    given = ("arms=[random_init,federated]", "budgets=[2]")
    one, two = run(*given), run(*given, "processes=2", "name=two")
    assert metrics(one)["gains"] == metrics(two)["gains"]
    assert [cell["by_patient"] for cell in metrics(one)["cells"]] == [
        cell["by_patient"] for cell in metrics(two)["cells"]
    ]


def test_a_killed_study_goes_on_without_touching_its_finished_cells(study_file: Path, pretrained: Path) -> None:
    arguments = [f"pretraining.run={pretrained}", "name=k", "arms=[random_init,federated]", "processes=2"]
    command = [sys.executable, "simulations/run.py", "--config", str(study_file), *arguments]
    folder = study_file.parent / "runs" / "k"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=heed
    ) as process:
        end = time.monotonic() + 120
        while len(list(folder.glob("cells/*/*/*/*.json"))) < 2 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    before = files(folder, "cells/**/*.json")
    assert len(before) >= 2
    assert not (folder / "metrics.json").exists()
    run_study(path=study_file, overrides=arguments, resume=True, console=Console(quiet=True))
    after = files(folder, "cells/**/*.json")
    assert {name: after[name] for name in before} == before
    assert len(metrics(folder)["cells"]) == 8


def test_a_study_makes_its_own_pretraining_and_goes_on_from_it(study_file: Path) -> None:
    given = ["name=own", "arms=[random_init,federated]", "budgets=[2]", "pretraining.overrides=[seeds=[0]]"]
    folder = run_study(path=study_file, overrides=given, console=Console(quiet=True))
    arms = {path.name for path in (folder / "pretraining" / "arms" / "seed-0").iterdir()}
    assert arms == {"federated"}
    before = files(folder / "pretraining", "arms/*/*/arm.safetensors")
    run_study(path=study_file, overrides=given, resume=True, console=Console(quiet=True))
    assert files(folder / "pretraining", "arms/*/*/arm.safetensors") == before


def test_one_hospital_alone_is_the_median_and_the_best(run: Run, study_file: Path) -> None:
    given = ["name=one", "budgets=[2]", "pretraining.overrides=[seeds=[0],data.phantom.devices=1,arms=[local]]"]
    given += ["arms=[random_init,local,local_best]"]
    folder = run_study(path=study_file, overrides=given, console=Console(quiet=True))
    found = metrics(folder)
    assert found["hospitals"]["mask"]["median"] == found["hospitals"]["mask"]["best"]
    assert len(list(folder.glob("cells/mask/2/*/*.json"))) == 2 * 2  # two encoders, two draws: not computed twice
    assert len(found["cells"]) == 2 * 3


def test_given_weights_of_another_shape_are_an_arm_beside_the_others(
    run: Run, pretrained: Path, tmp_path: Path
) -> None:
    shape = EncoderConfig(size="custom", width=24, depth=2, heads=2, patch=4, side=32, channels=1)
    encoder = build_encoder(shape, seed=1)
    other = tmp_path / "other.safetensors"
    save_tensors(other, state_of(encoder), meta={"schema_version": 1, "encoder": asdict(shape), "sha256": ""})
    ours = pretrained / "encoder.safetensors"
    folder = run("budgets=[2]", "arms=[random_init]", f"public.other={other}", f"public.ours={ours}")
    found = metrics(folder)
    assert {cell["arm"] for cell in found["cells"]} == {"random_init", "public:other", "public:ours"}
    assert found["encoders"]["public:other"] == digest_of(state_of(encoder))
    federated = load_result(pretrained / "arms" / "seed-0" / "federated")
    assert federated is not None
    model = {k.removeprefix("encoder."): v for k, v in federated[0].model.items() if k.startswith("encoder.")}
    assert found["encoders"]["public:ours"] == digest_of(model)


def test_weights_that_are_no_encoder_are_refused_before_any_cell(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        run(f"public.bad={path}")
    assert not list(tmp_path.glob("runs/s/cells/**/*.json"))


def test_images_without_any_mask_have_no_score_and_the_reason(run: Run) -> None:
    task = "{kind: segmentation, organ: kidney, tuning: {steps: 1, batch: 2}}"
    folder = run(f"tasks.mask.task={task}", "budgets=[2]")
    cells = metrics(folder)["cells"]
    assert {cell["value"] for cell in cells} == {None}
    assert {cell["reason"] for cell in cells} == {"no training patient is labelled"}
    assert metrics(folder)["steps"]["mask"]["note"] == "no score of validation patients"


def test_enhancement_is_a_task_with_pictures_of_its_own(run: Run) -> None:
    task = "{kind: enhancement, organ: breast, tuning: {steps: 2, batch: 2, evaluations: 1}}"
    folder = run(f"tasks.mask.task={task}", "budgets=[2]", "arms=[random_init,federated]")
    assert {cell["value"] is None for cell in metrics(folder)["cells"]} == {False}
    assert "undegraded" in (folder / "report.html").read_text()


def test_another_configuration_does_not_go_on_with_a_study(run: Run) -> None:
    run("budgets=[2]", "arms=[random_init]")
    with pytest.raises(CheckpointError, match="differs from this configuration"):
        run("budgets=[2]", "arms=[random_init]", "seed=1", resume=True)


def test_a_task_file_that_changed_does_not_go_on_with_a_study(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(SEGMENTATION))
    given = (f"tasks.mask.task={path}", "budgets=[2]", "arms=[random_init]")
    run(*given)
    path.write_text(yaml.safe_dump({**SEGMENTATION, "tuning": {**SEGMENTATION["tuning"], "steps": 4}}))
    with pytest.raises(CheckpointError, match=r"mask\.yaml differs from what is given now"):
        run(*given, resume=True)


def test_encoders_that_changed_do_not_go_on_with_a_study(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    shape = EncoderConfig(size="custom", width=16, depth=1, heads=2, patch=4, side=16, channels=1)
    for seed in (1, 2):
        save_tensors(path, state_of(build_encoder(shape, seed=seed)),
                     meta={"schema_version": 1, "encoder": asdict(shape), "sha256": ""})  # fmt: skip
        if seed == 1:
            run("budgets=[2]", "arms=[random_init]", f"public.mine={path}")
    with pytest.raises(CheckpointError, match=r"other encoders \(public:mine\)"):
        run("budgets=[2]", "arms=[random_init]", f"public.mine={path}", resume=True)


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


@pytest.mark.parametrize("name", ["pretraining.run=/nowhere/run", "pretraining.config=/nowhere/file.yaml"])
def test_a_pretraining_that_is_not_there_is_refused_before_a_folder_is_made(
    name: str, study_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        run_study(path=study_file, overrides=[name], console=Console(quiet=True))
    assert not (tmp_path / "runs").exists()


def test_encoders_of_other_images_are_refused(run: Run, tiny_manifest: Path, tiny_cache: Path) -> None:
    with pytest.raises(ConfigError, match="was made from other images"):
        run(f"data.manifest={tiny_manifest}", f"data.cache={tiny_cache}")


def test_an_arm_that_the_pretraining_lacks_is_refused(run: Run, pretrained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pretrained, copy)
    shutil.rmtree(copy / "arms" / "seed-1" / "federated")
    with pytest.raises(ConfigError, match=r"seed-1/federated: the pretraining has no such arm"):
        run(f"pretraining.run={copy}")


def test_the_digest_that_an_encoder_must_have_is_compared(run: Run, pretrained: Path, tmp_path: Path) -> None:
    wrong = "{federated/seed-0: " + "0" * 64 + "}"
    with pytest.raises(ConfigError, match=r"encoder federated/seed-0 has SHA-256 [0-9a-f]{64}, pretraining.digests"):
        run(f"pretraining.digests={wrong}")
    unknown = "{fedrated/seed-0: " + "0" * 64 + "}"
    with pytest.raises(ConfigError, match="there is no encoder 'fedrated/seed-0'"):
        run(f"pretraining.digests={unknown}", overwrite=True)


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
