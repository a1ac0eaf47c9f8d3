"""The card beside a released encoder says what it saw, under which licences, and what it is not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.files import load_tensors

Make = Callable[..., Any]


def test_the_card_belongs_to_the_file_beside_it(whole_run: Path) -> None:
    card = (whole_run / "encoder.md").read_text()
    _, document = load_tensors(whole_run / "encoder.safetensors", schema=1)
    metrics = json.loads((whole_run / "metrics.json").read_text())
    assert document["sha256"] in card
    assert metrics["plan"] in card
    assert "width 16, 1 blocks, 2 heads, patch 4" in card


def test_the_card_states_organs_licences_privacy_and_limits(whole_run: Path) -> None:
    card = (whole_run / "encoder.md").read_text()
    metrics = json.loads((whole_run / "metrics.json").read_text())
    for organ, share in metrics["mix"].items():
        assert any(line.startswith(f"| {organ} |") and f"{share:.3f}" in line for line in card.splitlines())
    assert "| not stated |" in card
    assert "No differential privacy" in card
    assert "Not a medical device" in card
    for limit in metrics["limits"]:
        assert limit in card


def test_the_card_compares_with_random_weights_only_where_that_arm_was_run(
    whole_run: Path, simulator: Callable[..., Any], tmp_path: Path
) -> None:
    metrics = json.loads((whole_run / "metrics.json").read_text())
    start = metrics["arms"]["random_init"]["held_out_loss"]["overall"]
    assert f"(random weights: {start:.4f})" in (whole_run / "encoder.md").read_text()
    assert simulator("name=r").exit_code == 0
    assert "random weights:" not in (tmp_path / "runs" / "r" / "encoder.md").read_text()
