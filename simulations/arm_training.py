"""How an arm is trained: in segments that a kill cannot undo, or round by round in a federation that has closed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.federation.plan import plan_from
from core.federation.tensors import Tensors, state_of
from core.training.finetune import FineTuning
from core.training.pretrain import Pretraining
from core.training.snapshot import load_snapshot, save_snapshot
from server.state import ServerState, Store
from simulations.deadline import Deadline
from simulations.display import ArmProgress, Display
from simulations.results import Curve, Trained


def in_segments(
    training: Pretraining | FineTuning,
    source: Any,
    *,
    path: Path,
    segment: int,
    batch: int,
    display: Display,
    shown: str,
    deadline: Deadline,
    label: str,
    where: str,
) -> Trained:
    """Take every step, with a snapshot after each segment, so that a killed arm goes on from the last.

    Args:
        training: A model with its optimizer, for a schedule of `total_steps`.
        source: What `training.run` draws its batches from.
        path: The snapshot; one that is there is gone on from.
        segment: Steps between two snapshots, at least 1.
        batch: Images a step.
        display: Shows each step.
        shown: The arm's name there.
        deadline: Asked after each snapshot but the last.
        label: The arm's name, for the deadline's message.
        where: What is being trained, for the message of a loss that is not finite.
    """
    total = training.total_steps
    step, curve, seconds = _resume(path, training)
    with display.arm(shown, steps=total, done=step) as progress:
        while step < total:
            steps = min(segment, total - step)
            summary = training.run(
                source, first=step, steps=steps, on_step=lambda _s, loss, n: progress.step(loss, n), where=where
            )
            step += steps
            seconds += summary.seconds
            curve.append((step * batch, summary.loss))
            save_snapshot(path, training, step=step, extra={"curve": curve, "seconds": seconds})
            if step < total:
                deadline.check(f"{label}, step {step} of {total}")
    return Trained(model=state_of(training.model), images=step * batch, seconds=seconds, curve=curve)


def of_federation(store: Store, *, images: int, still: Mapping[str, Any] | None = None) -> Trained:
    """What a federation that has closed its last round made.

    Args:
        store: The server's folder.
        images: That one update took.
        still: Tensors of the model that did not travel.
    """
    plan = plan_from((store.folder / "plan.json").read_text())
    state = store.load(plan_digest=plan.digest)
    assert state is not None
    receipts = store.receipts()
    model: Tensors = {**(still or {}), **state.model}
    seen = images * sum(len(line["contributors"]) for line in receipts)
    return Trained(model=model, images=seen, seconds=state.seconds, curve=curve_of(receipts, images=images))


class Rounds:
    """Hands closed rounds to the display, and stops between two rounds when the time is up."""

    def __init__(self, progress: ArmProgress, *, total: int, steps: int, deadline: Deadline) -> None:
        self._progress = progress
        self._total = total
        self._steps = steps
        self._deadline = deadline

    def phase(self, name: str, number: int) -> None:
        """A round begins: the steps of those before it are behind, taken in this process or an earlier one."""
        if name == "asked":
            self._progress.at(number * self._steps)

    def closed(self, state: ServerState) -> None:
        """One more round."""
        self._progress.round(state, self._total)
        if state.round < self._total:
            self._deadline.check(f"round {state.round} of {self._total}")


def curve_of(receipts: list[dict[str, Any]], *, images: int) -> Curve:
    """Each round's mean loss by the weights of the sites that reported one; an update took `images` images."""
    curve: Curve = []
    seen = 0
    for line in receipts:
        entries = line["contributors"].values()
        seen += images * len(entries)
        told = [(entry["weight"], entry["metrics"]["loss"]) for entry in entries if "loss" in entry["metrics"]]
        if told:
            curve.append((seen, sum(weight * loss for weight, loss in told) / sum(weight for weight, _ in told)))
    return curve


def _resume(path: Path, training: Pretraining | FineTuning) -> tuple[int, Curve, float]:
    if not path.exists():
        return 0, [], 0.0
    step, meta = load_snapshot(path, training)
    return step, [(int(images), float(loss)) for images, loss in meta["curve"]], float(meta["seconds"])
