"""Organ, then patient, then frame: the exact probabilities, and that draws follow them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.manifest import Record
from core.data.sampling import OrganSampler
from core.errors import DataError
from core.seeding import numpy_generator

ROWS = st.lists(
    st.tuples(st.sampled_from(["breast", "liver", "lung", "unknown"]), st.integers(0, 5)), min_size=1, max_size=40
)


def records_of(rows: list[tuple[str, int]]) -> list[Record]:
    return [Record(image=Path(f"/{n}.png"), organ=organ, patient=f"p{p}") for n, (organ, p) in enumerate(rows)]


def example() -> tuple[list[Record], dict[str, float]]:
    """Breast: patient 1 with one frame, patient 2 with three; lung: patient 2 with two frames; one unknown."""
    rows = [("breast", 1), ("breast", 2), ("lung", 2), ("breast", 2), ("unknown", 3), ("lung", 2), ("breast", 2)]
    return records_of(rows), {"breast": 0.6, "lung": 0.4, "heart": 0.0}


def test_probabilities_worked_out_by_hand() -> None:
    records, probabilities = example()
    # breast 0.6: over 2 patients 0.3 each; p1 has 1 frame: 0.3; p2 has 3: 0.1 each.
    # lung 0.4: one patient with 2 frames: 0.2 each.
    expected = [0.3, 0.1, 0.2, 0.1, 0.0, 0.2, 0.1]
    assert OrganSampler(records, probabilities).image_probabilities() == pytest.approx(expected, abs=1e-15)


@given(rows=ROWS, weights=st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_each_probability_is_organ_over_patients_over_frames(rows: list, weights: list[float]) -> None:
    records = records_of(rows)
    held = {record.organ for record in records} - {"unknown"}
    raw = {organ: weight for organ, weight in zip(["breast", "liver", "lung"], weights, strict=True) if organ in held}
    if sum(raw.values()) < 1e-6:
        return
    probabilities = {organ: weight / sum(raw.values()) for organ, weight in raw.items()}
    found = OrganSampler(records, probabilities).image_probabilities()
    for record, chance in zip(records, found, strict=True):
        patients = {other.patient for other in records if other.organ == record.organ}
        frames = [other for other in records if (other.organ, other.patient) == (record.organ, record.patient)]
        expected = probabilities.get(record.organ, 0) / len(patients) / len(frames)
        assert chance == pytest.approx(expected, rel=1e-12)
    assert found.sum() == pytest.approx(1, abs=1e-12)


@given(rows=ROWS.filter(lambda rows: any(organ != "unknown" for organ, _ in rows)), seed=st.integers(0, 2**30))
def test_only_rows_with_a_chance_are_drawn(rows: list, seed: int) -> None:
    records = records_of(rows)
    organs = sorted({record.organ for record in records} - {"unknown"})
    sampler = OrganSampler(records, {organ: 1 / len(organs) for organ in organs})
    drawn = sampler.draw(numpy_generator(seed), 64)
    assert drawn.dtype == np.int64
    assert drawn.shape == (64,)
    assert (sampler.image_probabilities()[drawn] > 0).all()


def test_draws_follow_the_probabilities() -> None:
    records, probabilities = example()
    sampler = OrganSampler(records, probabilities)
    counts = Counter(sampler.draw(numpy_generator(3), 40_000).tolist())
    # Standard deviation of a frequency: at most sqrt(0.3 * 0.7 / 40000) = 0.0023; five of them are 0.0115.
    found = [counts[row] / 40_000 for row in range(len(records))]
    assert found == pytest.approx(sampler.image_probabilities().tolist(), abs=0.0115)


def test_the_generator_alone_decides() -> None:
    records, probabilities = example()
    first, second = OrganSampler(records, probabilities), OrganSampler(records, dict(reversed(probabilities.items())))
    assert (first.draw(numpy_generator(5), 99) == second.draw(numpy_generator(5), 99)).all()


@pytest.mark.parametrize(
    ("probabilities", "says"),
    [
        ({"breast": 0.5, "lung": 0.4}, "sum to 0.9 instead of 1"),
        ({}, "sum to 0 instead of 1"),
        ({"breast": 1.5, "lung": -0.5}, "'lung': probability -0.5"),
        ({"breast": float("nan"), "lung": 1.0}, "'breast': probability nan"),
        ({"breast": 0.5, "heart": 0.5}, "'heart': has no patient here"),
        ({"breast": 0.5, "unknown": 0.5}, "'unknown': is never drawn"),
    ],
)
def test_bad_probabilities_are_refused(probabilities: dict[str, float], says: str) -> None:
    with pytest.raises(DataError, match=says):
        OrganSampler(example()[0], probabilities)
