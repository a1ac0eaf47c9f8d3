"""Who has labels: the hospitals' training patients, and the patients that the researcher holds back."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.labelled import Labelled, labelled_images
from core.errors import ConfigError, DataError
from core.training.task import Task
from simulations.federated_finetune.config import FederatedFinetuneConfig
from simulations.prepare import Prepared, Progress, prepare, write_sites


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskData:
    """The labelled images of a run."""

    prepared: Prepared
    hospitals: dict[str, Labelled]
    """Training images with a label, of each hospital that has any."""
    pooled: Labelled
    """The same, all in one."""
    validation: Labelled
    """Of patients that the researcher holds, in no hospital: they choose the threshold, and the pooled reference."""
    test: Labelled
    """Of patients that nothing has seen."""

    @property
    def held_out(self) -> set[tuple[str, str]]:
        """Data set and patient of everybody who is in no hospital."""
        splits = self.prepared.splits
        records = self.prepared.manifest.records
        return {(record.dataset, record.patient) for record in records if splits[record.patient] != "train"}


def task_data(config: FederatedFinetuneConfig, *, progress: Progress) -> TaskData:
    """Read the images, hold patients out, and see who has labels.

    Raises:
        ConfigError: `without_labels` names no hospital.
        DataError: What `prepare` raises, or no labelled patient for training, validation or test.
    """
    prepared = prepare(config.simulation(), progress=progress)
    if strangers := sorted(set(config.without_labels) - set(prepared.hospitals)):
        raise ConfigError(f"without_labels names {', '.join(strangers)}; hospitals: {', '.join(prepared.hospitals)}")
    labelling = {site: held for site, held in prepared.hospitals.items() if site not in config.without_labels}
    found = {site: _labelled(config.task, prepared, "train", held) for site, held in sorted(labelling.items())}
    data = TaskData(
        prepared=prepared,
        hospitals={site: own for site, own in found.items() if len(own)},
        pooled=_labelled(config.task, prepared, "train", {name for held in labelling.values() for name in held}),
        validation=_labelled(config.task, prepared, "validation"),
        test=_labelled(config.task, prepared, "test"),
    )
    parts = {"training": data.pooled, "validation": data.validation, "test": data.test}
    if empty := [name for name, own in parts.items() if own.masks_NSS is None or not own.masks_NSS.any()]:
        raise DataError(
            f"task {config.task.name}: no {' and no '.join(empty)} patient with a mask that is not empty; "
            "look at task.dataset and task.organ, or raise data.validation and data.test"
        )
    return data


def write_hospitals(data: TaskData, *, without_labels: Collection[str], folder: Path) -> None:
    """Each hospital's own manifest; in those of `without_labels` no mask and no label is left."""
    prepared = data.prepared
    bare = {patient for site in without_labels for patient in prepared.hospitals[site]}
    records = tuple(
        replace(record, mask=None, label="") if record.patient in bare else record
        for record in prepared.manifest.records
    )
    write_sites(replace(prepared, manifest=replace(prepared.manifest, records=records)), folder=folder)


def _labelled(task: Task, prepared: Prepared, split: str, patients: Collection[str] | None = None) -> Labelled:
    rows = prepared.rows(split)
    if patients is not None:
        own = set(patients)
        rows = [row for row in rows if prepared.manifest.records[row].patient in own]
    return labelled_images(task, prepared.manifest, prepared.cache, rows)
