"""The arms of the comparison: nothing, each hospital alone, two federations, the pooled images.

R rounds of H steps at batch B on K hospitals stand against: a hospital alone, R H steps at B; pooled, R H steps at K B
(`centralized_wide`) and K R H steps at B (`centralized_long`), so that the reference has as many images or as many
steps, whichever serves it better.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.data.sampling import OrganSampler
from core.federation.organs import target_mix
from core.federation.plan import Plan, plan_from
from core.federation.tensors import state_of
from core.models.build import build_model
from core.training.pretrain import Pretraining
from core.training.settings import TrainingConfig
from core.training.snapshot import load_snapshot, save_snapshot
from core.training.source import Source
from server.state import ServerState, Store
from server.study import StudyConfig, make_plan, study_to_json
from simulations.backends import federate
from simulations.config import SimulationConfig
from simulations.display import ArmProgress, Display
from simulations.prepare import Prepared, node_configs
from simulations.results import Curve, Trained


def study_of(config: SimulationConfig, *, weighting: str) -> StudyConfig:
    """What the consortium of one federated arm decides."""
    return StudyConfig(
        name=f"{config.name}-{weighting}",
        seed=config.seed,
        encoder=config.encoder,
        objective=config.objective,
        augmentation=config.augmentation,
        training=config.training,
        federation=config.federation,
        weighting=weighting,
    )


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every arm works with."""

    config: SimulationConfig
    prepared: Prepared
    plan: Plan
    """The organ-aware federation's plan: organs and mix of every arm but FedAvg."""
    display: Display
    folder: Path
    """The run's folder; `sites/<hospital>/manifest.csv` stand below it."""
    reinstate: tuple[str, ...] = ()
    """Hospitals whose quarantine a person has lifted."""

    def random_init(self) -> Trained:
        """The model before any training."""
        return Trained(model=state_of(build_model(self.plan.encoder, self.plan.objective, seed=self.plan.seed)))

    def federated(self, folder: Path, *, weighting: str) -> Trained:
        """A federation of the real `ClientApp` and `ServerApp` over the configured backend."""
        study = study_of(self.config, weighting=weighting)
        config = self.config.federation
        steps = config.local_steps * len(self.prepared.hospitals)
        label = "federated" if weighting == "organ_aware" else weighting
        store = Store(folder / "server")
        with self.display.arm(label, steps=config.rounds * steps) as progress:
            federate(
                self.config.sim,
                nodes=node_configs(
                    self.config, self.prepared, manifests=self.folder / "sites", folder=folder / "sites"
                ),
                run_config={
                    "study": json.dumps(study_to_json(study)),
                    "folder": str(store.folder),
                    "reinstate": ",".join(self.reinstate),
                },
                observer=_Rounds(progress, total=config.rounds, steps=steps),
                on_step=lambda _site, _step, loss, images: progress.step(loss, images),
            )
        plan = plan_from((store.folder / "plan.json").read_text())
        state = store.load(plan_digest=plan.digest)
        assert state is not None
        receipts = store.receipts()
        taken = config.local_steps * self.config.training.batch
        images = taken * sum(len(line["contributors"]) for line in receipts)
        return Trained(model=state.model, images=images, seconds=state.seconds, curve=_curve(receipts, images=taken))

    def alone(self, site: str, folder: Path) -> Trained:
        """One hospital without the others: R H steps at B, organs by the mix of its own patients."""
        patients = set(self.prepared.hospitals[site])
        held = {o: n for o, n in self.prepared.case_mix[site].items() if o in self.plan.mix and n}
        mix = target_mix(held, tau=self.config.federation.tau)
        steps = self.config.federation.local_steps
        source = self._source(patients, mix, stream=site)
        return self._train(folder, source, label=f"{site} alone", segment=steps, batch=self.config.training.batch)

    def pooled(self, folder: Path, *, wide: bool) -> Trained:
        """All training images in one place, with as many images as the federation: K times the batch or the steps."""
        hospitals = len(self.prepared.hospitals)
        patients = {patient for held in self.prepared.hospitals.values() for patient in held}
        steps, batch = self.config.federation.local_steps, self.config.training.batch
        label = "centralized_wide" if wide else "centralized_long"
        source = self._source(patients, self.plan.mix, stream=label)
        if wide:
            return self._train(folder, source, label=label, segment=steps, batch=batch * hospitals)
        return self._train(folder, source, label=label, segment=steps * hospitals, batch=batch)

    def _source(self, patients: set[str], mix: Mapping[str, float], *, stream: str) -> Source:
        rows = [row for row in self.prepared.rows("train") if self.prepared.manifest.records[row].patient in patients]
        return Source(
            cache=self.prepared.cache,
            rows_N=np.asarray(rows, dtype=np.int64),
            sampler=OrganSampler([self.prepared.manifest.records[row] for row in rows], mix),
            augmentation=self.config.augmentation,
            side=self.config.encoder.side,
            seed=self.config.seed,
            stream=stream,
        )

    def _train(self, folder: Path, source: Source, *, label: str, segment: int, batch: int) -> Trained:
        """Train in R segments with a snapshot after each, so that a killed arm goes on from the last."""
        rounds = self.config.federation.rounds
        settings: TrainingConfig = replace(self.config.training, batch=batch)
        model = build_model(self.plan.encoder, self.plan.objective, seed=self.plan.seed)
        training = Pretraining(model, config=settings, total_steps=rounds * segment)
        path = folder / "snapshot.safetensors"
        step, curve, seconds = _resume(path, training)
        with self.display.arm(label, steps=rounds * segment, done=step) as progress:
            while step < rounds * segment:
                note = f"{label}; resume from {path}"
                summary = training.run(
                    source, first=step, steps=segment, on_step=lambda _s, loss, n: progress.step(loss, n), where=note
                )
                step += segment
                seconds += summary.seconds
                curve.append((step * batch, summary.loss))
                save_snapshot(path, training, step=step, extra={"curve": curve, "seconds": seconds})
        return Trained(model=state_of(model), images=step * batch, seconds=seconds, curve=curve)


