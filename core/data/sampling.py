"""Drawing an organ, then a patient of that organ, then a frame, each uniformly within the last.

The probabilities of the organs are the caller's: `q[o] n[k,o] / (N[o] w[k])` at hospital k, `q[o]` on pooled data.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from core.data.manifest import Record
from core.data.organs import UNKNOWN
from core.errors import DataError

# O organs drawn from, P patients (one with two organs counts under each), F frames drawn from, N records, B batch.

SUM_TOLERANCE = 1e-9


class OrganSampler:
    """Draws rows with replacement.

    Args:
        records: What rows are counted in.
        probabilities: Organ -> P(organ), summing to 1. Organs that are not named, and `unknown`, are never drawn.

    Raises:
        DataError: A probability below 0 or not finite, a sum other than 1, an organ to be drawn with no patient here.
    """

    def __init__(self, records: Sequence[Record], probabilities: Mapping[str, float]) -> None:
        rows: dict[str, dict[str, list[int]]] = {}
        for row, record in enumerate(records):
            if record.organ != UNKNOWN and probabilities.get(record.organ, 0) > 0:
                rows.setdefault(record.organ, {}).setdefault(record.patient, []).append(row)
        _check(probabilities, held=frozenset(rows))
        organs = sorted(rows)
        patients = [frames for organ in organs for _, frames in sorted(rows[organ].items())]
        self._records = len(records)
        self._share_O = np.array([probabilities[organ] for organ in organs], dtype=np.float64)
        self._patients_O = np.array([len(rows[organ]) for organ in organs], dtype=np.int64)
        self._first_patient_O = np.cumsum(self._patients_O) - self._patients_O
        self._frames_P = np.array([len(frames) for frames in patients], dtype=np.int64)
        self._first_frame_P = np.cumsum(self._frames_P) - self._frames_P
        self._row_F = np.array([row for frames in patients for row in frames], dtype=np.int64)

    def draw(self, generator: np.random.Generator, batch: int) -> np.ndarray:
        """`batch` row indices into the records, int64 of shape (B,); only `generator` decides which."""
        steps_O = np.cumsum(self._share_O)
        organ_B = np.searchsorted(steps_O, generator.random(batch) * steps_O[-1], side="right")
        patient_B = self._first_patient_O[organ_B] + generator.integers(self._patients_O[organ_B])
        frame_B = self._first_frame_P[patient_B] + generator.integers(self._frames_P[patient_B])
        return np.asarray(self._row_F[frame_B])

    def image_probabilities(self) -> np.ndarray:
        """P(row) of one draw, float64 of shape (N,), summing to 1."""
        patient_P = np.repeat(self._share_O / self._patients_O, self._patients_O)
        chances_N = np.zeros(self._records)
        chances_N[self._row_F] = np.repeat(patient_P / self._frames_P, self._frames_P)
        return chances_N


def _check(probabilities: Mapping[str, float], *, held: frozenset[str]) -> None:
    problems = []
    for organ, chance in probabilities.items():
        if not (math.isfinite(chance) and chance >= 0):
            problems.append(f"organ {organ!r}: probability {chance} is not a number from 0 to 1")
        elif chance > 0 and organ not in held:
            reason = "is never drawn" if organ == UNKNOWN else "has no patient here"
            problems.append(f"organ {organ!r}: {reason}, so its probability must be 0, not {chance:.6g}")
    if not problems and abs(total := math.fsum(probabilities.values()) - 1) > SUM_TOLERANCE:
        problems.append(f"the organs' probabilities sum to {total + 1:.12g} instead of 1")
    if problems:
        raise DataError(problems, title="organ sampling")
