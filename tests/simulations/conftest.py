"""A tiny real data set of three hospitals, and ways to run a federation over it."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from click.testing import Result
from flwr.app import Message
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from client.app import client_app
from client.trainer import OnStep
from core import config as configuration
from core.data.manifest import Record, write_manifest
from core.federation import wire
from core.federation.update import Update
from server.app import server_app
from server.rounds import Observer
from server.state import ServerState, Store
from server.study import study_to_json
from simulations.arms import plan_of, study_of
from simulations.config import SimulationConfig
from simulations.experiment import simulate
from simulations.grid import InProcessGrid, LocalGrid, serve
from simulations.prepare import node_configs, prepare, write_sites
from simulations.reproduce import SHIPPED
from simulations.run import command
from simulations.workers import WorkerGrid

SITES = ("east", "north", "west")
ORGANS = ("breast", "liver")
PATIENTS = 4
"""Of each organ at each site."""

TINY: dict[str, Any] = {
    "threads": 1,
    "arms": ["federated"],
    "data": {"side": 16},
    "partition": {"kind": "column"},
    "encoder": {"size": "custom", "width": 16, "depth": 1, "heads": 2, "patch": 4, "side": 16, "channels": 1},
    "objective": {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
    "training": {"batch": 4},
    "federation": {"rounds": 3, "local_steps": 2, "min_patients": 1},
    "evaluation": {"masks": 1, "bootstrap": 100},
}
"""Three rounds of two steps take a third of a second."""


Mangle = Callable[[Message, Message], list[Message]]
"""Instruction and the honest reply to it -> what the server gets instead."""


@dataclass(frozen=True)
class Federated:
    """What a federation left."""

    state: ServerState
    receipts: list[dict[str, Any]]
    lines: bytes
    """The receipts file."""


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """24 patients with one 24 x 24 image each, noise around a bright band; the files are for reading only."""
    folder = tmp_path_factory.mktemp("tiny")
    generator = np.random.default_rng(0)
    records = []
    for site in SITES:
        for organ in ORGANS:
            for number in range(PATIENTS):
                pixels = generator.integers(0, 120, (24, 24))
                pixels[4 * number : 4 * number + 6, 8 : 12 if organ == "liver" else 20] += 120
                image = folder / f"{site}-{organ}-{number}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(image)
                label = "benign" if number % 2 else "malignant"
                patient = f"{site}-{organ}-{number}"
                records.append(
                    Record(image=image, organ=organ, patient=patient, site=site, label=label, dataset="tiny", row=0)
                )
    return records


@pytest.fixture(scope="session")
def tiny_manifest(tiny_records: list[Record]) -> Path:
    """The manifest of `tiny_records`."""
    path = tiny_records[0].image.parent / "manifest.csv"
    write_manifest(tiny_records, path)
    return path


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of decoded images for the whole session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def config_file(tmp_path: Path, tiny_manifest: Path, tiny_cache: Path) -> Path:
    """The tiny configuration, its runs below the test's own folder."""
    return write_config(tmp_path, manifest=tiny_manifest, cache=tiny_cache)


def write_config(folder: Path, *, manifest: Path, cache: Path) -> Path:
    """`folder/tiny.yaml`, with runs in `folder/runs`."""
    data = {**TINY["data"], "manifest": str(manifest), "cache": str(cache)}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "data": data, "runs": str(folder / "runs")}))
    return path


@pytest.fixture
def configure(config_file: Path) -> Callable[..., SimulationConfig]:
    """(key=value, ...) -> the tiny configuration with these overrides."""

    def make(*overrides: str) -> SimulationConfig:
        return configuration.load(SimulationConfig, path=config_file, overrides=overrides)[0]

    return make


@pytest.fixture
def simulator(config_file: Path) -> Callable[..., Result]:
    """(argument, ...) -> what `python simulations/run.py --config <tiny> argument ...` says and its exit code."""
    application = typer.Typer()
    application.command()(command)

    def run(*arguments: str, config: Path = config_file) -> Result:
        return CliRunner().invoke(application, ["--config", str(config), *arguments])

    return run


