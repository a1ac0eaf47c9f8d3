"""The usual filter is a filter like ours."""

from collections.abc import Callable

import torch

from core.objectives.frequency import band_stop, ring_bank, ring_masks, ring_radii
from simulations.bench import spectrum
from simulations.bench.rows import Row, Settings


def test_the_row_is_measured(tiny: Settings, check: Callable[[Row, str], None]) -> None:
    check(spectrum.filtering(tiny), "band-stop")


def test_the_usual_form_stops_two_rings_as_one_mask_of_the_bank_does() -> None:
    image_BSS = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    usual = spectrum.usual(image_BSS[:, None].repeat(1, 3, 1, 1), torch.Generator().manual_seed(1))
    radii = ring_radii(centre=spectrum.CENTRE, growth=spectrum.GROWTH, max_step=spectrum.STEP)
    bank_KSF = (~ring_bank(ring_masks(side=64, radii=radii), ratio=0.3, size=64)).float()
    ours = band_stop(image_BSS.expand(len(bank_KSF), -1, -1), passed_BSF=bank_KSF)
    assert (ours - usual[:, 0]).abs().amax(dim=(1, 2)).min() < 1e-5
    assert torch.equal(usual[:, 0], usual[:, 2])
