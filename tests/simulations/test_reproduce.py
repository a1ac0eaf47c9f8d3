"""The command that repeats a run."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from core import config as configuration
from core.errors import ConfigError
from simulations.config import SimulationConfig
from simulations.reproduce import SHIPPED, commands, described
from simulations.saved_run import read_run

Saved = Callable[..., Path]


def test_the_nearest_shipped_file_is_named_with_what_differs(saved: Saved) -> None:
    lines = commands(read_run(saved("one", "federation.rounds=3", "training.learning_rate=1.5e-3")), base=None)
    first = "python simulations/run.py --config configs/simulation/demo.yaml name=one"
    assert lines[0].startswith(first)
    assert set(shlex.split(lines[0])[4:]) == {"name=one", "federation.rounds=3", "training.learning_rate=0.0015"}
    assert lines[1] == f"{lines[0]} --resume"


@pytest.mark.parametrize(
    "override",
    [
        "arms=[federated]",
        "skip={north: [1, 2]}",
        "evaluation.tasks={new: {column: organ, classes: [heart, 'li ver']}}",
        "partition.mixes={a: {heart: 1}, b: {heart: 2}}",
        "name=007",
    ],
)
def test_the_command_resolves_to_the_very_configuration(override: str, saved: Saved) -> None:
    folder = saved("one", override)
    words = shlex.split(commands(read_run(folder), base=SHIPPED / "demo.yaml")[0])
    if words[3] == "config.yaml":  # a task or mix of the file cannot be taken away by an override
        assert override.startswith(("evaluation", "partition"))
        assert len(words) == 4
        return
    _, text = configuration.load(SimulationConfig, path=SHIPPED / "demo.yaml", overrides=words[4:])
    assert text == (folder / "config.yaml").read_text()


def test_folders_of_the_machine_are_not_told(saved: Saved) -> None:
    places = ("data.manifest=/secret/place/manifest.csv", "runs=/secret/runs", "data.cache=/secret/cache")
    (line, _) = commands(read_run(saved("one", *places)), base=None)
    assert "secret" not in line
    assert "data.manifest=PATH/manifest.csv" in line


def test_a_file_of_ones_own_is_named_by_its_name(saved: Saved, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text((SHIPPED / "demo.yaml").read_text())
    (line, _) = commands(read_run(saved("one")), base=own)
    assert line == "python simulations/run.py --config own.yaml name=one"


def test_a_key_of_another_version_leads_to_the_runs_own_file(saved: Saved) -> None:
    folder = saved("one")
    saved_text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(f"{saved_text}newer: 3\n")
    assert commands(read_run(folder), base=None)[0] == "python simulations/run.py --config config.yaml"


def test_without_settings_there_is_no_command_and_a_broken_base_is_an_error(saved: Saved, tmp_path: Path) -> None:
    folder = saved("one")
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        commands(read_run(folder), base=tmp_path / "gone.yaml")
    (folder / "config.yaml").unlink()
    assert commands(read_run(folder), base=None) == []


def test_a_setting_is_described_without_its_machine() -> None:
    assert described({"data.manifest": "/a/b/m.csv"}, "data.manifest") == "PATH/m.csv"
    assert described({"x": [1, "a"]}, "x") == '[1, "a"]'
    assert described({}, "x") == "–"
