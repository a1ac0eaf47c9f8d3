"""Organ-aware weights: the arithmetic on small counts, and the equality with pooled sampling on any counts."""

import itertools
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.data.manifest import Record
from core.data.sampling import OrganSampler
from core.errors import PlanError
from core.federation.organs import Counts, capped, effective_mix, fedavg, organ_aware, target_mix

TWO = {"a": {"breast": 30, "liver": 10}, "b": {"breast": 10, "liver": 10}}

ORGANS = ("breast", "kidney", "liver", "thyroid")
case_mixes = st.dictionaries(
    st.sampled_from([f"h{number}" for number in range(6)]),
    st.dictionaries(st.sampled_from(ORGANS), st.integers(1, 5000), min_size=1),
    min_size=1,
)
small_mixes = st.dictionaries(
    st.sampled_from(["h0", "h1", "h2", "h3"]),
    st.dictionaries(st.sampled_from(ORGANS), st.integers(1, 4), min_size=1),
    min_size=1,
)


def test_the_weights_of_two_hospitals_by_hand() -> None:
    # N = 40, 20; tau 1: q = 2/3, 1/3. w[a] = 2/3 * 30/40 + 1/3 * 10/20 = 2/3; p_a(breast) = 1/2 / (2/3) = 3/4.
    shares = organ_aware(TWO, tau=1.0, min_patients=1)
    assert shares.totals == {"breast": 40, "liver": 20}
    assert shares.mix == pytest.approx({"breast": 2 / 3, "liver": 1 / 3})
    assert shares.weights == pytest.approx({"a": 2 / 3, "b": 1 / 3})
    assert shares.draws["a"] == pytest.approx({"breast": 3 / 4, "liver": 1 / 4})
    assert shares.draws["b"] == pytest.approx({"breast": 1 / 2, "liver": 1 / 2})


def test_tau_0_takes_every_organ_alike() -> None:
    # q = 1/2, 1/2: w[a] = 1/2 * 30/40 + 1/2 * 10/20 = 5/8.
    shares = organ_aware(TWO, tau=0.0, min_patients=1)
    assert shares.mix == {"breast": 0.5, "liver": 0.5}
    assert shares.weights == pytest.approx({"a": 5 / 8, "b": 3 / 8})


def test_the_default_mix_is_the_square_root() -> None:
    # 16^0.5 = 4 and 4^0.5 = 2, of 6 in all.
    assert target_mix({"breast": 16, "liver": 4, "eye": 0}, tau=0.5) == pytest.approx({"breast": 4 / 6, "liver": 2 / 6})


@given(counts=case_mixes, tau=st.floats(0.0, 1.0), floor=st.integers(1, 60))
def test_every_patient_is_drawn_as_often_as_in_the_pooled_data(counts: Counts, tau: float, floor: int) -> None:
    totals = {o: sum(held.get(o, 0) for held in counts.values()) for o in ORGANS}
    used = {o for o, n in totals.items() if n >= floor}
    assume(used and all(used & set(held) for held in counts.values()))
    shares = organ_aware(counts, tau=tau, min_patients=floor)
    assert sum(shares.weights.values()) == pytest.approx(1.0, abs=1e-12)
    for site, held in counts.items():
        assert sum(shares.draws[site].values()) == pytest.approx(1.0, abs=1e-12)
        for organ in used & set(held):
            federated = shares.weights[site] * shares.draws[site][organ] / held[organ]
            assert abs(federated - shares.mix[organ] / totals[organ]) <= 1e-12
    assert effective_mix(shares.weights, shares.draws, counts) == pytest.approx(shares.mix, abs=1e-12)


@settings(max_examples=50)
@given(counts=small_mixes, tau=st.floats(0.0, 1.0), frames=st.integers(1, 3))
def test_the_samplers_of_the_hospitals_draw_each_image_as_often_as_the_pooled_sampler(
    counts: Counts, tau: float, frames: int
) -> None:
    held = {
        site: [
            Record(image=Path(f"/{site}-{organ}-{n}-{f}.png"), organ=organ, patient=f"{site}-{organ}-{n}")
            for organ, patients in mix.items()
            for n in range(patients)
            for f in range(1 + n % frames)
        ]
        for site, mix in counts.items()
    }
    shares = organ_aware(counts, tau=tau, min_patients=1)
    federated = {}
    for site, records in held.items():
        chances = OrganSampler(records, shares.draws[site]).image_probabilities()
        federated |= {
            record.image: shares.weights[site] * chance for record, chance in zip(records, chances, strict=True)
        }
    everything = [record for records in held.values() for record in records]
    pooled = OrganSampler(everything, shares.mix).image_probabilities()
    for record, chance in zip(everything, pooled, strict=True):
        assert abs(federated[record.image] - chance) <= 1e-12


@given(counts=case_mixes)
def test_fedavg_draws_every_patient_alike(counts: Counts) -> None:
    shares = fedavg(counts, min_patients=1)
    everyone = sum(sum(held.values()) for held in counts.values())
    for site, held in counts.items():
        for organ, patients in held.items():
            chance = shares.weights[site] * shares.draws[site][organ] / patients
            assert abs(chance - 1 / everyone) <= 1e-12


def test_fedavg_by_hand() -> None:
    shares = fedavg({"a": {"breast": 30, "eye": 2}, "b": {"breast": 5, "liver": 5}}, min_patients=3)
    assert shares.weights == {"a": 30 / 40, "b": 10 / 40}
    assert shares.draws == {"a": {"breast": 1.0}, "b": {"breast": 0.5, "liver": 0.5}}
    assert shares.mix == {"breast": 35 / 40, "liver": 5 / 40}
    assert shares.unused == {"eye": 2}


