"""What a person reads while training runs; the shown loss is smoothed, lines outside a terminal are rare."""

import io

from rich.console import Console

from client import progress
from client.progress import Display


def test_nothing_but_asked_lines_is_said_outside_a_terminal_within_seconds() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=80))
    with display.bar("fine-tuning", total=3) as bar:
        for step in range(3):
            bar.step(step, 1.0, 3)
    display.say("[bold]done[/bold]")
    assert out.getvalue() == "[bold]done[/bold]\n"


def test_a_rare_line_tells_step_smoothed_loss_and_validation() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=80))
    with display.bar("fine-tuning", total=4) as bar:
        bar.step(0, 1.0, 4)
        bar.score(0.5)
        display._said -= progress.PLAIN_SECONDS + 1
        bar.step(1, 2.0, 4)
    # 0.9 * 1 + 0.1 * 2
    assert out.getvalue() == "fine-tuning: 2 of 4, loss 1.100, validation 0.500\n"


def test_a_terminal_shows_a_bar_with_loss_and_count() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, force_terminal=True, width=100))
    with display.bar("fine-tuning", total=2) as bar:
        bar.step(0, 1.0, 2)
        display._bars.refresh()
    assert "fine-tuning" in out.getvalue()
    assert "1/2" in out.getvalue()
    assert "loss 1.000" in out.getvalue()
