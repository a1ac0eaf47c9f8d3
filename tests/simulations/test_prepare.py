"""From a configuration to hospitals: who is held out, who has what, each hospital's own manifest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.manifest import Record, load_manifest, write_manifest
from core.errors import DataError
from simulations.config import SimulationConfig
from simulations.prepare import Prepared, manifest_path, node_configs, prepare, write_sites

Configure = Callable[..., SimulationConfig]


def quiet(what: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture
def prepared(configure: Configure) -> Prepared:
    return prepare(configure(), progress=quiet)


def test_every_patient_is_in_one_part_and_training_patients_in_one_hospital(prepared: Prepared) -> None:
    assert len(prepared.splits) == 24
    training = {patient for patient, split in prepared.splits.items() if split == "train"}
    held = [patient for patients in prepared.hospitals.values() for patient in patients]
    assert len(held) == len(set(held))
    assert set(held) == training
    assert {patient.split("-")[0] for patient in prepared.hospitals["east"]} == {"east"}


def test_every_organ_is_trained_validated_and_tested(prepared: Prepared) -> None:
    for split in ("train", "validation", "test"):
        organs = {prepared.manifest.records[row].organ for row in prepared.rows(split)}
        assert organs == {"breast", "liver"}


def test_the_case_mix_counts_training_patients(prepared: Prepared) -> None:
    for site, held in prepared.case_mix.items():
        for organ, count in held.items():
            assert count == sum(patient.startswith(f"{site}-{organ}-") for patient in prepared.hospitals[site])
    assert sum(sum(held.values()) for held in prepared.case_mix.values()) == len(prepared.rows("train"))


def test_another_seed_holds_out_others_and_the_same_the_same(configure: Configure, prepared: Prepared) -> None:
    assert prepare(configure(), progress=quiet).splits == prepared.splits
    assert prepare(configure("seed=1"), progress=quiet).splits != prepared.splits


def test_unknown_organs_are_never_drawn(tiny_records: list[Record], configure: Configure, tmp_path: Path) -> None:
    odd = [*tiny_records[1:], Record(image=tiny_records[0].image, organ="unknown", patient="odd", site="east")]
    write_manifest(odd, tmp_path / "odd.csv")
    prepared = prepare(configure(f"data.manifest={tmp_path / 'odd.csv'}"), progress=quiet)
    held = {patient for patients in prepared.hospitals.values() for patient in patients}
    assert "odd" not in held
    rows = [row for split in ("train", "validation", "test") for row in prepared.rows(split)]
    assert len(rows) == len(tiny_records) - 1
    write_sites(prepared, folder=tmp_path / "sites")
    assert all(record.organ != "unknown" for record in load_manifest(tmp_path / "sites/east/manifest.csv").records)


def test_a_hospital_gets_a_manifest_with_its_training_patients_only(prepared: Prepared, tmp_path: Path) -> None:
    write_sites(prepared, folder=tmp_path / "sites")
    assert sorted(path.name for path in (tmp_path / "sites").iterdir()) == ["east", "north", "west"]
    for site, patients in prepared.hospitals.items():
        own = load_manifest(tmp_path / "sites" / site / "manifest.csv")
        assert {record.patient for record in own.records} == set(patients)
        assert all(prepared.splits[record.patient] == "train" for record in own.records)


def test_a_node_configuration_names_the_hospitals_own_files(
    prepared: Prepared, configure: Configure, tmp_path: Path
) -> None:
    config = configure("skip.north=[1,2]")
    nodes = node_configs(config, prepared, manifests=tmp_path / "m", folder=tmp_path / "f")
    assert [node["site"] for node in nodes] == ["east", "north", "west"]
    assert [node["skip"] for node in nodes] == ["", "1,2", ""]
    assert nodes[0]["manifest"] == str(tmp_path / "m" / "east" / "manifest.csv")
    assert nodes[2]["folder"] == str(tmp_path / "f" / "west")
    assert len({node["folder"] for node in nodes}) == 3


def test_nothing_is_written_but_the_cache(configure: Configure, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    prepare(configure(f"data.cache={tmp_path / 'cache'}"), progress=quiet)
    assert [path for path in sorted(tmp_path.rglob("*")) if "cache" not in path.parts] == before


def test_progress_is_told_once_for_each_source_and_not_for_a_full_cache(configure: Configure, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    config = configure(f"data.cache={tmp_path / 'cache'}")
    prepare(config, progress=lambda *what: told.append(what))
    assert told == [("decoding images", number, 24) for number in range(1, 25)]
    told.clear()
    prepare(config, progress=lambda *what: told.append(what))
    assert told == []


def test_the_phantom_is_generated_beside_the_cache_and_once(configure: Configure, tmp_path: Path) -> None:
    config = configure(
        "data.manifest=phantom", f"data.cache={tmp_path / 'd/cache'}", "data.phantom.patients_per_organ=1",
        "data.phantom.frames=1", "data.phantom.side=32", "data.phantom.devices=1",
    )  # fmt: skip
    told: list[str] = []
    path = manifest_path(config, progress=lambda what, done, total: told.append(what))
    assert path.is_relative_to(tmp_path / "d" / "phantom")
    assert len(load_manifest(path).records) >= 5
    assert set(told) == {"generating the phantom"}
    told.clear()
    assert manifest_path(config, progress=lambda what, done, total: told.append(what)) == path
    assert told == []


def test_the_digest_follows_patients_parts_and_hospitals(configure: Configure, prepared: Prepared) -> None:
    assert prepare(configure(), progress=quiet).digest == prepared.digest
    assert prepare(configure("seed=1"), progress=quiet).digest != prepared.digest
    other = configure("partition.kind=dirichlet", "partition.hospitals=2")
    assert prepare(other, progress=quiet).digest != prepared.digest


def test_the_digest_follows_every_pixel_of_a_mask(
    tiny_records: list[Record], configure: Configure, tmp_path: Path
) -> None:
    mask = tmp_path / "mask.png"
    masked = [replace(tiny_records[0], mask=mask), *tiny_records[1:]]
    write_manifest(masked, tmp_path / "masked.csv")
    digests = set()
    for filled in (3, 9):
        pixels = np.zeros((24, 24), np.uint8)
        pixels[:filled] = 255
        Image.fromarray(pixels).save(mask)
        overrides = (f"data.manifest={tmp_path / 'masked.csv'}", f"data.cache={tmp_path / f'cache-{filled}'}")
        digests.add(prepare(configure(*overrides), progress=quiet).digest)
    assert len(digests) == 2


def test_every_odd_hospital_name_is_listed(tiny_records: list[Record], configure: Configure, tmp_path: Path) -> None:
    names = {"east": "../east", "north": "north wing", "west": "west"}
    odd = [
        Record(image=r.image, organ=r.organ, patient=r.patient, site=names[r.site], dataset=r.dataset)
        for r in tiny_records
    ]
    write_manifest(odd, tmp_path / "odd.csv")
    with pytest.raises(DataError) as caught:
        prepare(configure(f"data.manifest={tmp_path / 'odd.csv'}"), progress=quiet)
    assert len(caught.value.problems) == 2
