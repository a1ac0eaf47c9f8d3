"""From a configuration to hospitals: images, who is held out, who has what, and each hospital's own manifest."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.cache import ImageCache, open_cache
from core.data.manifest import Manifest, load_manifest, write_manifest
from core.data.organs import UNKNOWN
from core.data.phantom import build_phantom
from core.data.splits import split_patients
from core.errors import DataError
from core.security.names import SITE_NAME
from core.seeding import derive
from simulations.config import DataConfig, SimulationConfig
from simulations.grid import NodeConfig
from simulations.partition import case_mix_table, partition

DIGEST_ROWS = 1024
"""Images hashed at once: bounds memory."""
Progress = Callable[[str, int, int], None]
"""Told what is being prepared, how much is done, how much there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """The data of a run."""

    manifest: Manifest
    cache: ImageCache
    """A view over the manifest's rows."""
    splits: dict[str, str]
    """Patient to train, validation or test."""
    hospitals: dict[str, tuple[str, ...]]
    """Hospital to its training patients."""
    case_mix: dict[str, dict[str, int]]
    """Hospital to organ to training patients."""
    cache_folder: Path

    def rows(self, split: str) -> list[int]:
        """Rows of the manifest whose patient is in a split and whose organ is known."""
        return [
            row
            for row, record in enumerate(self.manifest.records)
            if self.splits[record.patient] == split and record.organ != UNKNOWN
        ]

    @property
    def digest(self) -> str:
        """SHA-256 over who is in which part and hospital, and every pixel of images and masks, for a resumed run."""
        hospital_of = {patient: name for name, held in self.hospitals.items() for patient in held}
        lines = [
            [
                r.image.name,
                r.organ,
                r.label,
                r.dataset,
                r.patient,
                self.splits[r.patient],
                hospital_of.get(r.patient, ""),
            ]
            for r in self.manifest.records
        ]
        digest = hashlib.sha256(json.dumps(lines).encode())
        rows = np.arange(len(self.manifest.records))
        for start in range(0, len(rows), DIGEST_ROWS):
            part = rows[start : start + DIGEST_ROWS]
            masked = np.array([row for row in part if self.manifest.records[row].mask], dtype=np.int64)
            digest.update(self.cache.images(part).tobytes() + masked.tobytes())
            if len(masked):
                digest.update(self.cache.masks(masked).tobytes())
        return digest.hexdigest()


def prepare(config: SimulationConfig, *, progress: Progress) -> Prepared:
    """Read or generate the images, hold patients out, split the rest into hospitals; nothing of the run is written.

    Args:
        config: The run's configuration.
        progress: Told how far it is.

    Raises:
        DataError: Whatever is wrong with manifest, images, disk or partition.
    """
    manifest = load_manifest(manifest_path(config, progress=progress))
    cache_folder = Path(config.data.cache).resolve()
    cache = open_cache(
        manifest,
        folder=cache_folder,
        side=config.data.side,
        progress=lambda done, total: progress("decoding images", done, total),
    )
    splits = split_patients(
        manifest,
        seed=derive(config.seed, "split"),
        test=config.data.test,
        validation=config.data.validation,
    )
    train = manifest.select(lambda record: splits[record.patient] == "train" and record.organ != UNKNOWN)
    hospitals = partition(train, settings=config.partition, seed=derive(config.seed, "partition"))
    _check_names(hospitals)
    _check_skips(config, hospitals)
    return Prepared(
        manifest=manifest,
        cache=cache,
        splits=splits,
        hospitals=hospitals,
        case_mix=case_mix_table(hospitals, train),
        cache_folder=cache_folder,
    )


def manifest_path(config: SimulationConfig, *, progress: Progress) -> Path:
    """The manifest to read; the phantom is generated first when it is asked for and not there yet."""
    data: DataConfig = config.data
    if data.manifest != "phantom":
        return Path(data.manifest)
    phantom = data.phantom
    return build_phantom(
        Path(data.cache).resolve().parent / "phantom",
        seed=derive(config.seed, "phantom"),
        patients_per_organ=phantom.patients_per_organ,
        frames=phantom.frames,
        side=phantom.side,
        devices=phantom.devices,
        progress=lambda done, total: progress("generating the phantom", done, total),
    )


def write_sites(prepared: Prepared, *, folder: Path) -> None:
    """Give each hospital a manifest of its own, `folder/<hospital>/manifest.csv`."""
    for site, patients in sorted(prepared.hospitals.items()):
        own = set(patients)
        records = [record for record in prepared.manifest.records if record.patient in own and record.organ != UNKNOWN]
        (folder / site).mkdir(parents=True, exist_ok=True)
        write_manifest(records, folder / site / "manifest.csv")


def node_configs(config: SimulationConfig, prepared: Prepared, *, manifests: Path, folder: Path) -> list[NodeConfig]:
    """One Flower node configuration a hospital.

    Args:
        config: The run's configuration.
        prepared: The run's data.
        manifests: Where `write_sites` wrote.
        folder: What the hospitals keep for one arm goes below it.
    """
    return [
        {
            "site": site,
            "manifest": str((manifests / site / "manifest.csv").resolve()),
            "folder": str((folder / site).resolve()),
            "cache": str(prepared.cache_folder),
            "side": config.data.side,
            "approval": "automatic",
            "skip": ",".join(str(number) for number in config.skip.get(site, [])),
        }
        for site in sorted(prepared.hospitals)
    ]


def _check_names(hospitals: Iterable[str]) -> None:
    """Names become folders and travel, so they are as plain as the wire allows."""
    odd = [name for name in sorted(hospitals) if not SITE_NAME.fullmatch(name)]
    if odd:
        rule = "must be 1 to 64 letters, digits, dots, dashes or underscores and start with a letter or digit"
        raise DataError([f"hospital name {name[:80]!r} {rule}; rename it" for name in odd], title="partition")


def _check_skips(config: SimulationConfig, hospitals: dict[str, tuple[str, ...]]) -> None:
    if unknown := sorted(set(config.skip) - set(hospitals)):
        raise DataError(f"skip names {', '.join(unknown)}; the hospitals are {', '.join(sorted(hospitals))}")
