"""The command as the consortium meets it: help that is quick and whole, no traceback, a door for every subcommand."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import server.cli

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "flwr", "numpy", "cryptography"}


def test_the_entry_point_is_the_one_of_the_project() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, name = scripts["usfm-server"].split(":")
    assert module == server.cli.__name__
    assert callable(getattr(server.cli, name))


@pytest.mark.parametrize("module", ["server.cli", "client.cli"])
def test_help_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "for words in ([], ['init'], ['enroll', 'request']):\n"
        f"    try: {module}.application([*words, '--help'])\n"
        "    except SystemExit: pass\n"
        f"sys.exit(3 if {HEAVY} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, env=dict(os.environ), timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], ["init", "enroll"]),
        (["init"], ["STUDY", "--folder", "--name"]),
        (["enroll"], ["request", "approve", "revoke", "list"]),
        (["enroll", "approve"], ["SITE", "--fingerprint", "--folder"]),
        (["enroll", "revoke"], ["SITE", "--reason", "--folder"]),
        (["enroll", "list"], ["--json", "--folder"]),
    ],
)
def test_every_command_and_option_is_told(words: list[str], told: list[str]) -> None:
    text = CliRunner().invoke(server.cli.application, [*words, "--help"]).output
    assert all(word in text for word in told)
