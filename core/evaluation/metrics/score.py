"""What a task's test patients give: every metric with its interval, and the primary one patient by patient.

A score goes into a file as JSON and comes back through a door that refuses whatever is not one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from core.errors import CheckpointError
from core.evaluation.gain import PatientScore
from core.evaluation.metrics.estimate import Estimate

PRIMARY = {"segmentation": "dice", "classification": "balanced_accuracy", "enhancement": "psnr"}
"""Kind of task to the metric that arms are compared by."""

MOST_NAMED = 5
"""Problems that a message lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskScore:
    """The test patients' score of one model on one task."""

    kind: str
    """A key of `PRIMARY`."""
    primary: str
    """Which of the metrics arms are compared by."""
    metrics: dict[str, Estimate]
    by_patient: dict[str, PatientScore]
    """The primary metric for paired statistics (`core.evaluation.gain`): patient to mean Dice or PSNR, or to [right,
    total] for each class. Empty where it has no value."""
    counts: dict[str, int]
    """Images, patients, and whatever a rule sets apart."""

    @property
    def headline(self) -> Estimate:
        """The primary metric."""
        return self.metrics[self.primary]


def score_document(score: TaskScore) -> dict[str, Any]:
    """What JSON can hold and `score_from` reads."""
    return asdict(score)


def score_from(document: object, *, place: str) -> TaskScore:
    """A score from what `score_document` gave, after JSON or not.

    Args:
        document: What was read.
        place: Names it in an error: a file, a cell.

    Raises:
        CheckpointError: It is no score: a field is missing, unknown, of another type, not finite, or contradicts
            another. The first few problems are listed.
    """
    problems = [problem for problem, _ in zip(_problems(document), range(MOST_NAMED), strict=False)]
    if problems or not isinstance(document, dict):
        raise CheckpointError(
            f"{place}: no score of a task ({'; '.join(problems)}); remove it, and what it held is computed again"
        )
    metrics = {name: Estimate(**found) for name, found in document["metrics"].items()}
    return TaskScore(**{**document, "metrics": metrics})


def _problems(document: object) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "it holds no names and values"
        return
    names = [field.name for field in fields(TaskScore)]
    yield from _wrong_keys(document, names, "the score")
    if any(name not in document for name in names):
        return
    kind, primary = document["kind"], document["primary"]
    if not isinstance(kind, str) or PRIMARY.get(kind) != primary:
        yield f"kind {kind!r} with the primary metric {primary!r} is none of {PRIMARY}"
        return
    yield from _each(document["metrics"], "metrics", _wrong_estimate)
    yield from _each(document["by_patient"], "by_patient", _wrong_patient)
    yield from _each(document["counts"], "counts", _wrong_count)
    if isinstance(document["metrics"], dict) and isinstance(document["by_patient"], dict):
        yield from _contradictions(document["metrics"].get(primary), document["by_patient"], primary)


def _wrong_keys(found: Mapping[Any, Any], wanted: list[str], place: str) -> Iterator[str]:
    if missing := [name for name in wanted if name not in found]:
        yield f"{place} lacks {', '.join(missing)}"
    if unknown := [str(name) for name in found if name not in wanted]:
        yield f"{place} holds unknown {', '.join(unknown)}"


def _each(found: object, place: str, wrong: Callable[[object, str], Iterator[str]]) -> Iterator[str]:
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        yield f"{place} holds no names and values"
        return
    for name, value in found.items():
        yield from wrong(value, f"{place}.{name}")


def _wrong_estimate(found: object, place: str) -> Iterator[str]:
    names = [field.name for field in fields(Estimate)]
    if not isinstance(found, dict) or set(found) != set(names):
        yield f"{place} does not hold exactly {', '.join(names)}"
        return
    value, low, high = (found[name] for name in ("value", "low", "high"))
    if not all(number is None or _is_number(number) for number in (value, low, high)):
        yield f"{place} holds what is no finite number"
        return
    if not isinstance(found["reason"], str):
        yield f"{place}.reason is no text"
    elif bool(found["reason"]) != (None in (value, low, high)):
        yield f"{place}.reason must be there where a number is missing, and only there"
    if (low is None) != (high is None) or (value is None and low is not None) or (low is not None and low > high):
        yield f"{place}: {value} ({low} to {high}) is no value with an interval"
    yield from _wrong_count(found["patients"], f"{place}.patients")


def _wrong_patient(found: object, place: str) -> Iterator[str]:
    if _is_number(found):
        return
    pairs: list[Any] = found if isinstance(found, list) and found else [None]
    for pair in pairs:
        good = isinstance(pair, list) and len(pair) == 2 and all(_is_number(number) for number in pair)
        if not good or not 0 <= pair[0] <= pair[1]:
            yield f"{place} is neither a number nor [right, total] for each class"
            return


def _wrong_count(found: object, place: str) -> Iterator[str]:
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        yield f"{place} is no count"


def _contradictions(headline: object, by_patient: Mapping[str, Any], primary: str) -> Iterator[str]:
    if not isinstance(headline, dict):
        yield f"metrics lacks the primary {primary}"
    elif bool(by_patient) != (headline.get("value") is not None):
        yield f"by_patient must be there where {primary} has a value, and only there"
    classes = {len(score) if isinstance(score, list) else 0 for score in by_patient.values()}
    if len(classes) > 1 or (classes and (classes == {0}) != (primary != "balanced_accuracy")):
        yield f"by_patient is not of one form, that of {primary}"


def _is_number(found: object) -> bool:
    # The size first: an integer may be too long to become a float.
    return isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < 1e300
