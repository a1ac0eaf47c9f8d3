"""Organ-aware weights: how much each hospital counts, and what it draws.

With n[k,o] the patients of hospital k with organ o and N[o] their sum over hospitals, the target mix is
q[o] ~ N[o]^tau over the organs held by at least `min_patients` patients, and

    w[k]   = sum_o q[o] n[k,o] / N[o]             server weight, sums to 1
    p_k(o) = q[o] n[k,o] / (N[o] w[k])            probability that hospital k draws organ o

so that sum_k w[k] p_k(o) / n[k,o] = q[o] / N[o]: every patient of organ o is drawn as often as in the pooled data,
and at equal parameters sum_k w[k] E_k[gradient] is the pooled organ-balanced gradient, whatever the case mix.
A cap on w[k] breaks the equality; the receipt of each round records the mix that was reached.

FedAvg, the baseline: w[k] = n[k]/n and p_k(o) = n[k,o]/n[k] (McMahan et al., "Communication-Efficient Learning of Deep
Networks from Decentralized Data", AISTATS 2017, arXiv:1602.05629).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.errors import PlanError

Counts = Mapping[str, Mapping[str, int]]
"""Patients by hospital and organ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """Who counts how much, and draws what. Built by `organ_aware` or `fedavg`."""

    totals: dict[str, int]
    """N[o], patients, over the organs that the study uses."""
    unused: dict[str, int]
    """Organs held by fewer patients than the floor, with their patients."""
    mix: dict[str, float]
    """Target mix q[o]; sums to 1."""
    weights: dict[str, float]
    """Server weight w[k]; sums to 1."""
    draws: dict[str, dict[str, float]]
    """p_k(o) of each hospital; each sums to 1."""


def organ_aware(counts: Counts, *, tau: float, min_patients: int, cap: float = 1.0) -> Allocation:
    """The allocation of the module docstring.

    Args:
        counts: Patients by hospital and organ, as disclosed.
        tau: Exponent of the target mix, 0 (every organ alike) to 1 (natural frequencies).
        min_patients: Floor below which an organ is not used.
        cap: Largest weight of one hospital, in (0, 1]; what is cut goes to the others in proportion.

    Raises:
        PlanError: No organ reaches the floor, a hospital holds none of the organs, or the cap cannot hold.
    """
    totals, unused = _totals(counts, min_patients=min_patients)
    mix = target_mix(totals, tau=tau)
    weights = {site: sum(mix[o] * held.get(o, 0) / totals[o] for o in totals) for site, held in sorted(counts.items())}
    _refuse_idle(weights, totals)
    draws = {
        site: {o: mix[o] * counts[site].get(o, 0) / (totals[o] * weight) for o in totals if counts[site].get(o, 0)}
        for site, weight in weights.items()
    }
    return Allocation(totals=totals, unused=unused, mix=mix, weights=capped(weights, cap=cap), draws=draws)


def fedavg(counts: Counts, *, min_patients: int) -> Allocation:
    """The baseline: weights by patients, and patients drawn alike, over the organs that reach the floor."""
    totals, unused = _totals(counts, min_patients=min_patients)
    everyone = sum(totals.values())
    held = {site: {o: own.get(o, 0) for o in totals if own.get(o, 0)} for site, own in sorted(counts.items())}
    weights = {site: sum(own.values()) / everyone for site, own in held.items()}
    _refuse_idle(weights, totals)
    draws = {site: {o: n / sum(own.values()) for o, n in own.items()} for site, own in held.items()}
    mix = {o: n / everyone for o, n in totals.items()}
    return Allocation(totals=totals, unused=unused, mix=mix, weights=weights, draws=draws)


def target_mix(totals: Mapping[str, int], *, tau: float) -> dict[str, float]:
    """q[o] ~ N[o]^tau, normalized; organs with no patient are left out."""
    powers = {o: float(n) ** tau for o, n in sorted(totals.items()) if n > 0}
    return {o: power / sum(powers.values()) for o, power in powers.items()}


def effective_mix(
    weights: Mapping[str, float], draws: Mapping[str, Mapping[str, float]], contributors: Iterable[str]
) -> dict[str, float]:
    """The organ mix a round reached: sum_S w[k] p_k(o) / sum_S w[k] over the sites that contributed."""
    present = sorted(contributors)
    total = sum(weights[site] for site in present)
    organs = sorted({organ for site in present for organ in draws[site]})
    return {o: sum(weights[s] * draws[s].get(o, 0.0) for s in present) / total for o in organs}


def capped(weights: Mapping[str, float], *, cap: float) -> dict[str, float]:
    """Weights of at most `cap`, the excess shared by the others in proportion to their own weight."""
    if cap * len(weights) < 1.0:
        raise PlanError(
            f"weight_cap {cap} cannot hold with {len(weights)} hospitals; "
            f"use at least {math.ceil(1000 / len(weights)) / 1000}"
        )
    held: set[str] = set()
    result = dict(weights)
    while over := {site for site, weight in result.items() if weight > cap and site not in held}:
        held |= over
        free = sum(weight for site, weight in weights.items() if site not in held)
        room = 1.0 - cap * len(held)
        result = {s: cap if s in held else w * room / free for s, w in weights.items()}
    return result


def _totals(counts: Counts, *, min_patients: int) -> tuple[dict[str, int], dict[str, int]]:
    sums: dict[str, int] = {}
    for held in counts.values():
        for organ, patients in held.items():
            sums[organ] = sums.get(organ, 0) + patients
    used = {o: n for o, n in sorted(sums.items()) if n >= max(1, min_patients)}
    if not used:
        raise PlanError(
            f"no organ is held by {min_patients} patients or more ({_listing(sums)}); lower federation.min_patients"
        )
    return used, {o: n for o, n in sorted(sums.items()) if o not in used}


def _refuse_idle(weights: Mapping[str, float], totals: Mapping[str, int]) -> None:
    idle = [site for site, weight in weights.items() if weight <= 0]
    if idle:
        raise PlanError(
            f"{', '.join(idle)}: holds none of the study's organs ({_listing(totals)}); "
            "leave the hospital out or lower federation.min_patients"
        )


def _listing(totals: Mapping[str, int]) -> str:
    return ", ".join(f"{organ} {n}" for organ, n in sorted(totals.items())) or "no organs at all"
