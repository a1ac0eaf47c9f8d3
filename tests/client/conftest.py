"""A hospital's labelled images, an encoder's weights, and tiny fine-tuned models."""

import itertools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from client.cli import application
from core.data.manifest import Record, write_manifest
from core.federation.tensors import digest_of, state_of
from core.files import save_tensors
from core.models.encoder import EncoderConfig, build_encoder
from core.models.task_model import build_task_model
from core.training.fitted import Fitted, save_fitted
from core.training.task import HeadConfig, Task

ENCODER = EncoderConfig(size="custom", width=16, depth=1, heads=2, patch=4, side=16, channels=1)
PATIENTS = 24
TUNING = {"steps": 4, "batch": 4, "evaluations": 2, "learning_rate": 3e-3, "head_learning_rate": 1e-2,
          "accelerator": "cpu"}  # fmt: skip
TASKS: dict[str, dict[str, Any]] = {
    "segmentation": {"name": "bright", "kind": "segmentation", "organ": "breast", "tuning": TUNING},
    "classification": {"name": "sort", "kind": "classification", "classes": ["benign", "malignant"], "tuning": TUNING},
    "enhancement": {"name": "clear", "kind": "enhancement", "tuning": TUNING},
}
"""A task of each kind, four steps long."""


@pytest.fixture(scope="session")
def hospital_records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """24 patients, every third with a second image of 24 x 20 pixels: a bright box under noise is the mask.

    The box is large in malignant patients; each tenth of the patients is in validation, each fourth in test.
    """
    folder, generator = tmp_path_factory.mktemp("hospital"), np.random.default_rng(0)
    records = []
    for number in range(PATIENTS):
        label = ("benign", "malignant")[number % 2]
        split = "test" if number % 8 in (0, 1) else "validation" if number % 8 in (2, 3) else "train"
        for frame in range(1 + (number % 3 == 0)):
            pixels, mask = generator.integers(0, 80, (20, 24)).astype(np.uint8), np.zeros((20, 24), np.uint8)
            top, left, size = int(generator.integers(0, 9)), int(generator.integers(0, 12)), 11 if number % 2 else 6
            mask[top : top + size, left : left + size] = 255
            pixels[mask > 0] += 150
            image, outline = folder / f"i{number}-{frame}.png", folder / f"m{number}-{frame}.png"
            Image.fromarray(pixels).save(image)
            Image.fromarray(mask).save(outline)
            records.append(
                Record(image=image, mask=outline, organ="breast", patient=f"Zoe-{number:02d}", label=label, split=split)
            )
    write_manifest(records, folder / "manifest.csv")
    return records


@pytest.fixture(scope="session")
def hospital_manifest(hospital_records: list[Record]) -> Path:
    """The manifest of `hospital_records`."""
    return hospital_records[0].image.parent / "manifest.csv"


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released encoder of one block, random weights."""
    state = state_of(build_encoder(ENCODER, seed=0))
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    save_tensors(path, state, meta={"schema_version": 1, "encoder": asdict(ENCODER), "sha256": digest_of(state)})
    return path


@pytest.fixture
def task_file(tmp_path: Path) -> Callable[..., Path]:
    """(kind, key=value, ...) -> the YAML file of a task of that kind, with these keys changed."""
    numbers = itertools.count()

    def make(kind: str = "segmentation", **changes: Any) -> Path:
        path = tmp_path / f"{kind}-{next(numbers)}.yaml"
        path.write_text(yaml.safe_dump({**TASKS[kind], **changes}))
        return path

    return make


@pytest.fixture
def fitted_file(tmp_path: Path) -> Callable[..., Path]:
    """(kind, field=value, ...) -> the file of a model of that kind with random weights."""

    def make(kind: str = "segmentation", **changes: Any) -> Path:
        values = {name: value for name, value in TASKS[kind].items() if name != "tuning"}
        task = Task(**values, head=HeadConfig())
        model = build_task_model(build_encoder(ENCODER, seed=0), task, seed=0).eval()
        own: dict[str, Any] = {"threshold": 0.5, "best_step": 1, "validation": None, "steps": 1, "images": 4,
                               "seconds": 1.0, "evaluation_seconds": 0.5, "curve": []}  # fmt: skip
        path = tmp_path / f"{kind}.safetensors"
        save_fitted(path, Fitted(model=model, task=task, **{**own, **changes}))
        return path

    return make


@pytest.fixture
def run_client() -> Callable[..., Result]:
    """(argument, ...) -> what `usfm-client` does with these arguments."""
    return lambda *arguments: CliRunner().invoke(application, [str(argument) for argument in arguments])
