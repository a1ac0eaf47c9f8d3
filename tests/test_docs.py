"""The pages say what the code does: commands, flags, exit codes, fields, files, functions, links."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import typer
from rich.console import Console
from typer.core import TyperGroup

from client.cli import application
from core import errors
from core.data.manifest import COLUMNS, REQUIRED
from core.exits import INTERRUPTED
from core.training.task import Task
from simulations.config import SimulationConfig
from simulations.experiment import simulate
from simulations.run import command

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()
METRICS = (ROOT / "docs/metrics.md").read_text()
FINETUNE = (ROOT / "docs/finetune.md").read_text()
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())

TINY = (
    "name=tiny", "threads=1", "partition.hospitals=2", "partition.alpha=5",
    "data.side=32", "data.phantom.patients_per_organ=10", "data.phantom.frames=1", "data.phantom.side=32",
    "encoder.size=custom", "encoder.width=16", "encoder.depth=1", "encoder.heads=2", "encoder.patch=8",
    "encoder.side=32", "encoder.channels=1",
    "objective.decoder_width=16", "objective.decoder_depth=1", "objective.decoder_heads=2",
    "training.batch=2", "federation.rounds=1", "federation.local_steps=1", "federation.min_patients=2",
    "evaluation.masks=1", "evaluation.bootstrap=100",
    "evaluation.tasks={organ: {column: organ, classes: [heart, liver]}}",
    "evaluation.segmentation={lesion: {organ: liver, budgets: [1], steps: 1, batch: 2, repeats: 1}}",
)  # fmt: skip
"""Two hospitals, one round of one step, every arm."""

PLACEHOLDERS = {
    "arms": "<arm>",
    "arms.<arm>.tasks": "<task>",
    "arms.<arm>.tasks.<task>": "<probe>",
    "mix": "<organ>",
    "by_seed": "<seed>",
    "by_seed.<seed>.arms": "<arm>",
    "by_seed.<seed>.arms.<arm>.tasks": "<task>",
    "by_seed.<seed>.arms.<arm>.tasks.<task>": "<probe>",
    "comparisons": "<comparison>",
    "licences": "<licence>",
    "contributors": "<site>",
    "refused": "<site>",
    "absent": "<site>",
    "quarantined": "<site>",
    "effective_mix": "<organ>",
}
"""Mappings whose keys are names that a run brings along, and what the pages write for such a name."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a finished run."""
    folder, threads = tmp_path_factory.mktemp("docs"), torch.get_num_threads()
    places = [f"runs={folder / 'runs'}", f"data.cache={folder / 'data' / 'cache'}"]
    yield simulate(path=None, overrides=[*TINY, *places], resume=False, overwrite=False, console=Console(quiet=True))
    torch.set_num_threads(threads)


def _leaves(value: Any, path: str = "") -> set[str]:
    """Dotted names of what a document holds, with placeholders for names of hospitals, organs, tasks, ..."""
    if not isinstance(value, dict):
        return {path}
    if path in PLACEHOLDERS:
        inner = f"{path}.{PLACEHOLDERS[path]}"
        return set().union(*(_leaves(child, inner) for child in value.values())) or {inner}
    found: set[str] = set()
    for key, child in value.items():
        named = "<organ>" if path.endswith("held_out_loss") and key != "overall" else key
        found |= _leaves(child, f"{path}.{named}" if path else named)
    return found


