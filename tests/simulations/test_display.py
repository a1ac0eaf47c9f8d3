"""Live bars on a terminal, a few plain lines elsewhere, TensorBoard files beside them."""

import io
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from server.state import ServerState
from simulations.display import Display


def plain() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=200), file


def state(number: int, **fields: Any) -> ServerState:
    return ServerState(round=number, model={}, **fields)


def test_without_a_terminal_there_is_one_line_an_arm_and_no_control_codes() -> None:
    console, file = plain()
    with Display(console) as display, display.arm("federated", steps=2) as progress:
        progress.step(2.0, 4)
        progress.step(1.0, 4)
        progress.round(state(1), 3)
    lines = file.getvalue().splitlines()
    assert len(lines) == 1
    # 0.98 * 2 + 0.02 * 1 = 1.98
    assert lines[0].startswith("federated: 2 steps, round 1 of 3, loss 1.9800, ")
    assert "images/s" in lines[0]
    assert "\x1b" not in file.getvalue()


def test_on_a_terminal_bars_show_steps_and_loss() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=120)
    with Display(console) as display, display.arm("east alone", steps=5, done=3) as progress:
        progress.step(0.5, 4)
        display.say("a line between")
        time.sleep(0.3)  # the bars are drawn ten times a second
    shown = file.getvalue()
    assert "\x1b" in shown
    assert "4/5" in shown
    assert "loss 0.5000" in shown
    assert "a line between" in shown


def test_a_name_with_brackets_is_no_markup() -> None:
    console, file = plain()
    Display(console).say("[bold]site[/bold] [red")
    assert file.getvalue() == "[bold]site[/bold] [red\n"


def test_an_arm_that_breaks_off_says_nothing_of_an_end() -> None:
    console, file = plain()
    with pytest.raises(ValueError, match="broken"), Display(console) as display, display.arm("fedavg", steps=2):
        raise ValueError("broken")
    assert file.getvalue() == ""


def test_steps_that_an_earlier_process_took_are_counted() -> None:
    console, file = plain()
    with Display(console) as display, display.arm("federated", steps=18) as progress:
        progress.at(12)
        progress.step(1.0, 4)
    assert file.getvalue().startswith("federated: 13 steps")


def test_a_quarantine_is_told() -> None:
    console, file = plain()
    with Display(console) as display, display.arm("federated", steps=1) as progress:
        progress.round(state(1, quarantined={"north": "refused 2 times running"}), 3)
    assert file.getvalue().splitlines()[0] == "federated: north is quarantined: refused 2 times running"


def test_preparing_says_one_line_when_it_is_done() -> None:
    console, file = plain()
    with Display(console) as display:
        for done in (1, 2, 3):
            display.preparing("decoding images", done, 3)
    assert file.getvalue() == "decoding images: 3 done\n"


def test_the_case_mix_is_a_table_of_hospitals_and_organs() -> None:
    console, file = plain()
    Display(console).case_mix({"west": {"breast": 3, "lymph_node": 0}, "east": {"breast": 1, "lymph_node": 2}})
    rows = [line.replace("│", " ").split() for line in file.getvalue().splitlines()]
    assert ["east", "1", "2", "3"] in rows
    assert ["west", "3", "-", "3"] in rows
    assert rows.index(["east", "1", "2", "3"]) < rows.index(["west", "3", "-", "3"])
    assert "lymph node" in file.getvalue()


def test_tensorboard_gets_each_step_with_its_number(tmp_path: Path) -> None:
    console, _ = plain()
    display = Display(console, logs=tmp_path)
    with display, display.arm("local:east", steps=6, done=4) as progress:
        progress.step(2.0, 4)
        progress.step(1.0, 4)
    (folder,) = tmp_path.iterdir()
    assert folder.name == "local_east"
    events = EventAccumulator(str(folder))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/train")] == [(5, 2.0), (6, 1.0)]


def test_without_an_arm_no_log_is_made(tmp_path: Path) -> None:
    console, _ = plain()
    with Display(console, logs=tmp_path / "tensorboard") as display:
        display.say("nothing trained")
    assert not (tmp_path / "tensorboard").exists()
