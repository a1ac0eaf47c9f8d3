"""Two tiny real hospitals: PNG files, manifests, a cache, and the study that they join."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from client.site import Site, site_from
from client.trainer import Trainer
from core.data.augmentation import AugmentationConfig
from core.data.manifest import Manifest, Record, write_manifest
from core.federation.plan import Plan
from core.federation.tensors import Tensors
from core.models.encoder import EncoderConfig
from core.objectives.dual_mim import ObjectiveConfig
from core.training.settings import TrainingConfig
from core.training.task import Task, TuningConfig
from server.study import FederationConfig, StudyConfig, make_plan
from server.task_study import TaskPlan, TaskStudyConfig, make_task_plan

settings.register_profile("calm", deadline=None)  # a busy machine makes no test fail
settings.load_profile("calm")

CASE_MIX = {"east": {"breast": 3, "kidney": 1, "liver": 2}, "north": {"breast": 1, "kidney": 2, "liver": 3}}
"""Patients by hospital and organ; every other patient has a second frame."""

MASKED = {"east": 3, "north": 1, "west": 0}
"""Patients with a mask, by hospital; each hospital has one patient more, who has none."""
TASK_COUNTS = {site: {"lesion": patients} for site, patients in MASKED.items()}
"""What the hospitals tell of the task `lesion`."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The thread count is part of a plan, and two tests at once on a small machine are faster with one thread each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, ...]:
    """Twelve patients, 18 images of 20 x 24 pixels; the files are for reading only."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    made = []
    for site, mix in CASE_MIX.items():
        numbered = enumerate((organ, number) for organ, count in mix.items() for number in range(count))
        for place, (organ, number) in numbered:
            for frame in range(1 + place % 2):
                pixels = generator.integers(0, 120, (20, 24))
                pixels[place : place + 6, 4 : 6 + len(organ)] += 120
                image = folder / f"{site}-{organ}-{number}-{frame}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(image)
                patient = f"{site}-{organ}-{number}"
                made.append(Record(image=image, organ=organ, patient=patient, site=site, dataset="tiny"))
    return tuple(made)


@pytest.fixture(scope="session")
def manifest(records: tuple[Record, ...]) -> Manifest:
    """Both hospitals' images in one file: the pooled data."""
    path = records[0].image.parent / "manifest.csv"
    write_manifest(records, path)
    return Manifest(path=path, records=records)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images, one folder for the whole session."""
    return tmp_path_factory.mktemp("cache")


def _nodes(records: tuple[Record, ...], *, cache: Path, folder: Path) -> Callable[..., dict[str, Any]]:
    """(name, key=value, ...) -> the node configuration of the hospital of that name, its manifest written."""

    def make(name: str, **changes: Any) -> dict[str, Any]:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        write_manifest([record for record in records if record.site == name], place / "manifest.csv")
        values = {"site": name, "manifest": str(place / "manifest.csv"), "folder": str(place / "study"),
                  "cache": str(cache), "side": 20, "approval": "automatic"}  # fmt: skip
        return {**values, **changes}

    return make


@pytest.fixture
def node(records: tuple[Record, ...], cache_folder: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """(name, key=value, ...) -> the node configuration of the hospital of that name, its manifest written."""
    return _nodes(records, cache=cache_folder, folder=tmp_path / "sites")


@pytest.fixture
def hospital(node: Callable[..., dict[str, Any]]) -> Callable[..., Site]:
    """(name, key=value, ...) -> that hospital."""
    return lambda name, **changes: site_from(node(name, **changes))


@pytest.fixture
def study() -> StudyConfig:
    """Three rounds of two steps with a model of one block; change it with `replace`."""
    return StudyConfig(
        name="trial",
        seed=7,
        encoder=EncoderConfig(size="custom", width=16, depth=1, heads=2, patch=4, side=16, channels=1),
        objective=ObjectiveConfig(decoder_width=16, decoder_depth=1, decoder_heads=2),
        augmentation=AugmentationConfig(),
        training=TrainingConfig(batch=4, accelerator="cpu"),
        federation=FederationConfig(rounds=3, local_steps=2, min_patients=1, min_sites=1),
    )


@pytest.fixture
def planned(study: StudyConfig) -> tuple[Plan, Tensors]:
    """The plan of both hospitals, and its first model."""
    return make_plan(study, CASE_MIX)


@pytest.fixture
def plan(planned: tuple[Plan, Tensors]) -> Plan:
    """The plan of both hospitals."""
    return planned[0]


@pytest.fixture
def model(planned: tuple[Plan, Tensors]) -> Tensors:
    """The plan's first model."""
    return planned[1]


