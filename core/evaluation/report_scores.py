"""The report's sections of what came out: the closed gap, the organs, segmentation, classification."""

from collections.abc import Mapping
from typing import Any

from core.evaluation import result_tables
from core.evaluation.arms import arm_label
from core.evaluation.claim import over
from core.evaluation.drawing import Drawing
from core.evaluation.report_page import figure, folded, section
from core.evaluation.report_tables import plain_table
from core.evaluation.scores import organs_of, seeds_of

Metrics = Mapping[str, Any]
Drawings = Mapping[str, Drawing | None]


def gap_section(metrics: Metrics, drawings: Drawings) -> str:
    """How much of the gap was closed: over all seeds, and by each."""
    caption = (
        "How far federation comes from hospitals that train alone (0) to one model on the pooled images (1), in "
        f"held-out loss. Bars are 95% intervals {over(metrics)}."
    )
    if seeds_of(metrics):
        caption += " Hollow: one training seed, its bar over patients alone."
    return section(
        "The gap closed",
        figure(drawings["gap"], caption=caption),
        folded("By training seed, as a table", plain_table(result_tables.by_seed(metrics))),
    )


def organs_section(metrics: Metrics, drawings: Drawings) -> str:
    """Held-out loss by organ as marks and as a table, and the differences that were tested."""
    first = "The rarest organ stands first. " if metrics.get("rarest") else ""
    dots = " Small dots are single training seeds." if seeds_of(metrics) else ""
    caption = (
        f"Lower is better. {first}Compare the arms within a row: organs differ in how hard they are.{dots} Random "
        "weights would lie far to the right; they stand in the table."
    )
    tested = (
        f"Bars are 95% intervals {over(metrics)}. A bar that crosses the dotted line does not tell the two apart. "
        "For a loss, left of the line is in favour of the first that is named; for Dice and accuracy, right of it."
    )
    return section(
        "Held-out loss by organ",
        figure(drawings["losses"], caption=caption),
        plain_table(result_tables.losses(metrics)) if organs_of(metrics) else "",
        figure(drawings["differences"], caption=tested),
        folded("What the differences mean", plain_table(result_tables.comparisons(metrics))),
    )


def segmentation_section(metrics: Metrics, drawings: Drawings) -> str:
    """Dice from the frozen encoder and after few-label fine-tuning."""
    dots = " Small dots are single training seeds." if seeds_of(metrics) else ""
    caption = (
        "Dice on patients that no arm has seen, higher is better: to the left a linear map from the frozen encoder's "
        "tokens, then the encoder fine-tuned with few labelled patients; lines join the label budgets. Bars are 95% "
        f"intervals; those that overlap widely do not tell two arms apart.{dots}"
    )
    return section(
        "Segmentation",
        figure(drawings["segmentation"], caption=caption),
        plain_table(result_tables.scores(metrics, segmentation=True), ours=arm_label("federated")),
    )


def scores_section(drawings: Drawings) -> str:
    """What classifiers read from the frozen encoder."""
    caption = (
        "How much a simple classifier reads from the frozen encoder, on patients that no arm has seen. Filled: "
        "logistic regression; hollow, dashed: k nearest neighbours. The dotted line is chance. Bars that overlap "
        "widely do not tell two arms apart; an arm without a point has no score (see the notes under the table)."
    )
    return section("Scores on tasks", figure(drawings["probes"], caption=caption))
