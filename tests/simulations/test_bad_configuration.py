"""A configuration that cannot be: every problem in a sentence, exit code 2, and nothing written."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = 2
"""Exit code."""
Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("federation.rounds=0", "federation.rounds must be at least 1, got 0"),
        ("rounds=0", "unknown key rounds, did you mean federation.rounds?"),
        ("batch=4", "unknown key batch, did you mean training.batch or evaluation.batch?"),
        ("federation.round=3", "unknown key federation.round, did you mean federation.rounds?"),
        ("training.lerning_rate=1", "did you mean training.learning_rate?"),
        ("zzz=1", "unknown key zzz; known here: name, runs, seed"),
        ("federation.rounds=2.5", "federation.rounds"),
        ("federation.rounds=-3", "federation.rounds must be at least 1, got -3"),
        ("federation.rounds=many", "federation.rounds"),
        ("federation.rounds=", "federation.rounds"),
        ("training.learning_rate=nan", "training.learning_rate must be a finite number, got nan"),
        ("training.weight_decay=nan", "training.weight_decay must be a finite number, got nan"),
        ("training.clip_norm=.inf", "training.clip_norm must be a finite number, got inf"),
        ("federation.norm_bound=-inf", "federation.norm_bound must be a finite number, got -inf"),
        ("federation.norm_bound=nan", "federation.norm_bound must be a finite number, got nan"),
        ("federation.server.rate=inf", "federation.server.rate must be a finite number, got inf"),
        ("data.test=.nan", "data.test must be a finite number, got nan"),
        ("objective.frequency_weight=1e999", "objective.frequency_weight must be a finite number, got inf"),
        ("training.learning_rate=-0.1", "training.learning_rate must lie in (0, 10), got -0.1"),
        ("threads=-1", "threads must lie in [1, 256], got -1"),
        ("data.test=-0.1", "data.test -0.1"),
        ("data.test=0.9", "data.test 0.9 and data.validation 0.1 must be positive, sum below 1"),
        ("name=../x", "name must be 1 to 64 letters, digits, dots, dashes or underscores, got '../x'"),
        ("name=/etc", "name must be 1 to 64 letters"),
        ("name=..", "name must be 1 to 64 letters"),
        ("name=", "name must be 1 to 64 letters"),
        ("name", "'name': an override is written key=value"),
        ("=3", "'=3': an override is written key=value"),
        ("data=3", "data is a section, found 3"),
        ("seed={a: 1}", "seed is a single value, found the keys a"),
        ("arms=[]", "arms must name at least one of"),
        ("arms=[federated,magic]", "arms: magic is none of random_init, local"),
        ("federation.codec=zip", "codec 'zip' is unknown; exact, bf16 and int8 are known"),
        ("name=${nowhere}", "name: "),
        ("skip.north=[a]", "skip"),
        ("evaluation.tasks.t={column: colour, classes: [a, b]}", "evaluation.tasks.t.column must be label or organ"),
        ("evaluation.tasks.t={classes: [a]}", "evaluation.tasks.t.classes must name two classes or more"),
    ],
)
def test_one_bad_value(override: str, sentence: str, refused: Make) -> None:
    assert sentence in refused(CONFIGURATION, override)


def test_every_bad_key_is_listed(refused: Make, config_file: Path) -> None:
    config_file.write_text(config_file.read_text() + "\nruonds: 3\n")
    message = refused(CONFIGURATION, "federation.rounds=0", "training.btach=3", "threads=0", "encoder.channels=2")
    assert "5 problems" in message
    for part in ("ruonds", "federation.rounds", "training.btach", "threads must", "encoder.channels"):
        assert message.count(part) == 1
    assert "tiny.yaml: unknown key ruonds" in message
    assert "command line: unknown key training.btach" in message


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [1", "not YAML"),
        (b"\x00\x01", "not YAML"),
        (b"\xff\xfe\xfa\x00", "cannot be read"),
        (b"- 1\n- 2\n", "must hold sections and keys, found list"),
        (b"just a sentence", "must hold sections and keys, found str"),
        (b"1: 2\n", "unknown key 1"),
        (b"federation: 3\n", "federation is a section, found 3"),
    ],
)
def test_a_config_file_that_is_none(content: bytes, sentence: str, refused: Make, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    message = refused(CONFIGURATION, config=path)
    assert "bad.yaml" in message
    assert sentence in message


def test_a_config_file_that_is_a_folder_or_missing(refused: Make, tmp_path: Path) -> None:
    assert "cannot be read (Is a directory)" in refused(CONFIGURATION, config=tmp_path)
    assert "cannot be read (No such file" in refused(CONFIGURATION, config=tmp_path / "no.yaml")


def test_the_exit_code_reaches_the_shell(config_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "simulations/run.py", "--config", str(config_file), "federation.rounds=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == CONFIGURATION
    assert done.stdout == ""
    assert done.stderr == "error: configuration: federation.rounds must be at least 1, got 0\n"
    assert not (tmp_path / "runs").exists()