@pytest.fixture
def federate(configure: Callable[..., SimulationConfig]) -> Callable[..., Federated]:
    """(folder, key=value, ...) -> one federation of fresh objects, from the folder's saved state if there is one."""

    def run(
        folder: Path,
        *overrides: str,
        grid: Callable[..., LocalGrid] = InProcessGrid,
        on_step: OnStep | None = None,
        observer: Observer | None = None,
        reinstate: str = "",
    ) -> Federated:
        config = configure(*overrides)
        prepared = prepare(config, progress=lambda what, done, total: None)
        write_sites(prepared, folder=folder / "manifests")
        nodes = node_configs(config, prepared, manifests=folder / "manifests", folder=folder / "sites")
        study = json.dumps(study_to_json(study_of(config, weighting="organ_aware")))
        store = Store(folder / "server")
        settings: dict[str, bool | float | int | str] = {
            "study": study,
            "folder": str(store.folder),
            "reinstate": reinstate,
        }
        with grid(client_app(on_step=on_step), nodes) as made:
            serve(server_app(observer=observer), made, run_config=settings)
        state = store.load(plan_digest=plan_of(config, prepared).digest)
        assert state is not None
        return Federated(state=state, receipts=store.receipts(), lines=store.receipts_path.read_bytes())

    return run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory, tiny_manifest: Path, tiny_cache: Path) -> Path:
    """The folder of one run with every arm and two probes; for reading only."""
    folder = tmp_path_factory.mktemp("whole")
    overrides = [
        "name=whole",
        "arms=[random_init,local,fedavg,federated,centralized]",
        "evaluation.tasks.lesion={dataset: tiny, organ: breast, classes: [benign, malignant]}",
        "evaluation.tasks.organ={dataset: tiny, column: organ, classes: [breast, liver]}",
    ]
    return simulate(
        path=write_config(folder, manifest=tiny_manifest, cache=tiny_cache),
        overrides=overrides,
        resume=False,
        overwrite=False,
        console=Console(quiet=True),
    )


@pytest.fixture(scope="session")
def known() -> dict[tuple[str, ...], Federated]:
    """Federations without faults by their overrides, so that what others are compared with is made once."""
    return {}


@pytest.fixture
def skipping(
    federate: Callable[..., Federated], tmp_path: Path, known: dict[tuple[str, ...], Federated]
) -> Callable[..., Federated]:
    """(key=value, ...) -> that federation without faults, for example with `skip.north=[1]`."""

    def run(*overrides: str) -> Federated:
        if overrides not in known:
            known[overrides] = federate(tmp_path / f"reference-{len(known)}", *overrides)
        return known[overrides]

    return run


@pytest.fixture
def undisturbed(skipping: Callable[..., Federated]) -> Federated:
    """The tiny federation as it goes when nothing happens."""
    return skipping()


