"""The arms of the comparison: nothing, each hospital alone, two federations, the pooled images.

R rounds of H steps at batch B on K hospitals stand against: a hospital alone, R H steps at B; pooled, R H steps at K B
(`centralized_wide`) and K R H steps at B (`centralized_long`), so that the reference has as many images or as many
steps, whichever serves it better.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from core.data.sampling import OrganSampler
from core.evaluation.arms import LOCAL
from core.federation.organs import target_mix
from core.federation.plan import Plan
from core.federation.tensors import Tensors, load_state, state_of
from core.models.build import build_model
from core.training.pretrain import Pretraining
from core.training.settings import TrainingConfig
from core.training.source import Source
from server.state import Store
from server.study import StudyConfig, make_plan, study_to_json
from simulations.arm_training import Rounds, in_segments, of_federation
from simulations.backends import federate
from simulations.config import SimulationConfig
from simulations.deadline import Deadline
from simulations.display import Display
from simulations.prepare import Prepared, node_configs
from simulations.results import Trained
from simulations.warm_start import check_start, start_file, start_of

SNAPSHOTS = 100
"""An arm without a federation is saved about so often, and at most once for each of the federation's rounds."""


def study_of(config: SimulationConfig, *, weighting: str, seed: int | None = None) -> StudyConfig:
    """What the consortium of one federated arm decides; `seed` is the training seed, the run's first by default."""
    return StudyConfig(
        name=f"{config.name}-{weighting}",
        seed=config.training_seeds[0] if seed is None else seed,
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
    """The organ-aware federation's plan: organs and mix of every arm but FedAvg, and the training seed of all."""
    display: Display
    folder: Path
    """The run's folder; `sites/<hospital>/manifest.csv` stand below it."""
    reinstate: tuple[str, ...] = ()
    """Hospitals whose quarantine a person has lifted."""
    deadline: Deadline = field(default_factory=Deadline)
    start: Tensors | None = None
    """What arms start from; None is random weights by the training seed."""

    @property
    def seed(self) -> int:
        """The training seed of this bench's arms."""
        return self.plan.seed

    @property
    def arms(self) -> Path:
        """Where each arm of this seed has its folder."""
        return self.folder / "arms" / f"seed-{self.seed}"

    def names(self) -> Iterator[str]:
        """The arms that the configuration asks for, in the order of training; the hospitals' come first."""
        wanted = self.config.arms
        if self.seed in self.config.initial_seeds:
            wanted = [arm for arm in wanted if arm == "random_init"]
        if "random_init" in wanted:
            yield "random_init"
        if "local" in wanted:
            yield from (f"{LOCAL}{site}" for site in sorted(self.prepared.hospitals))
        yield from (arm for arm in ("fedavg", "federated") if arm in wanted)
        if "centralized" in wanted:
            yield from ("centralized_wide", "centralized_long")

    def train(self, name: str) -> Trained:
        """Train one arm of `names`, going on from what its folder holds."""
        folder = self.arms / name
        if name.startswith(LOCAL):
            return self.alone(name.removeprefix(LOCAL), folder)
        if name in ("fedavg", "federated"):
            return self.federated(folder, weighting="organ_aware" if name == "federated" else name)
        if name in ("centralized_wide", "centralized_long"):
            return self.pooled(folder, wide=name == "centralized_wide")
        return self.random_init()

    def random_init(self) -> Trained:
        """The model before any training."""
        return Trained(model=state_of(build_model(self.plan.encoder, self.plan.objective, seed=self.plan.seed)))

    def federated(self, folder: Path, *, weighting: str) -> Trained:
        """A federation of the real `ClientApp` and `ServerApp` over the configured backend."""
        study = study_of(self.config, weighting=weighting, seed=self.seed)
        config = self.config.federation
        steps = config.local_steps * len(self.prepared.hospitals)
        label = "federated" if weighting == "organ_aware" else weighting
        store = Store(folder / "server")
        with self.display.arm(self._label(label), steps=config.rounds * steps) as progress:
            watcher = Rounds(progress, total=config.rounds, steps=steps, deadline=self.deadline)
            federate(
                self.config.sim,
                nodes=node_configs(
                    self.config, self.prepared, manifests=self.folder / "sites", folder=folder / "sites"
                ),
                run_config={
                    "study": json.dumps(study_to_json(study)),
                    "folder": str(store.folder),
                    "reinstate": ",".join(self.reinstate),
                    "start": str(start_file(self.config.warm_start) or ""),
                },
                observer=watcher,
                on_step=lambda _site, _step, loss, images: progress.step(loss, images),
            )
        return of_federation(store, images=config.local_steps * self.config.training.batch)

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
            seed=self.seed,
            stream=stream,
        )

    def _train(self, folder: Path, source: Source, *, label: str, segment: int, batch: int) -> Trained:
        """Train in segments with a snapshot after each, so that a killed arm goes on from the last."""
        rounds = self.config.federation.rounds
        settings: TrainingConfig = replace(self.config.training, batch=batch)
        model = build_model(self.plan.encoder, self.plan.objective, seed=self.plan.seed)
        if self.start is not None:
            load_state(model, self.start)
        total = rounds * segment
        segment *= max(1, rounds // SNAPSHOTS)
        training = Pretraining(model, config=settings, total_steps=total)
        path = folder / "snapshot.safetensors"
        return in_segments(
            training,
            source,
            path=path,
            segment=segment,
            batch=batch,
            display=self.display,
            shown=self._label(label),
            deadline=self.deadline,
            label=label,
            where=f"{label}; resume from {path}",
        )

    def _label(self, label: str) -> str:
        """An arm's name for the display: with its seed where there are several."""
        return f"{label}, seed {self.seed}" if len(self.config.training_seeds) > 1 else label


def plan_of(
    config: SimulationConfig, prepared: Prepared, *, seed: int | None = None, start: Tensors | None = None
) -> Plan:
    """The organ-aware federation's plan, made before any training so that every arm uses its organs and mix."""
    counts = {site: {o: n for o, n in held.items() if n} for site, held in prepared.case_mix.items()}
    return make_plan(study_of(config, weighting="organ_aware", seed=seed), counts, start=start)[0]


def benches_of(
    config: SimulationConfig,
    prepared: Prepared,
    *,
    display: Display,
    folder: Path,
    reinstate: tuple[str, ...],
    deadline: Deadline,
) -> list[Bench]:
    """One bench a training seed, then one for each further random start; they differ in the plan's seed alone."""
    check_start(config)
    start = start_of(config.warm_start)
    return [
        Bench(
            config=config,
            prepared=prepared,
            plan=plan_of(config, prepared, seed=seed, start=start),
            start=start,
            display=display,
            folder=folder,
            reinstate=reinstate,
            deadline=deadline,
        )
        for seed in [*config.training_seeds, *config.initial_seeds]
    ]
