"""Where organs, probes and seeds stand in a run's metrics."""

import pytest

from core.evaluation.scores import is_segmentation, labelled, organs_of, probe_label, probes_of, seed_arms, seeds_of


@pytest.mark.parametrize(
    ("probe", "budget", "kind", "label"),
    [
        ("linear", None, "classification", "linear"),
        ("knn", None, "classification", "k-NN"),
        ("frozen", None, "segmentation", "frozen, linear map"),
        ("finetune_8", 8, "segmentation", "fine-tuned, 8 patients"),
        ("finetune_", None, "classification", "finetune_"),
        ("finetune_²", None, "classification", "finetune_²"),
        ("new", None, "classification", "new"),
    ],
)
def test_a_probe_tells_its_kind_by_its_name(probe: str, budget: int | None, kind: str, label: str) -> None:
    assert (labelled(probe), is_segmentation(probe), probe_label(probe)) == (budget, kind == "segmentation", label)


def test_few_label_probes_go_up_in_labels_after_the_frozen_one() -> None:
    probes = {name: {} for name in ("finetune_32", "knn", "finetune_8", "frozen", "linear")}
    metrics = {"arms": {"federated": {"tasks": {"t": probes}}}}
    assert [probe for _, probe in probes_of(metrics)] == ["linear", "knn", "frozen", "finetune_8", "finetune_32"]
    assert [probe for _, probe in probes_of(metrics, segmentation=False)] == ["linear", "knn"]


def test_the_rarest_organ_stands_first_and_the_rest_by_name() -> None:
    arms = {"federated": {"held_out_loss": {"overall": 1, "heart": 1, "liver": 1, "breast": 1}}}
    assert organs_of({"arms": arms, "rarest": ["liver", "gone", "liver"]}) == ["liver", "breast", "heart"]
    assert organs_of({"arms": arms}) == ["breast", "heart", "liver"]


def test_a_single_seed_is_no_spread() -> None:
    entry = {"arms": {"federated": {"images": 1}}}
    assert seeds_of({"by_seed": {"0": entry}}) == {}
    both = {"by_seed": {"0": entry, "4": {"arms": {}}}}
    assert list(seed_arms(both, "federated")) == [("0", {"images": 1})]
