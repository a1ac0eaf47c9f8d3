"""Train, validation and test by patient, by a hash: adding rows moves nobody who is there already.

One exception, the promotion rule: an organ with at least three patients must be measurable, so where the hash gives it
no test (or validation) patient, the one with the lowest hash is moved there. New patients can undo a promotion.
"""

import difflib
from typing import Literal, get_args

from core.data.manifest import Manifest
from core.data.organs import UNKNOWN
from core.data.problems import RowProblems
from core.errors import ConfigError
from core.seeding import derive

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

MIN_PATIENTS = 3
"""An organ with fewer patients gets none promoted: one must stay for training, one for each held-out part."""


def split_of(patient: str, *, seed: int, test: float, validation: float) -> Split:
    """The part that the hash of (seed, patient) falls into.

    Args:
        patient: Identifier, as in the manifest.
        seed: The run's seed.
        test: Expected share of test patients, 0 to 1.
        validation: Expected share of validation patients, 0 to 1; with `test` less than 1.

    Raises:
        ConfigError: The shares are out of range.
    """
    _check_shares(test=test, validation=validation)
    position = _position(patient, seed)
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"


def split_patients(manifest: Manifest, *, seed: int, test: float, validation: float) -> dict[str, str]:
    """Patient -> "train", "validation" or "test", sorted by patient.

    The manifest's `split` column wins where it says something. Otherwise `split_of`, then promotion, organ by organ in
    alphabetical order, which never takes the last patient that an organ has in a part.

    Raises:
        ConfigError: The shares are out of range.
        DataError: A word in `split` that is none of the three, or a patient with two of them.
    """
    _check_shares(test=test, validation=validation)
    given = _given(manifest)
    splits: dict[str, Split] = {
        patient: given.get(patient) or split_of(patient, seed=seed, test=test, validation=validation)
        for patient in sorted({record.patient for record in manifest.records})
    }
    shares: dict[Split, float] = {"test": test, "validation": validation}
    wanted = [part for part, share in shares.items() if share > 0]
    _promote(manifest, splits, wanted=wanted, fixed=frozenset(given), seed=seed)
    return dict(splits)


def _position(patient: str, seed: int) -> float:
    """Uniform on 0 to 1."""
    return derive(seed, "split", patient) / 2**63


def _check_shares(*, test: float, validation: float) -> None:
    problems = [
        f"split share {name} is {share}; it must be at least 0 and less than 1"
        for name, share in (("test", test), ("validation", validation))
        if not 0 <= share < 1
    ]
    if not problems and test + validation >= 1:
        problems = [f"split shares test {test} and validation {validation} leave nothing to train on; lower one"]
    if problems:
        raise ConfigError(problems)


def _given(manifest: Manifest) -> dict[str, Split]:
    """What the `split` column says, by patient."""
    problems, said = RowProblems(), dict[str, set[Split]]()
    for record in manifest.records:
        word: Split | None = next((name for name in SPLITS if name == record.split), None)
        if word:
            said.setdefault(record.patient, set()).add(word)
        elif record.split:
            meant = difflib.get_close_matches(record.split.casefold(), SPLITS, n=1, cutoff=0.4)
            hint = f"did you mean {meant[0]!r}?" if meant else f"write one of {', '.join(SPLITS)}"
            problems.add(f"split {record.split!r} is not known; {hint}", row=record.row)
    for patient, words in said.items():
        if len(words) > 1:
            problems.add(f"patient {patient!r} is in {' and '.join(sorted(words))}; a patient is in one split")
    problems.raise_if_any(f"manifest {manifest.path}")
    return {patient: words.pop() for patient, words in said.items()}


def _promote(
    manifest: Manifest, splits: dict[str, Split], *, wanted: list[Split], fixed: frozenset[str], seed: int
) -> None:
    """Change `splits` so that each organ with enough patients has one in every wanted part, where that is possible."""
    patients_of, organs_of = dict[str, set[str]](), dict[str, set[str]]()
    for record in manifest.records:
        if record.organ != UNKNOWN:
            patients_of.setdefault(record.organ, set()).add(record.patient)
            organs_of.setdefault(record.patient, set()).add(record.organ)

    def is_last(patient: str) -> bool:
        return any(
            all(splits[other] != splits[patient] for other in patients_of[organ] - {patient})
            for organ in organs_of[patient]
        )

    for organ in sorted(organ for organ, patients in patients_of.items() if len(patients) >= MIN_PATIENTS):
        for part in wanted:
            if all(splits[patient] != part for patient in patients_of[organ]):
                free = [patient for patient in patients_of[organ] - fixed if not is_last(patient)]
                if free:  # training patients first: a held-out one may already have been reported on
                    rank = {patient: (splits[patient] != "train", _position(patient, seed)) for patient in free}
                    splits[min(free, key=rank.__getitem__)] = part
