"""The house as a package: names, layers, sizes, and a wheel that works where there is no checkout."""

import ast
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CODE = ("core", "client", "server", "simulations")
TOP_LEVEL = (*CODE, "configs")

FLOWER = {
    "client/app.py", "core/federation/wire.py", "server/app.py", "server/channel.py", "simulations/grid.py",
    "simulations/workers.py", "simulations/ray_engine.py",
} | {f"simulations/bench/{name}.py" for name in ("flower", "folding")}  # fmt: skip
"""Who may import Flower: the two apps, the wire, one module per side that adapts the pinned version, in the simulation
one module a backend, and what measures against it."""
MOST_LINES, MOST_BODY = 300, 40
BANNED = {"utils", "benchmarks", "examples"}
"""`utils` says nothing; Opacus ships the other two at the top level."""

SOURCES = sorted(path for package in CODE for path in (ROOT / package).rglob("*.py"))
FILES = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, at its top or inside a function."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _requirements(texts: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(found.name): found for found in map(Requirement, texts)}


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and its lines without the docstring."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first, lines = node.body[0], (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, lines


def test_no_other_installed_distribution_owns_one_of_our_names() -> None:
    owners = importlib.metadata.packages_distributions()
    foreign = {name: set(owners.get(name, ())) - {"usfm"} for name in TOP_LEVEL}
    assert not any(foreign.values()), f"shadowed by an installed distribution: {foreign}"


def test_the_wheel_ships_every_top_level_package_and_no_other() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(TOP_LEVEL)
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == packages


@pytest.mark.parametrize("component", ["serverapp", "clientapp"])
def test_flower_finds_its_app_as_a_plain_assignment(component: str) -> None:
    # Flower reads the module's source before it loads it, so the name must be assigned at the top level.
    module, name = PROJECT["tool"]["flwr"]["app"]["components"][component].split(":")
    path = ROOT / f"{module.replace('.', '/')}.py"
    assigned = {
        target.id
        for statement in _tree(path).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    assert name in assigned
    assert type(getattr(importlib.import_module(module), name)).__name__.lower() == component


def test_each_pinned_version_lies_in_the_range_of_the_project() -> None:
    extras = [text for texts in PROJECT["project"]["optional-dependencies"].values() for text in texts]
    ranges = _requirements([*PROJECT["project"]["dependencies"], *extras])
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = _requirements([line for line in lines if line])
    assert pins
    for name, pin in pins.items():
        (exact,) = pin.specifier
        assert exact.operator == "==", f"constraints.txt: {pin} is no exact version"
        assert name in ranges, f"constraints.txt pins {name}, which pyproject.toml does not ask for"
        assert exact.version in ranges[name].specifier, f"{pin} lies outside {ranges[name]}"


def test_flower_is_imported_by_the_adapters_and_nobody_else() -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if any(module.split(".")[0] == "flwr" for module in _imported(path))
    }
    assert importers == FLOWER


@FILES
def test_a_file_is_short_and_so_are_its_functions(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES
    long = {name: lines for name, lines in _functions(path) if lines > MOST_BODY}
    assert not long


@FILES
def test_a_module_begins_with_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(_tree(path))


def test_nothing_is_called_utils_benchmarks_or_examples() -> None:
    names = {part for path in SOURCES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not names & BANNED


def test_tests_mirror_the_packages_without_packages_of_their_own() -> None:
    tests = ROOT / "tests"
    assert not list(tests.rglob("__init__.py"))
    folders = {path.parent.relative_to(tests) for path in tests.glob("*/**/test_*.py")}
    assert not [folder.as_posix() for folder in folders if not (ROOT / folder / "__init__.py").exists()]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel, built from this checkout, was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _run([*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], cwd=folder)
    (wheel,) = folder.glob("usfm-*.whl")
    _run([*pip, "install", "--no-index", "--no-deps", "--target", folder / "site", wheel], cwd=folder)
    return folder / "site"


def _run(command: list[str | Path], *, cwd: Path, paths: tuple[Path, ...] = ()) -> str:
    """A command's output; its modules are found in `paths` alone where they are given."""
    environment = dict(os.environ)
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _elsewhere(installed: Path, arguments: list[str], *, cwd: Path) -> str:
    """Run Python with the installed wheel and the dependencies.

    `-S` leaves out the `.pth` file of an editable install, through which the checkout would be found.
    """
    dependencies = Path(sysconfig.get_path("purelib"))
    return _run([sys.executable, "-S", *arguments], cwd=cwd, paths=(installed, dependencies))


def test_the_wheel_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = (
        "import core, client.app, server.app, simulations.run\n"
        "from core.data.organs import organ_names\n"
        "apps = [type(side.app.app).__name__ for side in (client, server)]\n"
        "print(core.__file__, len(organ_names()), *apps, sep='|')"
    )
    found, organs, client, server = _elsewhere(installed, ["-c", code], cwd=tmp_path).strip().split("|")
    assert Path(found) == installed / "core" / "__init__.py"
    assert int(organs) > 20
    assert (client, server) == ("ClientApp", "ServerApp")


def test_the_simulator_of_the_wheel_tells_its_options(installed: Path, tmp_path: Path) -> None:
    text = _elsewhere(installed, ["-m", "simulations.run", "--help"], cwd=tmp_path)
    assert "--resume" in text
    assert "--quick" in text


def test_the_wheel_holds_the_packages_and_configurations_but_no_tests(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if "dist-info" not in path.name and path.name != "bin"} == set(
        TOP_LEVEL
    )
    shipped = {path.relative_to(installed).as_posix() for path in (installed / "configs").rglob("*.yaml")}
    assert shipped == {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