class _Rounds:
    """Hands closed rounds to the display."""

    def __init__(self, progress: ArmProgress, *, total: int, steps: int) -> None:
        self._progress = progress
        self._total = total
        self._steps = steps

    def phase(self, name: str, number: int) -> None:
        """A round begins: the steps of those before it are behind, taken in this process or an earlier one."""
        if name == "asked":
            self._progress.at(number * self._steps)

    def closed(self, state: ServerState) -> None:
        """One more round."""
        self._progress.round(state, self._total)


def plan_of(config: SimulationConfig, prepared: Prepared) -> Plan:
    """The organ-aware federation's plan, made before any training so that every arm uses its organs and mix."""
    counts = {site: {o: n for o, n in held.items() if n} for site, held in prepared.case_mix.items()}
    return make_plan(study_of(config, weighting="organ_aware"), counts)[0]


def _curve(receipts: list[dict[str, Any]], *, images: int) -> Curve:
    """Each round's mean loss by the weights of the sites that reported one; an update took `images` images."""
    curve: Curve = []
    seen = 0
    for line in receipts:
        entries = line["contributors"].values()
        seen += images * len(entries)
        told = [(entry["weight"], entry["metrics"]["loss"]) for entry in entries if "loss" in entry["metrics"]]
        if told:
            curve.append((seen, sum(weight * loss for weight, loss in told) / sum(weight for weight, _ in told)))
    return curve


def _resume(path: Path, training: Pretraining) -> tuple[int, Curve, float]:
    if not path.exists():
        return 0, [], 0.0
    step, meta = load_snapshot(path, training)
    return step, [(int(images), float(loss)) for images, loss in meta["curve"]], float(meta["seconds"])
