"""Both sides of the rows on aggregation come to the same model."""

from collections.abc import Callable

import numpy as np
import pytest

from core.federation.tensors import Tensors
from server.spool import Spool
from simulations.bench import flower, folding
from simulations.bench.rows import Row, Settings

Check = Callable[[Row, str], None]


@pytest.mark.parametrize(
    ("name", "measure"),
    [("fold", folding.folding), ("wire", folding.from_the_wire), ("wire-memory", folding.memory)],
)
def test_each_row_is_measured(tiny: Settings, check: Check, name: str, measure: Callable[[Settings], Row]) -> None:
    check(measure(tiny), name)


def flowers(base: Tensors) -> Tensors:
    mean = flower.aggregate([flower.reply(folding.trained(base, number)) for number in range(3)])
    return {name: array.numpy() for name, array in mean.items()}


def test_the_fold_gives_flowers_mean(tiny: Settings) -> None:
    base = folding.model(tiny)
    with Spool() as spool:
        for number in range(3):
            spool.add(f"s{number:02d}", folding.trained(base, number))
        ours = folding.stepped(spool, base, "exact")
    for name, value in flowers(base).items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6)


def test_the_round_from_the_wire_gives_flowers_mean_up_to_bf16(tiny: Settings) -> None:
    base = folding.model(tiny)
    plan = folding.study(base, sites=3)
    ours = folding.round_of(folding.replies(base, plan, different=3), plan=plan, base=base)
    for name, value in flowers(base).items():
        # bf16 keeps 8 bits of a difference of about STEP, at most five times it.
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=5 * folding.STEP / 256)


def test_the_large_model_is_as_large_as_vit_base(tiny: Settings) -> None:
    small = folding.model(tiny)
    assert sum(value.nbytes for value in small.values()) < 1e6
    assert all(value.dtype == np.float32 for value in small.values())