class Faulty(LocalGrid):
    """Replies of one site in some rounds go through `mangle`; with `late`, they come one round later."""

    def __init__(
        self,
        *arguments: Any,
        mangle: Mangle = lambda instruction, reply: [reply],
        faults: Iterable[tuple[str, int]] = (("north", 1),),
        late: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._sites = {number: str(node["site"]) for number, node in self._nodes.items()}
        self._mangle, self._faults, self._late = mangle, set(faults), late
        self._instructions: dict[str, Message] = {}
        self._held: dict[str, list[Message]] = {}
        self._newest = 0

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        identifiers = super().push_messages(messages)
        self._instructions |= dict(zip(identifiers, messages, strict=True))
        self._newest = max([self._newest, *map(number_of, messages)])
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [reply for identifier in message_ids for reply in self._pull(identifier)]

    def _pull(self, identifier: str) -> list[Message]:
        instruction = self._instructions[identifier]
        if identifier not in self._held:
            replies = super().pull_messages([identifier])
            if (
                not replies
                or (self._sites[instruction.metadata.dst_node_id], number_of(instruction)) not in self._faults
            ):
                return replies
            self._held[identifier] = [bad for reply in replies for bad in self._mangle(instruction, reply)]
        if self._late and self._newest == number_of(instruction):
            return []
        return self._held.pop(identifier)


class FaultyGrid(Faulty, InProcessGrid):
    """In this process."""


class FaultyWorkers(Faulty, WorkerGrid):
    """In worker processes."""


def number_of(message: Message) -> int:
    """The round of an instruction, -1 for a query."""
    return int(message.metadata.group_id) if message.metadata.message_type == wire.TRAIN else -1


@pytest.fixture
def faulty_grid() -> type[InProcessGrid]:
    """A grid on which replies of one site in some rounds, `north` in round 1 by default, are spoilt or late."""
    return FaultyGrid


@pytest.fixture
def faulty_workers() -> type[WorkerGrid]:
    """The same, over worker processes."""
    return FaultyWorkers


@pytest.fixture
def poison() -> Mangle:
    """Puts a NaN into an update."""

    def mangle(instruction: Message, reply: Message) -> list[Message]:
        update = wire.answer_from_records(reply.content)
        assert isinstance(update, Update)
        name = min(update.arrays)
        bad = {**update.arrays, name: np.full_like(update.arrays[name], np.nan)}
        return [Message(wire.answer_to_records(replace(update, arrays=bad)), reply_to=instruction)]

    return mangle


@pytest.fixture
def refused(simulator: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """(exit code, argument, ...) -> the message; the run left no folder and no traceback."""

    def run(code: int, *arguments: str, **options: Path) -> str:
        result = simulator(*arguments, **options)
        assert result.exit_code == code, (result.output, result.stderr, result.exception)
        assert result.stderr.startswith("error: ")
        assert result.stderr.endswith("\n")
        assert "Traceback" not in result.output
        assert not (tmp_path / "runs").exists()
        return result.stderr

    return run


@pytest.fixture
def comparable() -> Callable[[Path], dict[str, Any]]:
    """(run folder) -> its metrics without the clock: what must be equal however often the run was stopped."""

    def read(folder: Path) -> dict[str, Any]:
        metrics = json.loads((folder / "metrics.json").read_text())
        del metrics["timing"]
        for arm in metrics["arms"].values():
            del arm["seconds"]
        return dict(metrics)

    return read


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """(name, *overrides, **fields of metrics.json) -> the folder of a run as it ends, made up without training."""

    def make(name: str, /, *overrides: str, **changed: Any) -> Path:
        folder = tmp_path / "finished" / name
        folder.mkdir(parents=True)
        given = [f"name={name}", *overrides]
        _, text = configuration.load(SimulationConfig, path=SHIPPED / "demo.yaml", overrides=given)
        (folder / "config.yaml").write_text(text)
        (folder / "metrics.json").write_text(json.dumps({**_finished(name), **changed}))
        return folder

    return make


def _finished(name: str) -> dict[str, Any]:
    """The metrics of a small run of every main arm."""
    arms: dict[str, Any] = {}
    for arm, loss in (("random_init", 1.2), ("local_mean", 0.9), ("federated", 0.7), ("centralized", 0.6)):
        dice = {"mean": 1.3 - loss, "low": 1.2 - loss, "high": 1.4 - loss, "reason": ""}
        arms[arm] = {
            "held_out_loss": {"overall": loss, "liver": loss, "breast": loss + 0.1},
            "tasks": {"mass": {"frozen": dice, "finetune_8": dice, "linear": dice}},
            "images": 10,
            "seconds": 2.0,
        }
    return {
        "schema_version": 1,
        "name": name,
        "arms": arms,
        "rarest": ["breast", "liver"],
        "mix": {"liver": 0.5, "breast": 0.5},
        "gap_closed": {"value": 0.667, "low": 0.5, "high": 0.8, "reason": ""},
        "timing": {"seconds": 60.0},
        "bytes": {"up": 1000, "down": 2000},
        "rounds": 3,
        "final_hash": "ab" * 32,
    }


@pytest.fixture(scope="session")
def undocumented() -> Callable[[Any, str, Mapping[str, str]], set[str]]:
    """(document, heading of docs/metrics.md, mapping -> name for its keys) -> fields that only one of them has."""
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()

    def leaves(value: Any, path: str, names: Mapping[str, str]) -> set[str]:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return set().union(*(leaves(one, f"{path}[]", names) for one in value))
        if not isinstance(value, dict):
            return {path}
        shown = {key: names[path] if path in names and key != "overall" else key for key in value}
        found = [leaves(child, f"{path}.{shown[key]}" if path else shown[key], names) for key, child in value.items()]
        return set().union(*found)  # an empty mapping, such as the metrics of an undefined cell, says no field

    def compare(document: Any, heading: str, names: Mapping[str, str]) -> set[str]:
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)
        assert len(rows) == len(set(rows))
        return set(rows) ^ leaves(document, "", names)

    return compare
