"""The report's sections of what came out."""

from typing import Any

from core.evaluation.report_scores import gap_section, organs_section, scores_section, segmentation_section
from core.evaluation.score_figures import closed_gap, differences, organ_losses, probe_scores, segmentation_scores

NOTHING = {"gap": None, "losses": None, "differences": None, "segmentation": None, "probes": None}


def test_a_run_with_nothing_has_no_section() -> None:
    bare: dict[str, Any] = {"arms": {"federated": {}}}
    sections = (gap_section(bare, NOTHING), organs_section(bare, NOTHING), segmentation_section(bare, NOTHING))
    assert [*sections, scores_section(NOTHING)] == [""] * 4


def test_captions_speak_of_seeds_only_where_there_are_some(metrics: dict[str, Any], grown: dict[str, Any]) -> None:
    for run, several in ((metrics, False), (grown, True)):
        drawings = {"gap": closed_gap(run), "losses": organ_losses(run), "differences": differences(run),
                    "segmentation": segmentation_scores(run), "probes": probe_scores(run)}  # fmt: skip
        text = gap_section(run, drawings) + organs_section(run, drawings)
        assert ("one training seed, its bar over patients alone" in text) is several
        assert ("Small dots are single training seeds" in text) is several
        assert ("The rarest organ stands first" in text) is several


def test_the_table_sets_intervals_below_their_numbers(grown: dict[str, Any]) -> None:
    drawings = {**NOTHING, "losses": organ_losses(grown)}
    assert "<td>-0.100<small>-0.150 to -0.050</small></td>" in organs_section(grown, drawings)
