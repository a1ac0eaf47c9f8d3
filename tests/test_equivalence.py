"""What the federation's weights are for, on the real pieces: it takes the step that the pooled data would have taken.

(a) Plain SGD, float64, one step on the expected gradient, each image with a mask seed of its own, no clip: every
hospital steps by the gradient of sum_i P_k(i) loss_i, with P_k(i) the chance that its sampler draws image i; the server
folds with the plan's weights. Since sum_k w[k] P_k(i) is the pooled sampler's P(i), the models are equal.
(b) One hospital, codec `exact`, FedAvg with rate 1: the federation is the hospital's own loop, bit for bit.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from client.app import client_app
from client.site import site_from
from core.data.augmentation import to_float
from core.data.cache import ImageCache, open_cache
from core.data.manifest import Manifest, Record
from core.data.sampling import OrganSampler
from core.federation.organs import effective_mix
from core.federation.plan import Plan, plan_from
from core.federation.tensors import digest_of, state_of
from core.models.build import build_model
from core.objectives.dual_mim import DualMIM
from core.seeding import derive
from core.training.pretrain import Pretraining
from core.training.settings import TrainingConfig
from server.app import server_app
from server.optimizer import ServerOptimizerConfig, step
from server.spool import Mean, Spool
from server.state import Store
from server.study import StudyConfig, make_plan, study_to_json
from simulations.grid import InProcessGrid, serve

RATE = 0.5
Real = dict[str, npt.NDArray[np.float64]]


class Float64:
    """Whole parameters in float64."""

    dtype: np.dtype[Any] = np.dtype(np.float64)
    carries = False

    def wire_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def encode(self, new: npt.NDArray[Any], base: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return new

    def decode(self, wire: npt.NDArray[Any], base: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return wire - base


def parameters(model: DualMIM) -> Real:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def double_model(plan: Plan, weights: Real | None = None) -> DualMIM:
    model = build_model(plan.encoder, plan.objective, seed=plan.seed).double()
    if weights is not None:
        model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    return model


def sgd_step(model: DualMIM, records: Sequence[Record], cache: ImageCache, shares: npt.NDArray[np.float64]) -> Real:
    """The parameters after one step on the expected gradient, sum_i shares[i] loss_i."""
    images = to_float(torch.from_numpy(np.ascontiguousarray(cache.images(np.arange(len(records))))), side=16).double()
    seeds = torch.tensor([derive(1, "mask", record.image.name) for record in records])
    losses = model(images, seeds_B=seeds).total_B
    assert losses.dtype == torch.float64
    (torch.from_numpy(shares) * losses).sum().backward()
    torch.optim.SGD(model.parameters(), lr=RATE).step()
    return parameters(model)


def federated_step(
    plan: Plan, manifest: Manifest, folder: Path, *, draws: dict[str, dict[str, float]], base: Real
) -> Real:
    """One round of the hospitals of the plan, folded and stepped by the server's own functions."""
    codec = Float64()
    with Spool() as spool:
        for site in plan.weights:
            own = manifest.select(lambda record, site=site: record.site == site)
            cache = open_cache(own, folder=folder, side=20)
            shares = OrganSampler(own.records, draws[site]).image_probabilities()
            new = sgd_step(double_model(plan, base), own.records, cache, shares)
            spool.add(site, {name: codec.encode(new[name], base[name]) for name in base})
        mean = dict(Mean(spool, weights=plan.weights, base=base, codec=codec))
    moved, _ = step(base, mean, {}, config=ServerOptimizerConfig())
    return moved


def pooled_step(plan: Plan, manifest: Manifest, folder: Path, *, mix: dict[str, float], base: Real) -> Real:
    cache = open_cache(manifest, folder=folder, side=20)
    shares = OrganSampler(manifest.records, mix).image_probabilities()
    return sgd_step(double_model(plan, base), manifest.records, cache, shares)


def largest_difference(one: Real, other: Real) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


