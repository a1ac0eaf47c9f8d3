"""Scores of an arm: held-out loss of every patient, probes of its frozen encoder, and segmentation."""

from dataclasses import asdict
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from core.data.manifest import Record
from core.errors import DataError
from core.evaluation.finetune import finetune
from core.evaluation.held_out import HeldOut, features
from core.evaluation.masked import Masked, masked_images
from core.evaluation.pictures import Example
from core.evaluation.probes import Features, knn_probe, linear_probe
from core.evaluation.segmentation import frozen
from core.federation.tensors import Tensors, load_state
from core.models.build import build_model
from core.objectives.dual_mim import DualMIM
from simulations.arms import Bench
from simulations.config import SegmentationConfig, TaskConfig
from simulations.results import Scored, Trained, load_result, save_result

SPLITS = ("train", "validation", "test")


class Scorer:
    """Scores models of one run; the same images, masks and draws for every arm."""

    def __init__(self, bench: Bench) -> None:
        """Fix the held-out sets; raises DataError when nobody is held out, before anything was trained."""
        self._bench = bench
        organs = set(bench.plan.mix)
        self._rows = {split: tuple(self._of(split)) for split in SPLITS}
        held = {split: {self._record(row).organ for row in self._rows[split]} for split in SPLITS}
        if empty := [split for split in ("validation", "test") if not held[split] & organs]:
            raise DataError(
                f"no {' and no '.join(empty)} patient with an organ of the study ({', '.join(sorted(organs))}); "
                "raise data.test and data.validation, or fill the manifest's split column accordingly"
            )

    def score(self, model: Tensors) -> Scored:
        """Held-out losses on test and validation patients, and every task's probes and segmentation scores."""
        network = self._network(model)
        losses = {split: self._held_out(split).losses(network) for split in ("test", "validation")}
        evaluation = self._bench.config.evaluation
        tasks = {name: self._probes(network, task) for name, task in sorted(evaluation.tasks.items())}
        for name, segmentation in sorted(evaluation.segmentation.items()):
            tasks[name] = {**tasks.get(name, {}), **self._segmentation(network, name, segmentation)}
        return Scored(test=losses["test"], validation=losses["validation"], tasks=tasks)

    def examples(self, model: Tensors, *, arm: str) -> list[Example]:
        """One held-out image an organ, the first by patient, with its corruption and reconstruction."""
        network = self._network(model)
        chosen: dict[str, int] = {}
        for row in sorted(self._rows["test"], key=lambda row: self._record(row).patient):
            chosen.setdefault(self._record(row).organ, row)
        held = self._held_out("test")
        found = []
        for organ, row in sorted(chosen.items()):
            images = held.images([row]).to(next(network.parameters()).device)
            made = network.reconstruct(images, seeds_B=held.seeds([row], repeat=0))
            found.append(
                Example(
                    organ=organ,
                    arm=arm,
                    original=made.original[0].cpu().numpy(),
                    corrupted=made.corrupted[0].cpu().numpy(),
                    filtered=made.filtered[0].cpu().numpy(),
                    reconstructed=made.reconstructed[0].cpu().numpy(),
                    ring_mask=~made.stopped_BSF[0].cpu().numpy(),
                )
            )
        return found

    def _network(self, model: Tensors) -> DualMIM:
        plan = self._bench.plan
        network = build_model(plan.encoder, plan.objective, seed=plan.seed)
        load_state(network, model)
        accelerator = self._bench.config.training.accelerator
        return network.to(Fabric(accelerator=accelerator, devices=1).device)

    def _held_out(self, split: str) -> HeldOut:
        config, prepared = self._bench.config, self._bench.prepared
        return HeldOut(
            manifest=prepared.manifest,
            cache=prepared.cache,
            rows=self._rows[split],
            side=config.encoder.side,
            seed=config.seed,
            masks=config.evaluation.masks,
            batch=config.evaluation.batch,
        )

    def _probes(self, network: DualMIM, task: TaskConfig) -> dict[str, dict[str, Any]]:
        sets = [self._features(network, task, split) for split in SPLITS]
        seed = self._bench.config.seed
        return {"linear": asdict(linear_probe(*sets, seed=seed)), "knn": asdict(knn_probe(*sets, seed=seed))}

    def _segmentation(self, network: DualMIM, name: str, config: SegmentationConfig) -> dict[str, dict[str, Any]]:
        """Dice of the frozen encoder, and after fine-tuning on each budget."""
        train, validation, test = (self._masked(config, split) for split in SPLITS)
        seed, batch = self._bench.config.seed, self._bench.config.evaluation.batch
        scores = {"frozen": frozen(network.encoder, train, validation, test, seed=seed, batch=batch)}
        for budget in sorted(config.budgets):
            scores[f"finetune_{budget}"] = finetune(
                network.encoder, train, validation, test,
                config=config, budget=budget, task=name, seed=seed, batch=batch,
            )  # fmt: skip
        return {probe: asdict(score) for probe, score in scores.items()}

    def _masked(self, config: SegmentationConfig, split: str) -> Masked:
        rows = [row for row in self._of(split)
                if config.dataset in ("", self._record(row).dataset)
                and config.organ in ("", self._record(row).organ)]  # fmt: skip
        return masked_images(self._bench.prepared.manifest, self._bench.prepared.cache, rows)

    def _features(self, network: DualMIM, task: TaskConfig, split: str) -> Features:
        rows, labels = labelled(task, [(row, self._record(row)) for row in self._of(split)])
        config = self._bench.config
        values = features(
            network.encoder,
            self._bench.prepared.cache,
            rows,
            side=config.encoder.side,
            batch=config.evaluation.batch,
        )
        patients = np.array([self._record(row).patient for row in rows], dtype=np.str_)
        return Features(values_ND=values, labels_N=np.array(labels, dtype=np.int64), patients_N=patients)

    def _of(self, split: str) -> list[int]:
        """Rows of a part; in a search (`evaluation.on`) validation patients stand in for those of the test."""
        return self._bench.prepared.rows(self._bench.config.evaluation.on if split == "test" else split)

    def _record(self, row: int) -> Record:
        return self._bench.prepared.manifest.records[row]


def train_and_score(bench: Bench, name: str, scorer: Scorer) -> tuple[Trained, Scored]:
    """Train and score one arm and keep the result; a finished one stays as it is."""
    folder = bench.arms / name
    if (found := load_result(folder)) is not None:
        return found
    bench.deadline.check(f"the start of {name}")
    trained = bench.train(name)
    scored = scorer.score(trained.model)
    save_result(folder, trained, scored)
    return trained, scored


def labelled(task: TaskConfig, records: list[tuple[int, Record]]) -> tuple[list[int], list[int]]:
    """Rows of a task's images and their class numbers; an image of no class is left out."""
    number = {value: position for position, words in enumerate(task.classes) for value in words.split("|")}
    rows, labels = [], []
    for row, record in records:
        value = record.label if task.column == "label" else record.organ
        wanted = (not task.dataset or record.dataset == task.dataset) and (not task.organ or record.organ == task.organ)
        if wanted and value in number:
            rows.append(row)
            labels.append(number[value])
    return rows, labels
