"""What the simulator asks of its flags beyond `core.run_folder`."""

from pathlib import Path

from core.errors import ConfigError
from core.run_folder import check_folder as check

ELSEWHERE = "choose another name=NAME"


def check_folder(folder: Path, text: str, *, resume: bool, overwrite: bool, reinstate: bool) -> None:
    """Whether the flags fit what is there; raises ConfigError, RunExists or CheckpointError with the remedy."""
    if reinstate and not resume:
        raise ConfigError("--reinstate lifts a quarantine of a run that was stopped; give --resume with it")
    check(folder, text, resume=resume, overwrite=overwrite, elsewhere=ELSEWHERE)
