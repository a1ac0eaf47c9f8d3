"""What arms are called and how they are drawn."""

from core.evaluation.drawing import look_of
from core.evaluation.label_efficiency.looks import arm_look, arm_name


def test_arms_are_called_and_drawn_as_in_every_other_report() -> None:
    assert [arm_name(arm) for arm in ("random_init", "federated", "local_best")] == [
        "random weights", "federated (ours)", "one hospital, best"
    ]  # fmt: skip
    assert arm_look("federated") == look_of("federated")


def test_the_median_hospital_and_public_weights_have_names_and_looks_of_their_own() -> None:
    assert [arm_name(arm) for arm in ("local", "public", "public:usfm")] == [
        "one hospital, median", "public weights", "usfm (public)"
    ]  # fmt: skip
    arms = ("random_init", "local", "local_best", "federated", "centralized", "public")
    assert len({arm_look(arm)[:3] for arm in arms}) == len(arms)
