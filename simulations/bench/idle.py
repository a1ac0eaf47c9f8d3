"""Rows on the simulator: what a client costs that does not train, against Flower's simulation on Ray.

Ours is the real server and the real clients with every check on: plan and base digests, admission, fold, state,
receipts, and the optimizer's moments on disk. Only the steps are left out. Flower's clients do no more than turn the
arrays into tensors and back.
"""

import json
import os
import statistics
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from client.app import client_app
from core.data.augmentation import AugmentationConfig
from core.data.manifest import Record, load_manifest, write_manifest
from core.federation.tensors import state_of
from core.models.build import build_model
from core.models.encoder import EncoderConfig
from core.objectives.dual_mim import ObjectiveConfig
from core.training.pretrain import OnStep, Pretraining, Summary
from core.training.settings import TrainingConfig
from core.training.source import Source
from server.app import Quiet, server_app
from server.state import ServerState
from server.study import FederationConfig, StudyConfig, study_to_json
from simulations.bench import flower
from simulations.bench.rows import Row, Settings, in_child
from simulations.bench.steps import training_source
from simulations.grid import NodeConfig, serve
from simulations.workers import WorkerGrid

SITES, ROUNDS = 10, 6


class Idle(Pretraining):
    """Takes no step, but leaves moments as large as AdamW's."""

    def run(
        self,
        source: Source,  # noqa: ARG002 -- the parent's signature, here and below
        *,
        first: int,  # noqa: ARG002
        steps: int,  # noqa: ARG002
        on_step: OnStep | None = None,  # noqa: ARG002
        where: str = "",  # noqa: ARG002
    ) -> Summary:
        """Nothing learnt."""
        for parameter in self.model.parameters():
            zero = torch.zeros_like(parameter)
            self.optimizer.state.setdefault(
                parameter, {"step": torch.tensor(1.0), "exp_avg": zero, "exp_avg_sq": zero.clone()}
            )
        return Summary(loss=0.0, spatial=0.0, frequency=0.0, images=0, seconds=0.0)


class Clock(Quiet):
    """Notes when each round closed."""

    def __init__(self) -> None:
        """Nothing closed yet."""
        self.ends: list[float] = []

    def closed(self, state: ServerState) -> None:  # noqa: ARG002 -- the protocol
        """Now."""
        self.ends.append(time.perf_counter())


IDLE_CLIENT = partial(client_app, kind=Idle)
"""The real client with nothing to train."""


def workers() -> int:
    """Processes: as many as Ray takes, one a core."""
    return os.cpu_count() or 1


def every_check(settings: Settings) -> Row:
    """A whole round, divided by its clients."""
    return _row(
        settings, "simulator", ours_name=f"our simulator, {workers()} workers, every check on", goal=2.0, whole=True
    )


def transport(settings: Settings) -> Row:
    """The messages alone."""
    return _row(
        settings, "transport", ours_name="our channel, wire and grid, the model there and back", goal=8.0, whole=False
    )


def _row(settings: Settings, name: str, *, ours_name: str, goal: float, whole: bool) -> Row:
    model = state_of(build_model(asdict(_encoder(settings)), {}, seed=0))
    sites, rounds = (2, 3) if settings.small else (SITES, ROUNDS)
    megabytes = sum(value.nbytes for value in model.values()) / 1e6
    row = Row(
        name=name,
        baseline_name=f"Flower on Ray, {'FedAvg of idle clients' if whole else 'the model there and back'}",
        ours_name=ours_name,
        goal=goal,
        unit="s/client",
        sizes=f"{sites} clients a round, a model of {megabytes:.1f} MB",
        threads=settings.threads,
    )
    if reason := flower.without_ray():
        return replace(row, skipped=reason)
    baseline, ours = [], []
    for turn in range(1 if settings.small else 2):
        baseline.append(in_child(flower.on_ray, model, sites=sites, rounds=rounds, whole=whole))
        if whole:
            folder = settings.folder / f"{name}-{turn}"
            ours.append(in_child(idle_study, settings, folder, sites=sites, rounds=rounds))
        else:
            ours.append(in_child(flower.in_process, model, sites=sites, rounds=rounds))
    return replace(row, baseline=statistics.median(baseline), ours=statistics.median(ours))


def idle_study(settings: Settings, folder: Path, *, sites: int, rounds: int) -> float:
    """Seconds a client of a study of ours, the median of the rounds after the first; run it in a child process."""
    torch.set_num_threads(settings.threads)
    study = StudyConfig(
        name="bench",
        seed=0,
        encoder=_encoder(settings),
        objective=ObjectiveConfig(),
        augmentation=AugmentationConfig(),
        training=TrainingConfig(accelerator="cpu"),
        federation=FederationConfig(rounds=rounds, local_steps=1, min_patients=1),
    )
    clock = Clock()
    run_config = {"study": json.dumps(study_to_json(study)), "folder": str(folder / "server")}
    nodes = _nodes(settings, folder, sites=sites)
    with WorkerGrid(nodes, workers=workers(), make_client=IDLE_CLIENT) as grid:
        serve(server_app(observer=clock), grid, run_config=run_config)
    return flower.seconds_of(clock.ends) / sites


def _nodes(settings: Settings, folder: Path, *, sites: int) -> list[NodeConfig]:
    """The phantom's images, dealt to the sites, each image a patient of its own."""
    training_source(settings)
    records = load_manifest(settings.folder / "phantom" / "manifest.csv").records
    nodes: list[NodeConfig] = []
    for number in range(sites):
        name = f"s{number:02d}"
        dealt: list[Record] = [replace(record, patient=f"{record.image.stem}") for record in records[number::sites]]
        own = folder / "sites" / name
        own.mkdir(parents=True)
        write_manifest(dealt, own / "manifest.csv")
        nodes.append(
            {
                "site": name,
                "manifest": str(own / "manifest.csv"),
                "folder": str(own),
                "cache": str(settings.folder / "cache"),
                "side": 72,
                "approval": "automatic",
            }
        )
    return nodes


def _encoder(settings: Settings) -> EncoderConfig:
    return EncoderConfig(width=24, depth=1) if settings.small else EncoderConfig()
