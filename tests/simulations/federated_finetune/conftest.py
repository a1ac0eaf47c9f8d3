"""Three tiny hospitals with lesions, masks in every manifest; the configuration takes those of one away."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from core import config as configuration
from core.data.manifest import Record, write_manifest
from simulations.display import Display
from simulations.federated_finetune.arms import TaskBench, plan_of
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.federated_finetune.data import TaskData, task_data, write_hospitals
from simulations.federated_finetune.experiment import simulate

PATIENTS = {"east": 8, "north": 5, "west": 6}
TINY: dict[str, Any] = {
    "study": "federated_finetune",
    "name": "tuned",
    "seeds": [0, 1],
    "data": {"side": 16},
    "partition": {"kind": "column"},
    "without_labels": ["west"],
    "encoder": {"size": "custom", "width": 16, "depth": 1, "heads": 2, "patch": 4, "side": 16, "channels": 1},
    "task": {"name": "lesion", "dataset": "tiny", "tuning": {"batch": 3, "accelerator": "cpu"}},
    "federation": {"rounds": 3, "local_steps": 2, "min_patients": 1},
    "bootstrap": 100,
}
"""Three rounds of two steps."""


@pytest.fixture(scope="session")
def lesion_records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """19 patients with one 24 x 24 image each, its bright square outlined; the files are for reading only."""
    folder = tmp_path_factory.mktemp("lesions")
    generator = np.random.default_rng(2)
    records = []
    for site, patients in PATIENTS.items():
        for number in range(patients):
            inside = np.zeros((24, 24), np.uint8)
            inside[2 + number : 12 + number, 6:18] = 255
            pixels = generator.integers(0, 120, (24, 24)) + 100 * (inside > 0)
            image, mask = folder / f"{site}-{number}.png", folder / f"{site}-{number}-mask.png"
            Image.fromarray(pixels.astype(np.uint8)).save(image)
            Image.fromarray(inside).save(mask)
            split = ("test", "validation", "train")[min(number, 2)]
            records.append(
                Record(image=image, mask=mask, organ="breast", patient=f"{site}-{number}", site=site, split=split,
                       label="benign", dataset="tiny")
            )  # fmt: skip
    return records


@pytest.fixture
def config_file(lesion_records: list[Record], tiny_cache: Path, tmp_path: Path) -> Path:
    """The tiny configuration, its runs below the test's own folder."""
    return write_config(lesion_records, cache=tiny_cache, folder=tmp_path)


def write_config(records: list[Record], *, cache: Path, folder: Path) -> Path:
    """`folder/tiny.yaml`, with runs in `folder/runs`."""
    manifest = records[0].image.parent / "manifest.csv"
    write_manifest(records, manifest)
    data = {**TINY["data"], "manifest": str(manifest), "cache": str(cache)}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "data": data, "runs": str(folder / "runs")}))
    return path


@pytest.fixture
def configure(config_file: Path) -> Callable[..., FederatedFinetuneConfig]:
    """(key=value, ...) -> the tiny configuration with these overrides."""

    def make(*overrides: str) -> FederatedFinetuneConfig:
        return configuration.load(FederatedFinetuneConfig, path=config_file, overrides=overrides)[0]

    return make


@pytest.fixture
def data(configure: Callable[..., FederatedFinetuneConfig]) -> TaskData:
    """The tiny hospitals' labelled images."""
    return task_data(configure(), progress=lambda what, done, total: None)


@pytest.fixture
def bench(configure: Callable[..., FederatedFinetuneConfig], data: TaskData, tmp_path: Path) -> Callable[..., Any]:
    """(place, key=value, ...) -> a bench of the first training seed that works in a folder of its own."""

    def make(place: str, *overrides: str, display: Display | None = None) -> TaskBench:
        config, folder = configure(*overrides), tmp_path / place
        write_hospitals(data, without_labels=config.without_labels, folder=folder / "sites")
        return TaskBench(
            config=config,
            data=data,
            planned=plan_of(config, data, seed=config.seeds[0], start=None),
            display=display or Display(Console(quiet=True)),
            folder=folder,
        )

    return make


@pytest.fixture(scope="session")
def tuned_run(lesion_records: list[Record], tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one whole run; for reading only."""
    return simulate(
        path=write_config(lesion_records, cache=tiny_cache, folder=tmp_path_factory.mktemp("tuned")),
        overrides=[],
        resume=False,
        overwrite=False,
        console=Console(quiet=True),
    )
