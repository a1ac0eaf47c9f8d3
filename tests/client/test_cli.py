"""The command as IT staff meet it: help that is quick and whole, no traceback, and a door for every subcommand."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import client.cli

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]


def test_the_entry_point_is_the_one_of_the_project() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, name = scripts["usfm-client"].split(":")
    assert module == client.cli.__name__
    assert callable(getattr(client.cli, name))


def test_without_a_subcommand_the_help_names_them_all(run_client: Run) -> None:
    for arguments in ([], ["--help"]):
        text = run_client(*arguments).output
        assert "finetune" in text
        assert "predict" in text
        assert "Nothing leaves this machine" in text


@pytest.mark.parametrize(
    ("subcommand", "options"),
    [
        ("finetune", ["--task", "--weights", "--manifest", "--out", "--cache", "--seed", "--threads", "--resume"]),
        ("predict", ["--model", "--images", "--out", "--threshold", "--overwrite"]),
    ],
)
def test_every_option_is_told(subcommand: str, options: list[str], run_client: Run) -> None:
    text = run_client(subcommand, "--help").output
    assert all(option in text for option in options)


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys, client.cli\n"
        "try: client.cli.application(['finetune', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(3 if {'torch', 'numpy', 'matplotlib', 'monai'} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, env=dict(os.environ), timeout=60)
    assert done.returncode == 0


def test_an_option_that_is_missing_or_unknown_is_named(run_client: Run) -> None:
    missing = run_client("predict", "--model", "m.safetensors")
    assert missing.exit_code == 2
    assert "--images" in missing.stderr
    assert "--modle" in run_client("predict", "--modle", "m").stderr


def test_a_side_that_would_take_all_memory_is_refused(run_client: Run) -> None:
    files = ("--task", "t.yaml", "--weights", "w.safetensors", "--manifest", "m.csv")
    result = run_client("finetune", *files, "--side", "40000")
    assert result.exit_code == 2
    assert "40000 is not in the range 0<=x<=4096" in result.stderr