def test_tau_1_equals_fedavg() -> None:
    aware, average = organ_aware(TWO, tau=1.0, min_patients=1), fedavg(TWO, min_patients=1)
    assert aware.weights == pytest.approx(average.weights)
    assert aware.draws["a"] == pytest.approx(average.draws["a"])


@given(counts=case_mixes)
def test_the_order_in_which_hospitals_answer_changes_no_bit(counts: Counts) -> None:
    turned = {site: dict(reversed(held.items())) for site, held in reversed(counts.items())}
    assert organ_aware(turned, tau=0.5, min_patients=1) == organ_aware(counts, tau=0.5, min_patients=1)


def test_an_organ_below_the_floor_is_not_drawn_and_is_named() -> None:
    shares = organ_aware({"a": {"breast": 30, "eye": 3}, "b": {"breast": 10, "eye": 1}}, tau=0.5, min_patients=5)
    assert shares.unused == {"eye": 4}
    assert shares.mix == {"breast": 1.0}
    assert shares.draws == {"a": {"breast": 1.0}, "b": {"breast": 1.0}}


def test_the_floor_counts_patients_over_all_hospitals() -> None:
    assert organ_aware({"a": {"eye": 3}, "b": {"eye": 2}}, tau=0.5, min_patients=5).totals == {"eye": 5}


def test_no_organ_reaches_the_floor() -> None:
    with pytest.raises(PlanError, match=r"no organ is held by 20 patients or more \(eye 4\); lower"):
        organ_aware({"a": {"eye": 4}}, tau=0.5, min_patients=20)


@pytest.mark.parametrize("counts", [{}, {"a": {}}, {"a": {"eye": 0}}])
def test_counts_of_nobody_are_refused_even_with_a_floor_of_one(counts: Counts) -> None:
    with pytest.raises(PlanError, match="no organ is held"):
        organ_aware(counts, tau=0.5, min_patients=1)


@pytest.mark.parametrize(
    "weigh", [lambda c: organ_aware(c, tau=0.5, min_patients=5), lambda c: fedavg(c, min_patients=5)]
)
def test_a_hospital_with_none_of_the_organs_is_named(weigh) -> None:
    with pytest.raises(PlanError, match="b: holds none of the study's organs"):
        weigh({"a": {"breast": 30}, "b": {"eye": 3, "breast": 0}})


def test_the_effective_mix_of_the_sites_that_came() -> None:
    # Only b came, of weights 2/3 and 1/3: what it draws. Both: the target.
    shares = organ_aware(TWO, tau=1.0, min_patients=1)
    assert effective_mix(shares.weights, shares.draws, ["b"]) == pytest.approx({"breast": 1 / 2, "liver": 1 / 2})
    assert effective_mix(shares.weights, shares.draws, ["b", "a"]) == pytest.approx({"breast": 2 / 3, "liver": 1 / 3})


def test_a_cap_breaks_the_equality_and_the_effective_mix_says_by_how_much() -> None:
    # w = 1/2, 1/2 in place of 2/3, 1/3: breast 1/2 * 3/4 + 1/2 * 1/2 = 5/8, not 2/3.
    shares = organ_aware(TWO, tau=1.0, min_patients=1, cap=0.5)
    assert shares.weights == pytest.approx({"a": 0.5, "b": 0.5})
    assert effective_mix(shares.weights, shares.draws, TWO)["breast"] == pytest.approx(5 / 8)


def test_the_excess_over_the_cap_goes_to_the_others_in_proportion() -> None:
    # 0.5 is left for 0.2 and 0.1: 2 to 1.
    assert capped({"a": 0.7, "b": 0.2, "c": 0.1}, cap=0.5) == pytest.approx({"a": 0.5, "b": 1 / 3, "c": 1 / 6})


def test_a_hospital_lifted_over_the_cap_is_capped_too() -> None:
    # a at 0.4 lifts b to 0.35 * 0.6 / 0.4 = 0.525; b at 0.4 leaves 0.2.
    assert capped({"a": 0.6, "b": 0.35, "c": 0.05}, cap=0.4) == pytest.approx({"a": 0.4, "b": 0.4, "c": 0.2})


@given(shares=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=12), room=st.floats(0.0, 1.0))
def test_capped_weights_keep_sum_order_and_bound(shares: list[float], room: float) -> None:
    weights = {f"h{i:02}": share / sum(shares) for i, share in enumerate(shares)}
    least = 1 / len(weights) * (1 + 1e-9)
    cap = min(1.0, least + room * (1 - least))
    result = capped(weights, cap=cap)
    assert sum(result.values()) == pytest.approx(1.0, abs=1e-9)
    assert max(result.values()) <= cap + 1e-12
    ordered = sorted(weights, key=weights.__getitem__)
    assert all(result[a] <= result[b] + 1e-12 for a, b in itertools.pairwise(ordered))


@pytest.mark.parametrize("hospitals", range(2, 60))
def test_the_cap_that_the_error_names_can_hold(hospitals: int) -> None:
    weights = {f"h{number}": 1 / hospitals for number in range(hospitals)}
    with pytest.raises(PlanError) as caught:
        capped(weights, cap=0.5 / hospitals)
    advice = float(str(caught.value).rsplit(" ", 1)[1])
    assert sum(capped(weights, cap=advice).values()) == pytest.approx(1.0)
