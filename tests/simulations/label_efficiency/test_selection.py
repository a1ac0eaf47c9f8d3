"""Which hospital stands for training alone."""

import pytest

from simulations.label_efficiency.selection import choose


@pytest.mark.parametrize(
    ("scores", "median", "best"),
    [
        ({"a": 0.1, "b": 0.3, "c": 0.2}, "c", "b"),
        ({"a": 0.1, "b": 0.4, "c": 0.2, "d": 0.3}, "c", "b"),  # of an even number the lower in the middle
        ({"a": 0.2, "b": 0.2}, "a", "a"),  # of equals the first by name
        ({"a": None, "b": 0.1, "c": 0.5}, "b", "c"),  # one without a score is neither
        ({"only": 0.1}, "only", "only"),
        ({"b": None, "a": None}, "a", "a"),
    ],
)
def test_the_median_and_the_best_by_validation_score(scores: dict[str, float | None], median: str, best: str) -> None:
    chosen = choose(scores, budget=32)
    assert (chosen.median, chosen.best) == (median, best)
    assert chosen.arm("local") == f"local:{median}"
    assert chosen.arm("local_best") == f"local:{best}"
    assert chosen.arm("federated") == "federated"
    assert chosen.document()["scores"] == scores
