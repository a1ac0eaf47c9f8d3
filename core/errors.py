"""Every error that this project raises on purpose.

```
UsfmError                 exit code 1
├── ConfigError           2   the configuration or the command line
├── DataError             3   manifest, images, cache, partition
├── PlanError             4   a plan that is malformed or not allowed here
├── TrainingError         5   a loss that is not finite
├── UpdateRejected        6   a reply that admission refuses
├── FederationPaused      7   too few sites to close a round
├── CheckpointError       8   a saved file that is damaged or of another run
├── RunExists             9   a run folder that would be overwritten
├── TimeIsUp             10   the time that was given is spent; what was done is saved
└── SecurityError        11   a key, certificate, signature, registry or audit log that cannot be trusted
```

A message is one sentence that names the place and the remedy. Where several things are wrong, all are listed.
"""

from collections.abc import Iterable


class UsfmError(Exception):
    """The root; `exit_code` is what the command line returns."""

    exit_code = 1


class _Listed(UsfmError):
    """An error that lists every problem found, not only the first.

    Args:
        problems: One sentence each; a single string counts as one problem.
        title: What was being checked; left out when there is one problem.
    """

    def __init__(self, problems: str | Iterable[str], *, title: str = "") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            text = f"{title}: {self.problems[0]}" if title else self.problems[0]
        else:
            head = f"{title}: {len(self.problems)} problems" if title else f"{len(self.problems)} problems"
            text = "\n  - ".join([head, *self.problems])
        super().__init__(text)


class ConfigError(_Listed):
    """A configuration file, an override or a field out of its range."""

    exit_code = 2


class DataError(_Listed):
    """A manifest, an image, a mask, the cache, or a partition into hospitals."""

    exit_code = 3


class PlanError(_Listed):
    """A plan that is malformed, or that this site does not allow."""

    exit_code = 4


class TrainingError(UsfmError):
    """Training cannot go on, for example because the loss is not finite."""

    exit_code = 5


class UpdateRejected(UsfmError):
    """A reply that admission refuses; the round closes without it."""

    exit_code = 6


class FederationPaused(UsfmError):
    """A round cannot close; the state is saved and `--resume` goes on from it."""

    exit_code = 7


class CheckpointError(UsfmError):
    """A saved file is damaged, of another run, or of an unknown schema version."""

    exit_code = 8


class RunExists(UsfmError):
    """The run folder is there already."""

    exit_code = 9


class TimeIsUp(UsfmError):
    """The minutes that a run was given are spent; its state is saved and `--resume` goes on from it."""

    exit_code = 10


class SecurityError(_Listed):
    """A key, a certificate, a signature, the registry or an audit log that cannot be trusted."""

    exit_code = 11
