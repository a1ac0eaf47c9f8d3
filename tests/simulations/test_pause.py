"""A site that is refused again and again is asked no more; too few sites pause the run, and nothing is lost."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.errors import FederationPaused
from simulations.grid import InProcessGrid

SITE = "north"
Make = Callable[..., Any]


def test_a_site_refused_twice_running_is_asked_no_more(
    federate: Make, skipping: Make, faulty_grid: Make, poison: Make, tmp_path: Path
) -> None:
    grid = partial(faulty_grid, mangle=poison, faults=[(SITE, 0), (SITE, 1)])
    run = federate(tmp_path / "faulty", "federation.rounds=4", grid=grid)
    assert run.state.digest == skipping("federation.rounds=4", f"skip.{SITE}=[0,1,2,3]").state.digest
    assert list(run.state.quarantined) == [SITE]
    assert "refused 2 times running, last: site north, round 1: " in run.state.quarantined[SITE]
    assert [list(receipt["quarantined"]) for receipt in run.receipts] == [[], [SITE], [SITE], [SITE]]
    assert SITE not in {**run.receipts[2]["absent"], **run.receipts[2]["refused"]}
    # Two sites of three are asked in rounds 2 and 3: 3 + 3 + 2 + 2 models went down.
    model = sum(value.nbytes for value in run.state.model.values())
    assert run.state.bytes_down == 10 * model


def test_refusals_with_a_good_round_between_them_do_not_quarantine(
    federate: Make, skipping: Make, faulty_grid: Make, poison: Make, tmp_path: Path
) -> None:
    grid = partial(faulty_grid, mangle=poison, faults=[(SITE, 0), (SITE, 2)])
    run = federate(tmp_path / "faulty", grid=grid)
    assert run.state.quarantined == {}
    assert run.state.digest == skipping(f"skip.{SITE}=[0,2]").state.digest


def test_too_few_updates_pause_the_run_and_resuming_without_the_fault_ends_as_if_there_had_been_none(
    federate: Make, skipping: Make, faulty_grid: Make, poison: Make, tmp_path: Path
) -> None:
    with pytest.raises(FederationPaused) as caught:
        federate(tmp_path / "faulty", "federation.min_sites=3", grid=partial(faulty_grid, mangle=poison))
    assert "round 1 has 2 of at least 3 updates and stays open" in str(caught.value)
    assert f"{SITE}: site {SITE}, round 1: " in str(caught.value)
    assert "holds NaN or infinity" in str(caught.value)
    assert caught.value.exit_code == 7

    resumed = federate(tmp_path / "faulty", "federation.min_sites=3")
    assert resumed.state.digest == skipping().state.digest
    assert resumed.lines == skipping("federation.min_sites=3").lines


def test_refusals_count_across_pauses_until_a_person_lifts_the_quarantine(
    federate: Make, skipping: Make, faulty_grid: Make, poison: Make, tmp_path: Path
) -> None:
    faulty = partial(faulty_grid, mangle=poison)
    told = []
    for grid in (faulty, faulty, InProcessGrid):  # refused, refused again, and now the fault is gone
        with pytest.raises(FederationPaused) as caught:
            federate(tmp_path / "faulty", "federation.min_sites=3", grid=grid)
        told.append(str(caught.value))
    assert f"{SITE}: quarantined" not in told[0]
    assert f"{SITE}: quarantined (refused 2 times running" in told[1]
    assert f"{SITE}: quarantined (refused 2 times running" in told[2]

    resumed = federate(tmp_path / "faulty", "federation.min_sites=3", reinstate=SITE)
    assert resumed.state.quarantined == {}
    assert resumed.state.digest == skipping().state.digest


def test_a_quarantine_that_leaves_too_few_sites_pauses_with_every_reason(
    federate: Make, faulty_grid: Make, poison: Make, tmp_path: Path
) -> None:
    grid = partial(faulty_grid, mangle=poison, faults=[(SITE, 0), (SITE, 1), ("west", 2)])
    with pytest.raises(FederationPaused) as caught:
        federate(tmp_path / "faulty", grid=grid)
    text = str(caught.value)
    assert "round 2 has 1 of at least 2 updates" in text
    assert f"{SITE}: quarantined (refused 2 times running" in text
    assert "west: site west, round 2" in text
    resumed = federate(tmp_path / "faulty")
    assert resumed.state.round == 3
    assert sorted(resumed.receipts[2]["contributors"]) == ["east", "west"]


def test_nobody_answers(federate: Make, tmp_path: Path) -> None:
    with pytest.raises(FederationPaused, match="round 0 has 0 of at least 2 updates"):
        federate(tmp_path / "faulty", "skip.east=[0]", "skip.north=[0]", "skip.west=[0]")
