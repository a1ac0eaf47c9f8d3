"""Dividing one data set into hospitals that are as unlike as real ones; a patient is never divided.

Three ways: by the manifest's `site` column; by a Dirichlet draw over hospitals for every organ; by named case mixes
(an obstetric unit, a breast clinic, ...).

M. Yurochkin et al., "Bayesian nonparametric federated learning of neural networks", ICML 2019, arXiv:1905.12022
(the Dirichlet draw for each class, here for each organ and over patients instead of images).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.data.manifest import Manifest
from core.data.organs import UNKNOWN, organ_names, suggest
from core.data.problems import RowProblems
from core.errors import ConfigError, DataError
from core.seeding import derive, numpy_generator

KINDS = ("column", "dirichlet", "mixes")
ATTEMPTS = 200
"""Dirichlet draws tried before the floor is called out of reach."""

Parts = dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class PartitionConfig:
    """How patients come to hospitals."""

    kind: str = "dirichlet"
    """`column`, `dirichlet` or `mixes`."""
    hospitals: int = 5
    """Number of hospitals; for `dirichlet` only, otherwise the column or the mixes say. At least 1."""
    alpha: float = 0.5
    """Concentration of the Dirichlet; small: an organ sits in few hospitals, large: all are alike. Above 0, to 1e6."""
    floor: int = 1
    """Fewest patients that a hospital may have. At least 1."""
    mixes: dict[str, dict[str, float]] = field(default_factory=dict)
    """Hospital -> organ -> share of that organ's patients, for `mixes`; an organ's shares are scaled to sum to 1."""

    def __post_init__(self) -> None:
        """Raise a ConfigError that lists every field out of its range."""
        problems = []
        if self.kind not in KINDS:
            problems.append(f"partition.kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if self.hospitals < 1:
            problems.append(f"partition.hospitals is {self.hospitals}; it must be at least 1")
        if not 0 < self.alpha <= 1e6:
            problems.append(f"partition.alpha is {self.alpha}; it must be above 0 and at most 1e6")
        if self.floor < 1:
            problems.append(f"partition.floor is {self.floor}; it must be at least 1")
        if self.kind == "mixes" and not self.mixes:
            problems.append("partition.mixes is empty; name at least one hospital with its organs")
        problems += [
            f"partition.mixes.{hospital}.{organ} is {share}; it must be a number of at least 0"
            for hospital, mix in self.mixes.items()
            for organ, share in mix.items()
            if not (math.isfinite(share) and share >= 0)
        ]
        if problems:
            raise ConfigError(problems)


def partition(manifest: Manifest, *, settings: PartitionConfig, seed: int) -> Parts:
    """Hospital -> its patients, sorted; no patient is in two hospitals.

    With `column` and `dirichlet` every patient has a hospital; with `mixes`, those of organs that no mix names have
    none (`left_out` counts them). A patient with several organs goes by the one with most images. The same manifest,
    settings and seed give the same hospitals, whatever the order of the rows.

    Raises:
        DataError: Fewer patients than hospitals, a hospital below the floor, a patient or an image without exactly one
            site, a word in a mix that is no organ.
    """
    organ_of = _main_organs(manifest)
    if settings.kind == "column":
        parts = _by_column(manifest)
    else:
        hospitals = len(settings.mixes) if settings.kind == "mixes" else settings.hospitals
        if len(organ_of) < hospitals:
            raise DataError(
                f"partition: {len(organ_of)} patients cannot be divided among {hospitals} hospitals; "
                "ask for fewer hospitals, or add patients"
            )
        queues = _queues(organ_of, seed)
        if settings.kind == "dirichlet":
            return _by_dirichlet(queues, settings, seed)
        parts = _by_mixes(queues, settings.mixes)
    _check_floor(parts, settings.floor)
    return parts


def case_mix_table(parts: Mapping[str, Sequence[str]], manifest: Manifest) -> dict[str, dict[str, int]]:
    """Hospital -> organ -> patients with that organ, zeros included; `unknown` is left out, as it is never drawn."""
    organs = tuple(manifest.patients_by_organ())
    hospital_of = {patient: hospital for hospital, patients in parts.items() for patient in patients}
    pairs = {(record.patient, record.organ) for record in manifest.records if record.patient in hospital_of}
    counts = Counter((hospital_of[patient], organ) for patient, organ in pairs)
    return {hospital: {organ: counts[hospital, organ] for organ in organs} for hospital in parts}


def left_out(parts: Mapping[str, Sequence[str]], manifest: Manifest) -> dict[str, int]:
    """Organ -> patients that no hospital has, for organs with such patients."""
    held = {patient for patients in parts.values() for patient in patients}
    return manifest.select(lambda record: record.patient not in held).patients_by_organ()


def _main_organs(manifest: Manifest) -> dict[str, str]:
    """Patient -> organ with most images, the first in the alphabet where several have."""
    images: dict[str, Counter[str]] = {}
    for record in manifest.records:
        images.setdefault(record.patient, Counter())[record.organ] += 1
    return {patient: min(organs, key=lambda organ: (-organs[organ], organ)) for patient, organs in images.items()}


def _queues(organ_of: Mapping[str, str], seed: int) -> dict[str, list[str]]:
    """Organ -> its patients in the order of their hash."""
    queues: dict[str, list[str]] = {organ: [] for organ in sorted(set(organ_of.values()))}
    for patient in sorted(organ_of, key=lambda name: (derive(seed, "partition", name), name)):
        queues[organ_of[patient]].append(patient)
    return queues


def _by_column(manifest: Manifest) -> Parts:
    problems, sites = RowProblems(), dict[str, set[str]]()
    for record in manifest.records:
        if record.site:
            sites.setdefault(record.patient, set()).add(record.site)
        else:
            problems.add("'site' is empty; the partition by column needs it everywhere", row=record.row)
    for patient, names in sites.items():
        if len(names) > 1:
            problems.add(f"patient {patient!r} is in sites {', '.join(sorted(names))}; a patient has one site")
    problems.raise_if_any(f"partition of {manifest.path}")
    parts: dict[str, list[str]] = {site: [] for site in sorted({name for names in sites.values() for name in names})}
    for patient in sorted(sites):
        parts[sites[patient].pop()].append(patient)
    return {site: tuple(patients) for site, patients in parts.items()}


def _by_dirichlet(queues: Mapping[str, Sequence[str]], settings: PartitionConfig, seed: int) -> Parts:
    """Draw until every hospital reaches the floor; the attempt's number is part of the seed, so this is repeatable."""
    digits = max(2, len(str(settings.hospitals)))
    names = [f"h{number:0{digits}d}" for number in range(1, settings.hospitals + 1)]
    for attempt in range(ATTEMPTS):
        generator = numpy_generator(seed, "partition", "dirichlet", attempt)
        shares = {organ: generator.dirichlet([settings.alpha] * len(names)) for organ in queues}
        parts = _deal(queues, {organ: dict(zip(names, share, strict=True)) for organ, share in shares.items()}, names)
        if all(len(patients) >= settings.floor for patients in parts.values()):
            return parts
    patients = sum(map(len, queues.values()))
    raise DataError(
        f"partition: in {ATTEMPTS} draws of {patients} patients with alpha {settings.alpha:g} some of the {len(names)} "
        f"hospitals always had fewer than {settings.floor} patients; raise alpha, lower the floor, or ask for fewer"
    )


