"""One process at a time; a killed holder leaves no lock behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import SecurityError
from core.security.locks import locked

HOLD = (
    "import sys, time; from pathlib import Path; from core.security.locks import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
)


def test_a_second_holder_is_told_and_a_killed_one_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(SecurityError, match="log: another process is using it"), locked(path, patience=0):
            pass
        os.kill(other.pid, signal.SIGKILL)
    with locked(path, patience=0):
        assert (path.parent / "log.lock").stat().st_mode & 0o777 == 0o600
    with locked(path, patience=0):
        pass


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "log"):
        raise ZeroDivisionError
    with locked(tmp_path / "log", patience=0):
        pass


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecurityError, match="cannot be made"), locked(tmp_path / "file" / "log"):
        pass