def _section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next of its level."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _table(text: str, head: str) -> list[str]:
    """The first cells of the table whose first heading is `head`, without backticks."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip())
    return rows


def _plain(cells: list[str]) -> list[str]:
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@EACH_PAGE
def test_every_link_to_a_file_finds_it(page: Path) -> None:
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", page.read_text())]
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


@EACH_PAGE
def test_every_link_within_a_page_finds_its_heading(page: Path) -> None:
    text = page.read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


@EACH_PAGE
def test_every_make_target_that_a_page_names_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z.-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)) <= targets


@EACH_PAGE
def test_every_source_file_and_name_that_a_page_gives_is_there(page: Path) -> None:
    # `core/x.py` `name`, `Class.method`: each name behind a path must be defined in that file.
    for path, names in re.findall(r"`(\w+/[\w/]+\.py)`((?:,? `[\w.]+`)*)", page.read_text()):
        assert (ROOT / path).exists(), path
        for name in re.findall(r"`([\w.]+)`", names):
            assert _defined(ROOT / path, name), f"{path} does not define {name}"


def _defined(path: Path, dotted: str) -> bool:
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    for part in dotted.split("."):
        kinds = ast.FunctionDef | ast.ClassDef
        found = [node for node in body if isinstance(node, kinds) and node.name == part]
        if not found:
            return False
        body = found[0].body
    return True


@EACH_PAGE
def test_every_configuration_key_that_a_page_names_is_there(page: Path) -> None:
    sections = [name for name, kind in get_type_hints(SimulationConfig).items() if is_dataclass(kind)]
    pattern = rf"(?<![\w/.])((?:{'|'.join(sections)})\.[a-z_.]*[a-z_]\*?)(?=[`= |,)\n])"
    found = [key for key in re.findall(pattern, page.read_text()) if not key.endswith((".safetensors", ".md"))]
    unknown = [key for key in found if not _is_key(key)]
    assert not unknown


def _is_key(dotted: str) -> bool:
    kind: Any = SimulationConfig
    for part in dotted.split("."):
        names = [field.name for field in fields(kind)] if is_dataclass(kind) else []
        if not any(name == part or (part.endswith("*") and name.startswith(part[:-1])) for name in names):
            return False
        kind = get_type_hints(kind).get(part)
    return True


def test_the_readme_lists_every_flag_of_the_simulator_and_no_other() -> None:
    application = typer.Typer(add_completion=False)
    application.command()(command)
    options = {option for known in typer.main.get_command(application).params for option in known.opts}
    expected = {option for option in options if option.startswith("--") and option != "--help"}
    section = _section(README, "The simulator")
    assert set(re.findall(r"--[a-z]+", section)) == expected
    assert {flag for flag in _plain(_table(section, "flag")) if flag.startswith("--")} == expected


@pytest.mark.parametrize(("subcommand", "heading"), [("finetune", "Options of finetune"), ("predict", "Predict")])
def test_the_page_for_hospitals_lists_every_option_and_no_other(subcommand: str, heading: str) -> None:
    group = typer.main.get_command(application)
    assert isinstance(group, TyperGroup)
    known = {name for param in group.commands[subcommand].params for name in param.opts if name.startswith("--")}
    section = _section(FINETUNE, heading)
    assert {cell for cell in _plain(_table(section, "option")) if cell.startswith("--")} == known - {"--help"}
    assert set(re.findall(r"`(--[a-z]+)`", FINETUNE)) - {"--help"} <= {
        name for command in group.commands.values() for param in command.params for name in param.opts
    }


def test_the_page_for_hospitals_names_the_fields_of_a_task_as_they_are() -> None:
    task = re.findall(r"`((?:tuning|head)\.\w+)=", FINETUNE)
    assert task
    for dotted in task:
        section, name = dotted.split(".")
        assert name in {field.name for field in fields(get_type_hints(Task)[section])}


def test_the_readme_lists_every_exit_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.UsfmError)]
    expected = {0, INTERRUPTED, *(kind.exit_code for kind in kinds)}
    assert {int(cell) for cell in _table(README, "exit code")} == expected


def test_the_columns_of_a_manifest_are_documented() -> None:
    assert tuple(_plain(_table((ROOT / "docs/data.md").read_text(), "column"))) == (
        "image", "organ", "patient", "mask", "label", "site", "device", "dataset", "split", "licence", "spacing",
    )  # fmt: skip
    assert set(COLUMNS) == set(_plain(_table((ROOT / "docs/data.md").read_text(), "column")))
    told = _section(README, "Your own images")
    assert set(COLUMNS) <= set(re.findall(r"`(\w+)`", told))
    assert told.index("are required") > max(told.index(f"`{name}`") for name in REQUIRED)


def test_the_readme_lists_every_file_of_a_run_and_no_other(run: Path) -> None:
    written = {path.name for path in run.iterdir() if not path.name.startswith(".")}
    assert {name.rstrip("/") for name in _plain(_table(README, "file"))} == written


def test_every_field_of_the_metrics_is_documented_and_no_other(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    documented = _plain(_table(_section(METRICS, "metrics.json"), "field"))
    assert len(documented) == len(set(documented))
    assert set(documented) == _leaves(metrics)


def test_every_arm_is_documented_and_no_other(run: Path) -> None:
    arms = json.loads((run / "metrics.json").read_text())["arms"]
    named = {"local:<hospital>" if arm.startswith("local:") else arm for arm in arms}
    assert set(_plain(_table(METRICS, "arm"))) == named


def test_every_field_of_a_receipt_is_documented_and_no_other(run: Path) -> None:
    (line,) = (run / "receipts.jsonl").read_text().splitlines()  # one round
    documented = _plain(_table(_section(METRICS, "receipts.jsonl"), "field"))
    assert len(documented) == len(set(documented))
    assert set(documented) == _leaves(json.loads(line))


def test_the_documented_schema_version_is_the_one_that_is_written(run: Path) -> None:
    versions = [
        json.loads((run / "metrics.json").read_text())["schema_version"],
        json.loads((run / "receipts.jsonl").read_text().splitlines()[0])["schema_version"],
    ]
    assert [f"| `schema_version` | | {version} |" in METRICS for version in versions] == [True, True]