@pytest.fixture
def trainer(hospital: Callable[..., Site], plan: Plan) -> Callable[..., Trainer]:
    """(name, plan=..., key=value, ...) -> a hospital that has approved the plan, ready to train."""

    def make(name: str, *, plan: Plan = plan, **changes: Any) -> Trainer:
        site = hospital(name, **changes)
        assert site.consider(plan.document) == (True, "")
        return Trainer(site=site)

    return make


@pytest.fixture
def with_federation(study: StudyConfig) -> Callable[..., StudyConfig]:
    """(field=value, ...) -> the study with these federation fields."""
    return lambda **changes: replace(study, federation=replace(study.federation, **changes))


@pytest.fixture(scope="session")
def masked_records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, ...]:
    """Seven patients with one image of 20 x 24 pixels; four have a mask, of the bright square in it."""
    folder = tmp_path_factory.mktemp("masked")
    generator = np.random.default_rng(1)
    made = []
    for site, masked in MASKED.items():
        for number in range(masked + 1):
            pixels, inside = generator.integers(0, 120, (20, 24)), np.zeros((20, 24), np.uint8)
            inside[4 + number : 12 + number, 6:16] = 255
            pixels[inside > 0] += 100
            image, mask = folder / f"{site}-{number}.png", folder / f"{site}-{number}-mask.png"
            Image.fromarray(pixels.astype(np.uint8)).save(image)
            Image.fromarray(inside).save(mask)
            made.append(
                Record(image=image, mask=mask if number < masked else None, organ="breast",
                       patient=f"{site}-{number}", site=site, dataset="tiny")
            )  # fmt: skip
    return tuple(made)


@pytest.fixture
def task_node(masked_records: tuple[Record, ...], cache_folder: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """(name, key=value, ...) -> the node configuration of a hospital with the images of `masked_records`."""
    return _nodes(masked_records, cache=cache_folder, folder=tmp_path / "task-sites")


@pytest.fixture
def task_study() -> TaskStudyConfig:
    """Three rounds of two steps of fine-tuning a model of two blocks; change it with `tuned`."""
    return TaskStudyConfig(
        name="tuning",
        seed=7,
        encoder=EncoderConfig(size="custom", width=16, depth=2, heads=2, patch=4, side=16, channels=1),
        task=Task(name="lesion", dataset="tiny", tuning=TuningConfig(batch=3, accelerator="cpu", last_blocks=1)),
        federation=FederationConfig(rounds=3, local_steps=2, min_patients=1, min_sites=1),
    )


@pytest.fixture
def tuned(task_study: TaskStudyConfig) -> Callable[..., TaskStudyConfig]:
    """(field=value, ...) -> the study with these fields of the task's tuning."""

    def make(**changes: Any) -> TaskStudyConfig:
        task = task_study.task
        return replace(task_study, task=replace(task, tuning=replace(task.tuning, **changes)))

    return make


@pytest.fixture
def task_planned(task_study: TaskStudyConfig) -> TaskPlan:
    """The plan of the two hospitals with labels, its first model, the encoder it starts from."""
    return make_task_plan(task_study, TASK_COUNTS)
