"""Several runs side by side: what differs between them, and what came out, as HTML or Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.evaluation import markdown, run_figures
from core.evaluation.arms import arm_label
from core.evaluation.claim import claim, over
from core.evaluation.formats import NONE, loss, seconds, share, size, with_interval, words
from core.evaluation.formats import difference as difference_text
from core.evaluation.intervals import difference
from core.evaluation.report_page import bullets, figure, page, section, text
from core.evaluation.report_tables import plain_table
from core.evaluation.result_tables import Table
from core.evaluation.scores import probe_label, probes_in, score_of
from simulations.reproduce import PLACES, described
from simulations.saved_run import SavedRun, Settings

ARMS = ("random_init", "local_mean", "federated", "centralized")
"""Whose held-out loss the table shows."""
UNTRAINED = ("evaluation.segmentation", "evaluation.tasks", "sim.")
"""Settings that change no trained weight."""
HELD_OUT = ("seed", "data.", "encoder.side", "encoder.patch", "evaluation.masks", "evaluation.on")
"""What decides which images and corruptions a held-out loss is of, beside the objective."""
OTHER_OBJECTIVE = (
    "A dash stands where a run's loss does not compare with the first run's: it has another objective, or no "
    "config.yaml that tells. The closed gap is a ratio within a run, Dice and accuracy have a scale of their own: "
    "these still compare."
)


def differing(runs: Sequence[SavedRun]) -> list[str]:
    """Settings in which the runs differ, but for their names and where their files lie; by name."""
    known = [run.settings for run in runs if run.settings is not None]
    keys = sorted({key for settings in known for key in settings} - {"name", *PLACES})
    return [key for key in keys if any(_unlike(settings, known[0], key) for settings in known)]


def _unlike(one: Settings, other: Settings, key: str) -> bool:
    return (key in one) != (key in other) or one.get(key) != other.get(key)


def comparable(run: SavedRun, first: SavedRun) -> bool:
    """Whether a run's losses compare with the first run's: the objective is known and the same."""
    if run is first:
        return True
    if run.settings is None or first.settings is None:
        return False
    return _starting(run.settings, ("objective",)) == _starting(first.settings, ("objective",))


def _starting(settings: Settings, prefixes: tuple[str, ...]) -> Settings:
    return {key: value for key, value in settings.items() if key.startswith(prefixes)}


def cautions(runs: Sequence[SavedRun]) -> list[str]:
    """What a reader should know before comparing numbers of these runs."""
    first, found = runs[0], []
    dashed = [run.name for run in runs if not comparable(run, first)]
    if dashed:
        found.append(f"{OTHER_OBJECTIVE} Here: {', '.join(dashed)}.")
    others = [run.name for run in runs
              if run.settings is not None and first.settings is not None
              and _held_out(run.settings) != _held_out(first.settings)]  # fmt: skip
    if others:
        found.append(
            f"Other held-out patients or corruptions than in {first.name} (seed, data, encoder or masks differ), so "
            f"losses and scores are of other images: {', '.join(others)}."
        )
    mixes = [run.name for run in runs if run.metrics.get("mix") != first.metrics.get("mix")]
    if mixes:
        found.append(
            f"Organs are weighted otherwise than in {first.name} (another target mix), so losses over all organs and "
            f"closed gaps mean something else; losses by organ compare: {', '.join(mixes)}."
        )
    if unknown := [run.name for run in runs if run.settings is None]:
        found.append(f"No config.yaml, so what differs is not known: {', '.join(unknown)}.")
    found.append("Intervals are within a run; two that overlap, or do not, are no test of the difference between runs.")
    return found


def _held_out(settings: Settings) -> Settings:
    return {key: value for key, value in _starting(settings, HELD_OUT).items() if key not in (*PLACES, "seeds")}


def settings_table(runs: Sequence[SavedRun]) -> Table:
    """A row for each setting in which the runs differ, a column a run."""
    rows = [[key, *(described(run.settings or {}, key) for run in runs)] for key in differing(runs)]
    return Table(["setting", *(run.name for run in runs)], rows, words=range(1, len(runs) + 1))


def results_table(runs: Sequence[SavedRun]) -> Table:
    """A row a run: settings that differ, losses, the closed gap, the rarest organ, Dice of the federated arm."""
    head = ["run", "settings unlike the first run's", *(f"loss, {arm_label(arm)}" for arm in ARMS)]
    head += ["federated minus the first run (95% interval)"]
    head += ["gap closed (95% interval)", "gap closed by FedAvg", "loss of the rarest organ, federated"]
    scored = [(arm, *pair) for pair in _pairs(runs) for arm in _scored(runs)]
    head += [f"Dice, {words(task)}, {probe_label(probe)}, {arm_label(arm)}" for arm, task, probe in scored]
    rows = []
    for run in runs:
        metrics, arms = run.metrics, run.metrics["arms"]
        shown = comparable(run, runs[0])
        losses = [_loss(arms.get(arm), "overall") if shown else NONE for arm in ARMS]
        gaps = [with_interval(metrics.get(key), share) for key in ("gap_closed", "gap_closed_fedavg")]
        rarest = next(iter(metrics.get("rarest") or []), None)
        rare = (
            f"{_loss(arms['federated'], rarest)} ({words(rarest)})"
            if rarest and shown and "federated" in arms
            else NONE
        )
        dice = [
            with_interval(score_of(arms.get(arm) or {}, task, probe), share, key="mean") for arm, task, probe in scored
        ]
        beside = _beside(run, runs[0]) if shown else NONE
        rows.append([run.name, _settings(run, runs[0]), *losses, beside, *gaps, rare, *dice])
    known = [column for column in range(len(head)) if column < 2 or any(row[column] != NONE for row in rows)]
    return Table([head[i] for i in known], [[row[i] for i in known] for row in rows], words=(1,))


def _beside(run: SavedRun, first: SavedRun) -> str:
    """Federated held-out loss of a run minus the first run's, by the first's mix, paired over patients and seeds.

    Nothing where the seeds or the patients are others.
    """
    mine, others, mix = run.federated_losses(), first.federated_losses(), first.metrics.get("mix")
    if run is first or not mine or not mix or {*mine} != {*others}:
        return NONE
    if any({*losses} != {*others[seed]} for seed, losses in mine.items()):
        return NONE
    value, low, high = difference([*mine.values()], [others[seed] for seed in mine], mix=mix, seed=0)
    return f"{difference_text(value)} ({difference_text(low)} to {difference_text(high)})"


def _settings(run: SavedRun, first: SavedRun) -> str:
    """Where a run's training differs from the first run's; what changes no weight is left out."""
    if run.settings is None or first.settings is None:
        return NONE
    mine, others = run.settings, first.settings
    keys = [key for key in differing([first, run]) if not key.startswith(UNTRAINED) and _unlike(mine, others, key)]
    return "; ".join(f"{key}={described(mine, key)}" for key in keys) or "none"


def _scored(runs: Sequence[SavedRun]) -> list[str]:
    """Whose Dice the table shows: random weights, and the federated arm, or the pooled one where no run has that."""
    there = {arm for run in runs for arm in run.metrics["arms"]}
    return [arm for arm in ("random_init", "federated" if "federated" in there else "centralized") if arm in there]


def _pairs(runs: Sequence[SavedRun]) -> list[tuple[str, str]]:
    return probes_in([arm for run in runs for arm in run.metrics["arms"].values()], segmentation=True)


def _loss(arm: Mapping[str, Any] | None, organ: str) -> str:
    return loss((arm or {}).get("held_out_loss", {}).get(organ))


def organs_table(runs: Sequence[SavedRun]) -> Table:
    """Held-out loss of the federated arm (or the pooled one): a row an organ, a column a run whose losses compare."""
    arm = "federated" if any("federated" in run.metrics["arms"] for run in runs) else "centralized"
    start = runs[0].metrics["arms"].get("random_init")
    rows = []
    for organ in [*run_figures.organ_order([run.metrics for run in runs]), "overall"]:
        values = [_loss(run.metrics["arms"].get(arm), organ) if comparable(run, runs[0]) else NONE for run in runs]
        first = [_loss(start, organ)] if start else []
        rows.append(["all" if organ == "overall" else words(organ), *first, *values])
    return Table(["organ", *(["random weights"] if start else []), *(run.name for run in runs)], rows)


def cost_table(runs: Sequence[SavedRun]) -> Table:
    """A row a run: training time of all arms, rounds, traffic."""
    rows = []
    for run in runs:
        volume, timing = run.metrics.get("bytes") or {}, run.metrics.get("timing") or {}
        ways = [size(volume.get(way)) for way in ("up", "down")]
        rows.append([run.name, str(run.metrics.get("rounds", NONE)), seconds(timing.get("seconds")), *ways])
    return Table(["run", "rounds", "training, all arms", "to the server", "to the hospitals"], rows)


def _without(found: Table, column: int) -> Table:
    """A table of numbers without one of its columns."""
    head, *rows = ([cell for at, cell in enumerate(row) if at != column] for row in (found.head, *found.rows))
    return Table(head, rows)


def as_markdown(runs: Sequence[SavedRun]) -> str:
    """The results, losses by organ, and cautions."""
    found, organs = results_table(runs), organs_table(runs)
    return (
        f"{markdown.table(found.head, found.rows, words=found.words)}\n\n"
        f"Held-out loss by organ:\n\n{markdown.table(organs.head, organs.rows)}\n\n"
        f"{markdown.bullets(cautions(runs))}\n"
    )


def as_page(runs: Sequence[SavedRun]) -> str:
    """The page, one file; names of runs are escaped everywhere."""
    every = {run.name: run.metrics for run in runs}
    alike = {run.name: run.metrics for run in runs if comparable(run, runs[0])}
    title = f"{len(runs)} runs side by side" if len(runs) > 1 else "One run"
    return page(
        title=title,
        body="\n".join(
            [
                f"<h1>{text(title)}</h1>",
                bullets(f"{run.name}: {claim(run.metrics)}" for run in runs),
                section("Read this first", bullets(cautions(runs))),
                section("What differs", plain_table(settings_table(runs)) or "<p>No setting that is known.</p>"),
                section("Results", plain_table(_without(results_table(runs), 1))),  # the section above has the settings
                section("The gap closed", figure(run_figures.gaps(every), caption=_gap_caption(runs))),
                section(
                    "Held-out loss by organ",
                    figure(run_figures.organ_losses(alike), caption=LOSS_CAPTION),
                    plain_table(organs_table(runs)),
                ),
                section("Segmentation", figure(run_figures.scores(every, segmentation=True), caption=SCORE_CAPTION)),
                section("Classification", figure(run_figures.scores(every, segmentation=False), caption=SCORE_CAPTION)),
                section("Cost", figure(run_figures.cost(every), caption=COST_CAPTION), plain_table(cost_table(runs))),
            ]
        ),
    )


LOSS_CAPTION = (
    "The federated arm of every run whose objective is that of the first; lower is better. Small dots are single "
    "training seeds, where a run has several."
)
SCORE_CAPTION = (
    "The federated arm of every run, on patients that it has not seen; higher is better. Bars are 95% intervals "
    "within a run, small dots single training seeds."
)
COST_CAPTION = (
    "Time of training is the sum over all arms and hospitals, which take turns on one machine; bytes are those of the "
    "federated arm, all hospitals and rounds. Runs on different machines do not compare in time."
)


def _gap_caption(runs: Sequence[SavedRun]) -> str:
    each = "; ".join(f"{run.name}: {over(run.metrics)}" for run in runs)
    return (
        "How far each run comes from hospitals that train alone (0) to one model on the pooled images (1). Filled: "
        f"federated; hollow: FedAvg of the same run. Bars are 95% intervals ({each})."
    )
