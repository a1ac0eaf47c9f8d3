"""The training step: repeatable, resumable bit for bit, and stopped by what is not finite."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.manifest import Manifest, write_manifest
from core.errors import ConfigError, TrainingError
from core.federation.tensors import digest_of, load_state, state_of
from core.files import load_tensors
from core.training.pretrain import Pretraining, load_moments, moments_of
from core.training.settings import learning_rate_at
from core.training.source import Source

ROOT = Path(__file__).parents[3]
Make = Callable[..., Pretraining]


def test_the_same_steps_give_the_same_bits(pretraining: Make, source: Source) -> None:
    one, other = pretraining(), pretraining()
    before = digest_of(state_of(one.model))
    one.run(source, first=0, steps=3)
    other.run(source, first=0, steps=3)
    assert digest_of(state_of(one.model)) == digest_of(state_of(other.model)) != before


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weights_and_moments_carried_over_go_on_as_if_never_stopped(
    pretraining: Make, source: Source, optimizer: str
) -> None:
    whole, first, second = (pretraining(optimizer=optimizer) for _ in range(3))
    whole.run(source, first=0, steps=5)
    first.run(source, first=0, steps=2)
    second.run(source, first=6, steps=1)  # leaves weights and moments behind that must not matter
    load_state(second.model, state_of(first.model))
    load_moments(second.model, second.optimizer, moments_of(first.model, first.optimizer))
    second.run(source, first=2, steps=3)
    assert digest_of(state_of(second.model)) == digest_of(state_of(whole.model))
    assert digest_of(moments_of(second.model, second.optimizer)) == digest_of(moments_of(whole.model, whole.optimizer))


def test_moments_left_behind_would_change_the_bits(pretraining: Make, source: Source) -> None:
    whole, cut = pretraining(), pretraining()
    whole.run(source, first=0, steps=4)
    cut.run(source, first=0, steps=2)
    load_moments(cut.model, cut.optimizer, {})
    assert moments_of(cut.model, cut.optimizer) == {}
    cut.run(source, first=2, steps=2)
    assert digest_of(state_of(cut.model)) != digest_of(state_of(whole.model))


def test_moments_are_copies_of_the_optimizers_state_in_its_shapes(pretraining: Make, source: Source) -> None:
    training = pretraining()
    assert moments_of(training.model, training.optimizer) == {}
    training.run(source, first=0, steps=2)
    moments = moments_of(training.model, training.optimizer)
    names = {name for name, _ in training.model.named_parameters()}
    assert set(moments) == {f"{name}/{slot}" for name in names for slot in ("step", "exp_avg", "exp_avg_sq")}
    assert {float(value) for name, value in moments.items() if name.endswith("/step")} == {2.0}
    before = digest_of(moments)
    training.run(source, first=2, steps=1)
    assert digest_of(moments) == before


def test_accumulation_is_the_same_step_up_to_rounding(pretraining: Make, source: Source) -> None:
    whole, parts = pretraining(optimizer="sgd"), pretraining(optimizer="sgd", accumulate=4)
    expected, found = whole.run(source, first=0, steps=2), parts.run(source, first=0, steps=2)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    for name, value in state_of(whole.model).items():
        np.testing.assert_allclose(state_of(parts.model)[name], value, atol=1e-6)


def test_an_sgd_step_is_the_rate_times_the_clipped_gradient(pretraining: Make, source: Source) -> None:
    training = pretraining(optimizer="sgd", weight_decay=0.0, learning_rate=0.5, clip_norm=0.05)
    before = state_of(training.model)
    training.run(source, first=0, steps=1)
    moved = sum(
        float(((before[n] - value).astype(np.float64) ** 2).sum()) for n, value in state_of(training.model).items()
    )
    rate = learning_rate_at(0, total=8, config=training.config)
    assert moved**0.5 == pytest.approx(rate * 0.05, rel=1e-4)


def test_only_matrices_decay(pretraining: Make) -> None:
    training = pretraining(weight_decay=0.5)
    decayed = {id(p) for group in training.optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    names = {name: id(p) in decayed for name, p in training.model.named_parameters()}
    assert names == {name: p.ndim > 1 for name, p in training.model.named_parameters()}
    assert len(set(names.values())) == 2


def test_the_rate_follows_the_schedule_of_the_whole_study(pretraining: Make, source: Source) -> None:
    training = pretraining()
    training.run(source, first=6, steps=1)
    expected = learning_rate_at(6, total=8, config=training.config)
    assert [group["lr"] for group in training.optimizer.param_groups] == [expected, expected]


def test_each_step_is_told_and_summed_up(pretraining: Make, source: Source) -> None:
    told: list[tuple[int, float, int]] = []
    summary = pretraining().run(source, first=3, steps=2, on_step=lambda *step: told.append(step))
    assert [(step, images) for step, _, images in told] == [(3, 4), (4, 4)]
    assert summary.loss == pytest.approx((told[0][1] + told[1][1]) / 2)
    assert summary.loss == pytest.approx(summary.spatial + 0.1 * summary.frequency, rel=1e-5)
    assert summary.images == 8
    assert summary.seconds > 0


def test_training_lowers_the_loss(pretraining: Make, source: Source) -> None:
    training = pretraining(learning_rate=3e-3, batch=8)
    losses: list[float] = []
    training.total_steps = 60
    training.run(source, first=0, steps=60, on_step=lambda step, loss, images: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


def test_a_loss_that_is_not_finite_stops_before_anything_moves(pretraining: Make, source: Source) -> None:
    training = pretraining()
    training.run(source, first=0, steps=1)
    with torch.no_grad():
        training.model.encoder.norm.bias[0] = torch.nan
    before = digest_of(state_of(training.model))
    sentence = "north, round 4: the loss is nan .* at step 1; the last good state is that of step 1"
    with pytest.raises(TrainingError, match=sentence):
        training.run(source, first=1, steps=3, where="north, round 4")
    assert digest_of(state_of(training.model)) == before


def test_a_gradient_that_is_not_finite_stops_before_anything_moves(pretraining: Make, source: Source) -> None:
    training = pretraining()
    training.model.encoder.norm.weight.register_hook(lambda gradient: gradient * torch.inf)
    before = digest_of(state_of(training.model))
    with pytest.raises(TrainingError, match=r"pool: the loss is [0-9.]+ and its gradient's norm (nan|inf) at step 0"):
        training.run(source, first=0, steps=1)
    assert digest_of(state_of(training.model)) == before


def test_half_precision_trains_float32_weights(pretraining: Make, source: Source) -> None:
    training = pretraining(precision="bf16-mixed")
    summary = training.run(source, first=0, steps=2)
    assert np.isfinite(summary.loss)
    assert {p.dtype for p in training.model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_of_one_hospital_train_as_one(accumulate: int, manifest: Manifest, tmp_path: Path) -> None:
    """Fabric starts the second process (DDP over gloo); each step's gradient is clipped, so its norm is shared too."""
    write_manifest([record for record in manifest.records if record.organ != "kidney"], tmp_path / "manifest.csv")
    for devices, parts in ((1, 1), (2, accumulate)):
        command = [sys.executable, str(Path(__file__).with_name("two_processes.py")), tmp_path, devices, parts]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    one, said = load_tensors(tmp_path / "1-1.safetensors", schema=1)
    two, also = load_tensors(tmp_path / f"2-{accumulate}.safetensors", schema=1)
    assert said == pytest.approx(also, rel=1e-5)
    assert said["images"] == 5 * 8  # steps, batch: both processes together
    assert sorted(one) == sorted(two)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's own tracer asks every tensor for it
def test_compiled_steps_are_eager_steps_up_to_rounding(pretraining: Make, source: Source) -> None:
    eager, compiled = pretraining(), pretraining(compile=True)
    assert eager.run(source, first=0, steps=3).loss == pytest.approx(
        compiled.run(source, first=0, steps=3).loss, abs=1e-5
    )
    ours, theirs = state_of(eager.model), state_of(compiled.model)
    assert sorted(ours) == sorted(theirs)
    assert max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) < 1e-4


def test_compiling_without_a_compiler_names_the_remedy(pretraining: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"install g\+\+, or leave training.compile=false"):
        pretraining(compile=True, accelerator="cpu")
