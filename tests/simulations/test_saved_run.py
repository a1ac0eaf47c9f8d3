"""Reading finished runs back, from folders that may be anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import CheckpointError, ConfigError
from simulations.saved_run import flat, read_run, read_runs, versions_of

Saved = Callable[..., Path]


def test_a_run_is_found_by_its_folder_and_by_its_document(saved: Saved) -> None:
    folder = saved("one", "federation.tau=0.25")
    assert read_run(folder) == read_run(folder / "metrics.json")
    settings = read_run(folder).settings
    assert settings is not None
    assert settings["federation.tau"] == 0.25


def test_a_run_that_trained_is_read_with_its_torch(whole_run: Path) -> None:
    run = read_run(whole_run)
    assert run.name == json.loads((whole_run / "metrics.json").read_text())["name"]
    assert set(versions_of(run)) == {"torch", "threads"}


def test_a_document_alone_has_numbers_but_no_settings(saved: Saved) -> None:
    folder = saved("one")
    (folder / "config.yaml").unlink()
    run = read_run(folder)
    assert run.settings is None
    assert versions_of(run) == {}


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x\n", "[1, 2]", "a: [", "\x00", "3"])
def test_a_configuration_that_no_run_wrote_is_refused(text: str, saved: Saved) -> None:
    folder = saved("one")
    (folder / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yaml: .*again"):
        read_run(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"environment": 3}', "{}"])
def test_a_damaged_plan_is_named(text: str, saved: Saved) -> None:
    folder = saved("one")
    plan = folder / "arms" / "seed-0" / "federated" / "server" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text(text)
    with pytest.raises(CheckpointError, match=r"plan\.json: cannot be read"):
        versions_of(read_run(folder))


def test_runs_of_one_name_are_refused_with_both_places(saved: Saved) -> None:
    one, other = saved("one"), saved("other")
    metrics: dict[str, Any] = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps({**metrics, "name": " one\n"}))
    with pytest.raises(ConfigError, match=f"{one} and {other} both hold a run called one; compare runs of different"):
        read_runs([one, other])


def test_no_run_and_a_missing_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run was given"):
        read_runs([])
    with pytest.raises(ConfigError, match="is not there; give the folder of a run that has ended"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match=r"metrics\.json is not there"):
        read_runs([tmp_path])


def test_a_configuration_is_flattened_and_an_empty_section_stays() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "skip": {}}) == {
        "a.b.c": 1,
        "a.d": [1, {"e": 2}],
        "skip": {},
    }