VARIANTS = [
    {},
    {"tokens": "all"},
    {"corruption": "spatial", "spatial_loss_on": "all"},
    {"corruption": "frequency", "tokens": "all", "frequency_loss": "l1"},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=["visible", "all tokens", "spatial", "frequency"])
@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_the_federated_step_is_the_pooled_step(
    study: StudyConfig, manifest: Manifest, cache_folder: Path, variant: dict[str, Any], tau: float
) -> None:
    counts = {s: manifest.select(lambda r, s=s: r.site == s).patients_by_organ() for s in ("east", "north")}
    changed = replace(
        study, objective=replace(study.objective, **variant), federation=replace(study.federation, tau=tau)
    )
    plan, _ = make_plan(changed, counts)
    base = parameters(double_model(plan))
    for _ in range(2):  # from equal models to equal models, again
        federated = federated_step(plan, manifest, cache_folder, draws=plan.draws, base=base)
        pooled = pooled_step(plan, manifest, cache_folder, mix=plan.mix, base=base)
        assert largest_difference(pooled, base) > 1e-3
        assert largest_difference(federated, pooled) <= 1e-9
        base = federated


def test_uniform_sampling_with_equal_weights_would_not_be_the_pooled_step(
    plan: Plan, manifest: Manifest, cache_folder: Path
) -> None:
    # Each hospital by its own mix: the difference that the weights of section 5 remove is seen by this measure.
    base = parameters(double_model(plan))
    own = {site: {o: n / sum(held.values()) for o, n in held.items()} for site, held in plan.counts.items()}
    pooled = pooled_step(plan, manifest, cache_folder, mix=plan.mix, base=base)
    assert largest_difference(federated_step(plan, manifest, cache_folder, draws=own, base=base), pooled) > 1e-5


def test_a_missing_hospital_breaks_the_equality_by_what_the_effective_mix_says(
    plan: Plan, manifest: Manifest, cache_folder: Path
) -> None:
    # Alone, north's fold is a step on its own images with the mix of its draws, which is what its receipt records.
    base = parameters(double_model(plan))
    alone = replace(
        plan, weights={"north": 1.0}, draws={"north": plan.draws["north"]}, counts={"north": {}}, min_sites=1
    )
    mix = effective_mix(plan.weights, plan.draws, ["north"])
    own = manifest.select(lambda record: record.site == "north")
    expected = pooled_step(plan, own, cache_folder, mix=mix, base=base)
    found = federated_step(alone, manifest, cache_folder, draws=alone.draws, base=base)
    assert largest_difference(found, expected) <= 1e-9
    assert largest_difference(found, pooled_step(plan, manifest, cache_folder, mix=plan.mix, base=base)) > 1e-5


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_one_hospital_in_the_federation_is_its_own_loop_bit_for_bit(
    study: StudyConfig, node: Callable[..., dict[str, Any]], tmp_path: Path, optimizer: str
) -> None:
    changed = replace(study, training=replace(study.training, optimizer=optimizer))
    assert (changed.federation.codec, changed.federation.server.name, changed.federation.server.rate) == (
        "exact", "fedavg", 1.0
    )  # fmt: skip
    config = node("east")
    store = Store(tmp_path / "server")
    run_config = {"study": json.dumps(study_to_json(changed)), "folder": str(store.folder)}
    serve(server_app(), InProcessGrid(client_app(), [config]), run_config=run_config)
    plan = plan_from((store.folder / "plan.json").read_text())
    state = store.load(plan_digest=plan.digest)
    assert state is not None

    loop = Pretraining(
        build_model(plan.encoder, plan.objective, seed=plan.seed),
        config=TrainingConfig(**plan.training),
        total_steps=plan.rounds * plan.local_steps,
    )
    before = digest_of(state_of(loop.model))
    loop.run(site_from(config).source(plan), first=0, steps=plan.rounds * plan.local_steps)
    assert state.digest == digest_of(state_of(loop.model)) != before
    assert store.receipts()[-1]["model_hash"] == state.digest