def _by_mixes(queues: Mapping[str, Sequence[str]], mixes: Mapping[str, Mapping[str, float]]) -> Parts:
    known = {*organ_names(), UNKNOWN}
    problems = [
        f"partition.mixes.{hospital}: {word!r} is no organ; "
        + (f"did you mean {meant!r}?" if (meant := suggest(word)) else "see configs/organs.yaml")
        for hospital, mix in mixes.items()
        for word in mix
        if word not in known
    ]
    if problems:
        raise DataError(problems)
    shares = {organ: {hospital: mix.get(organ, 0.0) for hospital, mix in mixes.items()} for organ in queues}
    return _deal(queues, {organ: share for organ, share in shares.items() if sum(share.values()) > 0}, list(mixes))


def _deal(
    queues: Mapping[str, Sequence[str]], shares: Mapping[str, Mapping[str, float]], names: Sequence[str]
) -> Parts:
    """Cut each organ's queue into consecutive pieces, as long as the shares say."""
    parts: dict[str, list[str]] = {name: [] for name in names}
    for organ, share in shares.items():
        lengths = _quotas(np.array([share[name] for name in names], dtype=np.float64), len(queues[organ]))
        ends = np.cumsum(lengths)
        for name, start, end in zip(names, ends - lengths, ends, strict=True):
            parts[name].extend(queues[organ][start:end])
    return {name: tuple(sorted(patients)) for name, patients in parts.items()}


def _quotas(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to `shares` that sum to `total`: largest remainders, the first name on a tie."""
    exact = shares / shares.sum() * total
    quotas: np.ndarray = np.floor(exact).astype(np.int64)
    most_due = np.argsort(quotas - exact, kind="stable")
    quotas[most_due[: total - int(quotas.sum())]] += 1
    return quotas


def _check_floor(parts: Mapping[str, Sequence[str]], floor: int) -> None:
    low = [
        f"hospital {name!r} has {len(patients)} patients, fewer than the floor of {floor}; give it more or leave it out"
        for name, patients in parts.items()
        if len(patients) < floor
    ]
    if low:
        raise DataError(low, title="partition")
