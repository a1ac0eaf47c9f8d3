"""Reading metrics.json back: what is whole is taken, anything else is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import CheckpointError, ConfigError
from core.evaluation.document import read_metrics


def _written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "metrics.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_old_and_new_documents_are_read(metrics: dict[str, Any], grown: dict[str, Any], tmp_path: Path) -> None:
    for document in (metrics, grown):
        assert read_metrics(_written(tmp_path, document)) == document


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.json is not there; give the folder of a run that has ended"):
        read_metrics(tmp_path / "metrics.json")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"schema_version": NaN}', "[" * 100_000, '"\\ud800', "\x00"])
def test_what_is_no_document_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"metrics\.json: .*(again|version)"):
        read_metrics(_written(tmp_path, text))


def test_another_version_is_refused(metrics: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="schema version 2, this code reads 1; use the matching version"):
        read_metrics(_written(tmp_path, {**metrics, "schema_version": 2}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arms": []}, "the document.arms holds no names and values"),
        ({"arms": None}, "the document.arms is missing"),
        ({"name": 3}, "the document.name is no text"),
        ({"arms": {"a": None}}, "the document.arms.a holds no names and values"),
        ({"arms": {"a": {"held_out_loss": {"liver": "low"}}}}, "the document.arms.a.held_out_loss.liver is no number"),
        ({"arms": {"a": {"held_out_loss": {"liver": True}}}}, "liver is no number"),
        ({"arms": {"a": {"held_out_curve": [[1, 2], [3]]}}}, r"held_out_curve\[1\] is no pair of numbers"),
        ({"arms": {"a": {"tasks": {"t": {"linear": 1}}}}}, "tasks.t.linear holds no names and values"),
        ({"gap_closed": {"value": 1e999}}, "cannot be read|gap_closed.value is no number"),
        ({"by_seed": {"0": {"arms": {"a": 1}}}}, "by_seed.0.arms.a holds no names and values"),
        ({"comparisons": {"x": {"value": "0"}}}, "comparisons.x.value is no number"),
        ({"rarest": "liver"}, "rarest is no list"),
        ({"complete": 1}, "complete is neither true nor false"),
    ],
)
def test_a_field_of_another_kind_is_named(
    change: dict[str, Any], said: str, metrics: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_metrics(_written(tmp_path, {**metrics, **change}))


def test_a_number_beyond_all_bounds_is_none(metrics: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps({**metrics, "rounds": 12345}).replace("12345", "1" + "0" * 400)
    with pytest.raises(CheckpointError, match="rounds is no number"):
        read_metrics(_written(tmp_path, text))
