"""A run that was killed, at any moment, and resumed ends as the run that was not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.federation.tensors import digest_of
from simulations.arms import Bench, plan_of
from simulations.config import ARMS
from simulations.display import Display
from simulations.experiment import simulate
from simulations.prepare import prepare
from simulations.results import load_result

Make = Callable[..., Any]


class Killed(BaseException):
    """What a kill looks like from inside: nobody catches it."""


class KillAt:
    """An observer that kills at a phase of a round."""

    def __init__(self, name: str, number: int) -> None:
        self._at = (name, number)

    def phase(self, name: str, number: int) -> None:
        if (name, number) == self._at:
            raise Killed

    def closed(self, state: object) -> None:
        """Goes on."""


def kill_at_step(site: str, step: int) -> Make:
    def on_step(at: str, number: int, loss: float, images: int) -> None:
        if (at, number) == (site, step):
            raise Killed

    return on_step


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("phase", ["asked", "folded", "stepped", "saved"])
def test_killed_at_a_phase_of_a_round(
    phase: str, number: int, federate: Make, undisturbed: Any, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        federate(tmp_path / "killed", observer=KillAt(phase, number))
    resumed = federate(tmp_path / "killed")
    assert resumed.state.digest == undisturbed.state.digest
    assert resumed.lines == undisturbed.lines


@pytest.mark.parametrize("step", [0, 3, 4])
@pytest.mark.parametrize("site", ["east", "west"])
def test_killed_while_a_hospital_trains(site: str, step: int, federate: Make, undisturbed: Any, tmp_path: Path) -> None:
    """`east` is the first to train in a round, `west` the last: before it, two updates are in the spool."""
    with pytest.raises(Killed):
        federate(tmp_path / "killed", on_step=kill_at_step(site, step))
    resumed = federate(tmp_path / "killed")
    assert resumed.state.digest == undisturbed.state.digest
    assert resumed.lines == undisturbed.lines


def test_killed_again_and_again(federate: Make, undisturbed: Any, tmp_path: Path) -> None:
    for number in range(3):
        for phase in ("asked", "stepped", "saved"):
            with pytest.raises(Killed):
                federate(tmp_path / "killed", observer=KillAt(phase, number))
    assert federate(tmp_path / "killed").lines == undisturbed.lines


@pytest.mark.parametrize("left", [0, 40, -1])
def test_killed_between_state_and_receipt(left: int, federate: Make, undisturbed: Any, tmp_path: Path) -> None:
    """The state names its receipt, so a receipt that is missing or torn after `left` bytes is written again."""
    with pytest.raises(Killed):
        federate(tmp_path / "killed", observer=KillAt("saved", 1))
    path = tmp_path / "killed" / "server" / "receipts.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:left])
    resumed = federate(tmp_path / "killed")
    assert resumed.state.digest == undisturbed.state.digest
    assert resumed.lines == undisturbed.lines


def test_killed_before_the_first_receipt(federate: Make, undisturbed: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        federate(tmp_path / "killed", observer=KillAt("saved", 0))
    (tmp_path / "killed" / "server" / "receipts.jsonl").unlink()
    assert federate(tmp_path / "killed").lines == undisturbed.lines


@pytest.mark.parametrize(
    "overrides",
    [
        ("federation.server.name=fedadam",),
        ("federation.codec=bf16",),
        ("federation.codec=int8",),
        ("federation.local_state=reset",),
        ("skip.north=[1]",),
        ("training.optimizer=sgd",),
    ],
)
def test_killed_under_another_configuration(overrides: tuple[str, ...], federate: Make, tmp_path: Path) -> None:
    whole = federate(tmp_path / "whole", *overrides)
    with pytest.raises(Killed):
        federate(tmp_path / "killed", *overrides, observer=KillAt("folded", 2))
    assert federate(tmp_path / "killed", *overrides).lines == whole.lines


def test_a_finished_federation_is_left_as_it_is(federate: Make, tmp_path: Path) -> None:
    lines = federate(tmp_path / "finished").lines
    path = tmp_path / "finished" / "server" / "state.safetensors"
    before = path.read_bytes()
    assert federate(tmp_path / "finished").lines == lines
    assert path.read_bytes() == before


def test_leftovers_of_a_killed_write_do_no_harm(federate: Make, undisturbed: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        federate(tmp_path / "killed", observer=KillAt("saved", 1))
    for folder in (tmp_path / "killed" / "server", tmp_path / "killed" / "sites" / "north"):
        (folder / ".state.safetensors.1.part").write_bytes(b"half")
        (folder / ".moments.pending.safetensors.1.part").write_bytes(b"half")
    assert federate(tmp_path / "killed").lines == undisturbed.lines


class KillingDisplay(Display):
    """Kills after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(Console(quiet=True))
        self._left = steps

    def advance(self, task: Any, text: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


def bench_of(configure: Make, folder: Path, display: Display) -> Bench:
    config = configure()
    prepared = prepare(config, progress=lambda what, done, total: None)
    return Bench(config=config, prepared=prepared, plan=plan_of(config, prepared), display=display, folder=folder)


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_a_hospital_alone_killed_at_any_step(steps: int, configure: Make, tmp_path: Path) -> None:
    whole = bench_of(configure, tmp_path, Display(Console(quiet=True))).alone("east", tmp_path / "whole")
    with pytest.raises(Killed):
        bench_of(configure, tmp_path, KillingDisplay(steps)).alone("east", tmp_path / "killed")
    resumed = bench_of(configure, tmp_path, Display(Console(quiet=True))).alone("east", tmp_path / "killed")
    assert digest_of(resumed.model) == digest_of(whole.model)
    assert resumed.curve == whole.curve
    assert resumed.images == whole.images == 3 * 2 * 4  # rounds, steps, batch


@pytest.mark.parametrize(("wide", "steps"), [(True, 3), (False, 7)])
def test_pooled_training_killed_half_way(wide: bool, steps: int, configure: Make, tmp_path: Path) -> None:  # noqa: FBT001
    whole = bench_of(configure, tmp_path, Display(Console(quiet=True))).pooled(tmp_path / "whole", wide=wide)
    with pytest.raises(Killed):
        bench_of(configure, tmp_path, KillingDisplay(steps)).pooled(tmp_path / "killed", wide=wide)
    resumed = bench_of(configure, tmp_path, Display(Console(quiet=True))).pooled(tmp_path / "killed", wide=wide)
    assert digest_of(resumed.model) == digest_of(whole.model)
    assert resumed.images == whole.images == 3 * 3 * 2 * 4  # hospitals, rounds, steps, batch


class KillingConsole(Console):
    """Kills when a line that begins so is to be printed."""

    def __init__(self, beginning: str) -> None:
        super().__init__(quiet=True)
        self._beginning = beginning

    def print(self, *objects: Any, **options: Any) -> None:
        if str(objects[0]).startswith(self._beginning):
            raise Killed


ALL = f"arms=[{','.join(ARMS)}]"


def test_the_command_resumes_after_a_kill_at_the_end_of_each_arm(
    comparable: Make, simulator: Make, config_file: Path, tmp_path: Path
) -> None:
    """A kill when an arm is trained but not yet kept, of every arm, one after another, and one at the report."""
    assert simulator(ALL, "name=whole").exit_code == 0
    runs = tmp_path / "runs"
    started = False
    for line in ("north alone:", "fedavg:", "federated:", "centralized_wide:", "centralized_long:", "writing"):
        with pytest.raises(Killed):
            simulate(
                path=config_file,
                overrides=[ALL, "name=killed"],
                resume=started,
                overwrite=False,
                console=KillingConsole(line),
            )
        started = True
        assert not (runs / "killed" / "metrics.json").exists()
    result = simulator(ALL, "name=killed", "--resume")
    assert result.exit_code == 0, result.output
    whole, resumed = comparable(runs / "whole"), comparable(runs / "killed")
    assert resumed.pop("name") == "killed"
    assert whole.pop("name") == "whole"
    assert resumed.pop("plan") != whole.pop("plan")  # the study's name is part of the plan
    assert resumed == whole


def test_resuming_a_finished_run_writes_its_files_again(comparable: Make, simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    folder = tmp_path / "runs" / "r"
    before = {name: (folder / name).read_bytes() for name in ("receipts.jsonl", "encoder.safetensors", "encoder.md")}
    metrics = comparable(folder)
    for name in (*before, "metrics.json", "report.html"):
        (folder / name).unlink()
    assert simulator("name=r", "--resume").exit_code == 0
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert comparable(folder) == metrics
    assert (folder / "report.html").exists()


def test_a_damaged_arm_is_named_and_can_be_trained_again(comparable: Make, simulator: Make, tmp_path: Path) -> None:
    assert simulator("name=r").exit_code == 0
    path = tmp_path / "runs" / "r" / "arms" / "seed-0" / "federated" / "arm.safetensors"
    metrics = comparable(tmp_path / "runs" / "r")
    path.write_bytes(path.read_bytes()[:100])
    refused = simulator("name=r", "--resume")
    assert refused.exit_code == 8
    assert "arm.safetensors" in refused.stderr
    assert "remove it" in refused.stderr
    path.unlink()
    assert simulator("name=r", "--resume").exit_code == 0
    assert load_result(path.parent) is not None
    assert comparable(tmp_path / "runs" / "r") == metrics
