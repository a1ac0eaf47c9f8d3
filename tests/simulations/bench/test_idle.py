"""The rows on the simulator: our side is a whole study whose clients do everything but train."""

from collections.abc import Callable
from pathlib import Path

import pytest

from server.state import Store
from simulations.bench import idle
from simulations.bench.rows import Row, Settings


def test_an_idle_client_passes_every_check_and_keeps_moments(tiny: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    assert idle.idle_study(tiny, folder, sites=2, rounds=3) > 0
    receipts = Store(folder / "server").receipts()
    assert [sorted(receipt["contributors"]) for receipt in receipts] == [["s00", "s01"]] * 3
    moments = folder / "sites" / "s00" / "moments.pending.safetensors"
    model = folder / "server" / "state.safetensors"
    assert moments.stat().st_size > 1.9 * model.stat().st_size


@pytest.mark.parametrize(("name", "measure"), [("simulator", idle.every_check), ("transport", idle.transport)])
def test_without_ray_a_row_says_so(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch, name: str, measure: Callable[[Settings], Row]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    row = measure(tiny)
    assert row.name == name
    assert row.ratio is None
    assert "flwr[simulation]" in row.skipped
    assert row.sizes.startswith("2 clients a round, a model of ")
