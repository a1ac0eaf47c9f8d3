"""A fine-tuned model comes back from its file as it was; anything else is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.labelled import Labelled
from core.errors import CheckpointError
from core.evaluation.downstream import predict
from core.federation.tensors import digest_of, state_of
from core.files import load_tensors, save_tensors
from core.models.encoder import Encoder, PlainConfig
from core.training.fit import fit
from core.training.fitted import SCHEMA_VERSION, Fitted, load_fitted, save_fitted
from core.training.task import Task

Squares = Callable[..., Labelled]
Make = Callable[..., Task]


def fitted_of(encoder: Encoder, squares: Squares, task: Task) -> Fitted:
    return fit(encoder, squares("a"), squares("v", seed=1), task=task, seed=5, steps=2)


@pytest.mark.parametrize("kind", ["segmentation", "classification", "enhancement"])
def test_everything_comes_back(squares: Squares, task: Make, small_encoder: Encoder, tmp_path: Path, kind: str) -> None:
    fitted = fitted_of(small_encoder, squares, task(kind))
    save_fitted(tmp_path / "f", fitted)
    loaded = load_fitted(tmp_path / "f")
    for name in Fitted.__dataclass_fields__:
        if name != "model":
            assert getattr(loaded, name) == getattr(fitted, name)
    assert loaded.start == digest_of(state_of(small_encoder))
    images = squares("t", seed=2).images_NSS
    made = [predict(one.model, images, task=one.task) for one in (fitted, loaded)]
    assert np.array_equal(made[0], made[1])


def test_a_model_from_a_plain_vision_transformer_comes_back(squares: Squares, task: Make, tmp_path: Path) -> None:
    encoder = Encoder(PlainConfig(size="custom", width=16, depth=1, heads=2, patch=4, side=16, layer_scale=0.0))
    fitted = fitted_of(encoder, squares, task())
    save_fitted(tmp_path / "f", fitted)
    loaded = load_fitted(tmp_path / "f")
    assert loaded.model.encoder.config == encoder.config
    assert digest_of(state_of(loaded.model)) == digest_of(state_of(fitted.model))


def test_without_validation_there_is_no_score(
    squares: Squares, task: Make, small_encoder: Encoder, tmp_path: Path
) -> None:
    fitted = fit(small_encoder, squares("a"), squares("v").of([]), task=task(), seed=5, steps=2)
    save_fitted(tmp_path / "f", fitted)
    assert load_fitted(tmp_path / "f").validation is None


def test_a_file_that_is_not_one_is_refused(
    squares: Squares, task: Make, small_encoder: Encoder, tmp_path: Path
) -> None:
    path, other = tmp_path / "f", tmp_path / "other"
    save_fitted(path, fitted_of(small_encoder, squares, task()))
    tensors, meta = load_tensors(path, schema=SCHEMA_VERSION)
    huge = {**meta["encoder"], "width": 10**6, "heads": 1}
    name = "encoder.norm.weight"

    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        (tensors, {**meta, "task": None}, "no fine-tuned model"),
        (tensors, {**meta, "curve": None}, "no fine-tuned model"),
        (tensors, {**meta, "task": {**meta["task"], "kind": "magic", "colour": 3}}, "unknown key colour"),
        (tensors, {**meta, "task": {**meta["task"], "kind": "magic"}}, "kind must be one of"),
        (tensors, {**meta, "threshold": "high"}, "no fine-tuned model"),
        (tensors, {**meta, "threshold": 2.0}, r"threshold 2.0 does not lie in \(0, 1\)"),
        (tensors, {**meta, "encoder": huge}, "weights are not those of its encoder section"),
        (tensors, {**meta, "encoder": {**meta["encoder"], "depth": 10**6}}, "weights are not those of its encoder"),
        (tensors, {**meta, "encoder": {**meta["encoder"], "side": 4 * 10**4}}, "weights are not those of its encoder"),
        (tensors, {**meta, "encoder": {**meta["encoder"], "patch": 10**6, "side": 4 * 10**6}}, "weights are not those"),
        ({k: v for k, v in tensors.items() if k != "head.layers.0.bias"}, meta, "1 tensors are missing"),
        ({**tensors, "head.layers.9.bias": tensors[name]}, meta, "1 tensors are not in the plan"),
        ({**tensors, "head.layers.0.bias": tensors[name][:3]}, meta, r"head.layers.0.bias has shape \(3,\)"),
    ]
    for weights, document, reason in cases:
        save_tensors(other, weights, meta=document)
        with pytest.raises(CheckpointError, match=reason) as caught:
            load_fitted(other)
        assert str(other) in str(caught.value)
    other.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_fitted(other)
