"""What a checkpoint is, and what of it is left out for which reason."""

from typing import Any

import pytest
import torch

from core.errors import CheckpointError
from core.models.checkpoint_layouts import find_encoder


def test_averaged_weights_are_taken_before_the_last_steps(layouts: Any) -> None:
    content = layouts.urfm()
    found = find_encoder(content, name="f")
    assert torch.equal(found.state["norm.weight"], content["ema_state_dict"]["norm.weight"])
    del content["ema_state_dict"]
    last = find_encoder(content, name="f")
    assert torch.equal(last.state["norm.weight"], content["state_dict"]["norm.weight"])
    assert last.layout == "mae"


def test_the_prefix_of_parallel_training_is_taken_off(layouts: Any) -> None:
    wrapped = {"model": {f"module.{key}": value for key, value in layouts.mae().items()}}
    assert set(find_encoder(wrapped, name="f").state) == set(find_encoder(layouts.mae(), name="f").state)


def test_equal_tables_in_all_blocks_become_one(layouts: Any) -> None:
    found = find_encoder(layouts.per_block(), name="f")
    shared = layouts.usfm()["rel_pos_bias.relative_position_bias_table"]
    assert torch.equal(found.state["rel_pos_bias.relative_position_bias_table"], shared)
    assert found.dropped["blocks.1.attn.relative_position_bias_table"].startswith("the same in every block")
    assert set(found.indices) == {f"blocks.{block}.attn.relative_position_index" for block in (0, 1)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state["blocks.1.attn.relative_position_bias_table"].add_(1), "blocks.1.* differ from blocks.0"),
        (lambda state: state.pop("blocks.1.attn.relative_position_bias_table"), "blocks.1.* beside tables in blocks"),
        (lambda state: state.update({"rel_pos_bias.relative_position_bias_table": torch.ones(28, 2)}), "shared table"),
    ],
)
def test_tables_that_are_not_alike_are_refused(layouts: Any, change: Any, reason: str) -> None:
    state = layouts.per_block()
    change(state)
    with pytest.raises(CheckpointError, match=f"one bias table for all blocks, but .*{reason}"):
        find_encoder(state, name="f")


def test_a_release_drops_nothing(layouts: Any) -> None:
    state = layouts.state() | {"mask_token": torch.ones(1)}
    found = find_encoder(state, name="f")
    assert found.dropped == {}
    assert "mask_token" in found.state


@pytest.mark.parametrize("value", [torch.ones(2).to_sparse(), torch.ones(2, device="meta"), 3, {"a": torch.ones(1)}])
def test_only_plain_tensors_are_taken(layouts: Any, value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"no plain tensors by name: \[\"'norm\.bias'\"\]"):
        find_encoder(layouts.usfm() | {"norm.bias": value}, name="f")
