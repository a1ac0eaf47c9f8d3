"""A hospital as the federation sees it: its name, its data, its folder, what it allows."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from core.data.augmentation import AugmentationConfig
from core.data.cache import ImageCache, open_cache
from core.data.labelled import Labelled, labelled_images, labelled_rows
from core.data.manifest import Manifest, load_manifest
from core.data.sampling import OrganSampler
from core.errors import ConfigError, PlanError
from core.federation.plan import Plan, plan_from
from core.federation.task_section import planned_model, section_of, start_problems, task_to_json
from core.federation.tensors import Tensors
from core.files import load_tensors, save_tensors, write_text
from core.training.source import Source
from core.training.task import Task

START_SCHEMA = 1


@dataclass(frozen=True)
class Site:
    """One hospital, built from its node configuration (`site_from`).

    `approval` is `automatic` in a simulation, where one person plays everybody, and `listed` otherwise: then only a
    plan whose digest stands in `approved.json` runs, and only a task whose digest does is told how many have its label.
    """

    name: str
    manifest_path: Path
    folder: Path
    """Plan, optimizer state and approvals of one study at this site."""
    cache_folder: Path
    side: int
    """Pixels on a side of the cached images."""
    approval: str = "listed"
    skip: frozenset[int] = frozenset()
    """Rounds that the site sits out."""

    @cached_property
    def manifest(self) -> Manifest:
        """The hospital's images; read once."""
        return load_manifest(self.manifest_path)

    @cached_property
    def cache(self) -> ImageCache:
        """Pre-decoded images of the manifest; built at first use."""
        return open_cache(self.manifest, folder=self.cache_folder, side=self.side)

    def counts(self) -> dict[str, int]:
        """Patients by organ, as disclosed to the consortium."""
        return dict(sorted(self.manifest.patients_by_organ().items()))

    def labelled(self, task: Task) -> Labelled:
        """The images with a label of the task."""
        return labelled_images(task, self.manifest, self.cache, range(len(self.manifest.records)))

    def labelled_counts(self, task: Task) -> dict[str, int]:
        """Patients with a label of the task, under its name."""
        records = self.manifest.records
        rows_N = labelled_rows(task, self.manifest, range(len(records)))
        return {task.name: len({records[row].patient for row in rows_N})}

    def disclosed(self, task: Task) -> dict[str, int]:
        """`labelled_counts`, for a consortium that asks.

        A task may ask for any value of a column, so where plans must be listed its digest must be too, or PlanError.
        """
        digest = hashlib.sha256(task_to_json(task).encode()).hexdigest()
        if self.approval != "automatic" and digest not in self._approved():
            raise PlanError(
                f"counting labels of task {task.name}, digest {digest}, is not on the allow-list of site {self.name}; "
                "a person must allow it"
            )
        return self.labelled_counts(task)

    def source(self, plan: Plan) -> Source:
        """The training stream that the plan gives this site."""
        sampler = OrganSampler(self.manifest.records, plan.draws[self.name])
        augmentation = AugmentationConfig(**plan.augmentation)
        side = int(plan.encoder["side"])
        return Source(
            cache=self.cache,
            sampler=sampler,
            rows_N=np.arange(len(self.manifest.records)),
            augmentation=augmentation,
            side=side,
            seed=plan.seed,
            stream=self.name,
        )

    def consider(self, document: str, *, start: Tensors | None = None) -> tuple[bool, str]:
        """Approve a plan or say why not; an approved one is kept in the site's folder, with the encoder it starts from.

        Args:
            document: The plan.
            start: The encoder that came with a plan of fine-tuning.
        """
        plan = plan_from(document)
        if self.name not in plan.weights:
            return False, f"site {self.name} is not in the plan"
        if reason := self._forbidden(plan):  # before counts are compared, which would tell a guess from the truth
            return False, reason
        if plan.counts[self.name] != self._counts_for(plan):
            return False, f"site {self.name}: the plan's counts are not those this site disclosed"
        if plan.task is not None:
            if problems := start_problems(plan, start or {}):
                return False, f"site {self.name}: the encoder to start from is refused: {'; '.join(problems[:3])}"
            planned_model(plan, start or {})
            save_tensors(self._start_path, start or {}, meta={"schema_version": START_SCHEMA})
        write_text(self.folder / "plan.json", document)
        return True, ""

    def _counts_for(self, plan: Plan) -> dict[str, int]:
        return self.counts() if plan.task is None else self.labelled_counts(section_of(plan).task)

    def start(self, plan: Plan) -> Tensors:
        """The encoder that the approved plan starts from; raises PlanError when it is not the plan's any more."""
        start: Tensors = load_tensors(self._start_path, schema=START_SCHEMA)[0]
        if problems := start_problems(plan, start):
            raise PlanError(problems, title=f"{self._start_path}")
        return start

    @property
    def _start_path(self) -> Path:
        return self.folder / "start.safetensors"

    def approved_plan(self, digest: str) -> Plan:
        """The plan this site approved; raises PlanError for any other digest, and once the approval is withdrawn."""
        try:
            plan = plan_from((self.folder / "plan.json").read_text())
        except OSError as error:
            raise PlanError(f"site {self.name} has approved no plan yet") from error
        if plan.digest != digest:
            raise PlanError(
                f"site {self.name}: asked to run plan {digest[:12]}, which differs from the approved {plan.digest[:12]}"
            )
        if reason := self._forbidden(plan):
            raise PlanError(reason)
        return plan

    def _forbidden(self, plan: Plan) -> str:
        """Why the plan may not run here; empty when it may."""
        if self.approval == "automatic" or plan.digest in self._approved():
            return ""
        return f"plan {plan.digest[:12]} is not on the allow-list of site {self.name}; a person must approve it"

    def _approved(self) -> list[str]:
        path = self.folder / "approved.json"
        if not path.exists():
            return []
        try:
            listed = json.loads(path.read_text())
        except ValueError as error:
            raise ConfigError(f"{path}: not JSON ({error}); write a list of digests") from error
        if not isinstance(listed, list) or not all(isinstance(digest, str) for digest in listed):
            raise ConfigError(f"{path}: not a JSON list of digests")
        return listed


def site_from(config: Mapping[str, Any]) -> Site:
    """Build a site from Flower's node configuration; raises ConfigError listing what is missing or odd."""
    needed = ("site", "manifest", "folder", "cache", "side")
    found = [f"node configuration lacks {name!r}" for name in needed if name not in config]
    approval, skipped = str(config.get("approval", "listed")), str(config.get("skip", ""))
    if approval not in ("automatic", "listed"):
        found.append(f"node configuration: approval must be automatic or listed, got {approval!r}")
    if not re.fullmatch(r"[0-9]+", str(config.get("side", 1))):
        found.append(f"node configuration: side must be a whole number of pixels, got {config['side']!r}")
    if not re.fullmatch(r"[0-9,]*", skipped):
        found.append(f"node configuration: skip must be rounds with commas between, got {skipped!r}")
    if found:
        raise ConfigError(found)
    return Site(
        name=str(config["site"]),
        manifest_path=Path(str(config["manifest"])),
        folder=Path(str(config["folder"])),
        cache_folder=Path(str(config["cache"])),
        side=int(config["side"]),
        approval=approval,
        skip=frozenset(int(number) for number in skipped.split(",") if number),
    )
