"""Names and order of the arms."""

from core.evaluation.arms import arm_label, arm_meaning, main_first


def test_the_main_arms_go_from_the_floor_to_the_reference() -> None:
    main, rest = main_first(["local:b", "federated", "centralized_long", "local:a", "random_init", "centralized_wide"])
    assert main == ["random_init", "federated"]
    assert rest == ["centralized_wide", "centralized_long", "local:a", "local:b"]


def test_a_hospital_and_an_unknown_arm_keep_their_names() -> None:
    assert arm_label("local:st_mary") == "st_mary alone"
    assert arm_label("new_arm") == "new_arm"


def test_the_reference_says_which_way_of_pooling_it_is() -> None:
    assert arm_meaning("centralized", "centralized_wide").endswith("(here: pooled, wide batch)")
