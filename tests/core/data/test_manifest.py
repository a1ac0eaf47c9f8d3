"""A manifest is read whole or refused with everything that is wrong with it."""

import os
import random
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from core.data.manifest import COLUMNS, Manifest, Record, load_manifest, write_manifest
from core.errors import DataError

REAL = Path(__file__).parents[4] / "shared/data/ultrasound/manifest.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files that look like images: only their presence and size count here."""
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(b"pixels")
    return tmp_path


def load(folder: Path, text: str | bytes) -> Manifest:
    path = folder / "manifest.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_manifest(path)


def problems_of(folder: Path, text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        load(folder, text)
    return caught.value.problems


def test_rows_become_records_with_absolute_paths(folder: Path) -> None:
    manifest = load(
        folder, "image,organ,patient,mask,label,site\na.png,breast,p1,b.png,benign,x\nc.png,unknown,p2,,,y\n"
    )
    assert manifest.records == (
        Record(image=folder / "a.png", organ="breast", patient="p1", mask=folder / "b.png", label="benign", site="x"),
        Record(image=folder / "c.png", organ="unknown", patient="p2", site="y"),
    )
    assert [record.row for record in manifest.records] == [2, 3]


def test_absolute_paths_and_paths_outside_the_folder_are_allowed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
):
    other = tmp_path_factory.mktemp("other")
    text = f"image,organ,patient\n{folder}/a.png,liver,1\n../{folder.name}/b.png,liver,2\n"
    assert [record.image for record in load(other, text).records] == [folder / "a.png", folder / "b.png"]


def test_a_relative_manifest_path_gives_absolute_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder, "image,organ,patient\na.png,liver,1\n")
    monkeypatch.chdir(folder)
    assert load_manifest(Path("manifest.csv")).records[0].image == folder / "a.png"


def test_csv_with_byte_order_mark_and_windows_line_ends(folder: Path) -> None:
    plain = load(folder, "image,organ,patient\na.png,liver,1\n")
    assert load(folder, b"\xef\xbb\xbfimage,organ,patient\r\na.png,liver,1\r\n").records == plain.records


def test_parquet_gives_the_same_records_as_csv(folder: Path) -> None:
    expected = load(folder, "image,organ,patient,label\na.png,liver,1,\nb.png,eye,2,x\n").records
    table = {"image": ["a.png", "b.png"], "organ": ["liver", "eye"], "patient": [1, 2], "label": [None, "x"]}
    parquet.write_table(pyarrow.table(table), folder / "m.parquet")
    assert load_manifest(folder / "m.parquet").records == expected


def test_patients_are_counted_once_an_organ_and_unknown_not_at_all(folder: Path) -> None:
    rows = "a.png,liver,1\nb.png,liver,1\nc.png,kidney,1\nd.png,unknown,2\n"
    assert load(folder, "image,organ,patient\n" + rows).patients_by_organ() == {"kidney": 1, "liver": 1}


def test_a_selection_keeps_order_and_row_numbers(folder: Path) -> None:
    manifest = load(folder, "image,organ,patient\na.png,liver,1\nb.png,eye,2\nc.png,liver,3\n")
    chosen = manifest.select(lambda record: record.organ == "liver")
    assert [(record.patient, record.row) for record in chosen.records] == [("1", 2), ("3", 4)]


def test_columns_that_mean_nothing_here_are_ignored(folder: Path) -> None:
    assert len(load(folder, "image,side,organ,patient,comment\na.png,left,liver,1,hm\n").records) == 1


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("image,organ", "row 1: column 'patient' is missing"),
        ("img,organ,patient", "row 1: column 'image' is missing"),
        ("Image,organ,patient", "did you mean 'image'"),
        ("image,organ,patient,masks", "did you mean 'mask'"),
        ("image,organ,patient,organ", "column 'organ' is there twice"),
        ("image;organ;patient", "separated by ';'"),
        ("image\torgan\tpatient", "separated by '\\t'"),
    ],
)
def test_a_bad_header_is_explained(folder: Path, header: str, says: str) -> None:
    assert any(says in problem for problem in problems_of(folder, f"{header}\na.png,liver,1,x\n"))


def test_all_missing_columns_are_named_at_once(folder: Path) -> None:
    assert len(problems_of(folder, "a,b\n1,2\n")) == 3


def test_a_manifest_of_a_header_only_is_refused(folder: Path) -> None:
    assert problems_of(folder, "image,organ,patient\n") == (
        "no images are listed below the header; add one row an image",
    )


def test_every_problem_is_listed_with_its_rows(folder: Path) -> None:
    (folder / "empty.png").touch()
    (folder / "dir.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    problems = problems_of(
        folder,
        "image,organ,patient,mask,site\n"
        "a.png,brest,p1,,x\n"  # row 2
        "a.png,liver,p1,,y\n"  # row 3: the image of row 2, and its patient in another site
        "no.png,brest,,none.png,x\n"  # row 4: four things
        "empty.png,liver,p2,dir.png,x\n"  # row 5
        "pipe.png,liver,p3,sub\\m.png,x\n"  # row 6
        "b.png,liver,p4\n"  # row 7: too short
        ",banjo,p5,,x\n",  # row 8
    )
    expected = [
        "rows 2, 4: 'brest' is no organ of the vocabulary; did you mean 'breast'?",
        f"row 3: image {folder}/a.png is also in row 2; keep one of them",
        "patient 'p1' is in more than one site: x (row 2), y (row 3); a patient has one site",
        "row 4: 'patient' is empty; fill it in or remove the row",
        "row 4: image no.png is not there; paths are relative to the manifest",
        "row 4: mask none.png is not there; paths are relative to the manifest",
        "row 5: image empty.png has zero bytes; export it again or remove the row",
        "row 5: mask dir.png is a folder; name a file",
        "row 6: image pipe.png is not a regular file",
        "row 6: mask sub\\m.png is not there; write paths with '/'",
        "row 7: has 3 cells where the header has 5; check commas and quotes",
        "row 8: 'image' is empty; fill it in or remove the row",
        "row 8: 'banjo' is no organ of the vocabulary; see configs/organs.yaml, or write 'unknown'",
    ]
    assert sorted(problems) == sorted(expected)


def test_an_image_is_a_duplicate_however_its_path_is_written(folder: Path) -> None:
    (problem,) = problems_of(folder, f"image,organ,patient\na.png,eye,1\n./x/../a.png,eye,1\n{folder}/a.png,eye,1\n")
    assert problem.startswith("rows 3-4: image")


def test_a_patient_with_and_without_a_site_is_refused(folder: Path) -> None:
    (problem,) = problems_of(folder, "image,organ,patient,site\na.png,eye,1,x\nb.png,eye,1,\n")
    assert "x (row 2), none (row 3)" in problem


def test_a_path_longer_than_the_system_allows_is_a_listed_problem(folder: Path) -> None:
    (problem,) = problems_of(folder, f"image,organ,patient\n{'x' * 5000}.png,eye,1\n")
    assert "cannot be reached" in problem


def test_random_bytes_end_in_a_data_error_or_nothing_else(folder: Path) -> None:
    generator = random.Random(0)
    for _ in range(300):
        head = generator.choice([b"", b"image,organ,patient\n", b"\xef\xbb\xbf", b"PAR1", b'"'])
        with pytest.raises(DataError):
            load(folder, head + generator.randbytes(generator.randrange(60)))


def test_written_manifests_read_back_and_move_with_their_folder(folder: Path) -> None:
    records = (
        Record(
            image=folder / "a.png", organ="eye", patient='o"1, x', mask=folder / "b.png", label="ja\nnein", site="s"
        ),
        Record(image=Path(__file__), organ="liver", patient="ü", licence="CC0-1.0", site="t"),
    )
    write_manifest(records, folder / "out.csv")
    assert load_manifest(folder / "out.csv").records == records
    text = (folder / "out.csv").read_text()
    assert text.startswith(",".join(COLUMNS) + "\n")
    assert str(folder) not in text


def test_a_manifest_that_cannot_be_written_is_a_data_error(folder: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        write_manifest([], folder / "none" / "out.csv")


@pytest.mark.skipif(not REAL.exists(), reason="the real images are not on this machine")
def test_the_real_images_are_a_valid_manifest() -> None:
    manifest = load_manifest(REAL)
    assert len(manifest.records) == 2546
    assert manifest.patients_by_organ() == {"breast": 378, "carotid": 8, "fetal_head": 820, "lung": 54, "muscle": 10}
    assert sum(record.mask is not None for record in manifest.records) == 1398


def test_spacing_is_read_as_millimetres_and_an_empty_cell_is_not_known(folder: Path) -> None:
    text = "image,organ,patient,spacing\na.png,liver,1,0.25\nb.png,eye,2,\nc.png,eye,3,2e-1\n"
    assert [record.spacing for record in load(folder, text).records] == [0.25, None, 0.2]
    assert load(folder, "image,organ,patient\na.png,liver,1\n").records[0].spacing is None


@pytest.mark.parametrize("cell", ["0", "-0.2", "10", "nan", "inf", "0.2 mm", "0_1", "0.2x0.3", "True", "1e999"])
def test_a_spacing_that_is_no_distance_of_pixels_is_an_error_of_its_row(folder: Path, cell: str) -> None:
    problems = problems_of(folder, f"image,organ,patient,spacing\na.png,liver,1,0.2\nb.png,eye,2,{cell}\n")
    assert problems == (
        f"row 3: spacing {cell!r} is no distance of pixels in millimetres; give one number above 0 and below 10, such "
        "as 0.2, or leave it empty",
    )


def test_spacing_survives_being_written(folder: Path) -> None:
    records = (
        Record(image=folder / "a.png", organ="liver", patient="1", spacing=0.1 + 0.2),
        Record(image=folder / "b.png", organ="liver", patient="2"),
    )
    write_manifest(records, folder / "written.csv")
    assert load_manifest(folder / "written.csv").records == records


def test_parquet_may_hold_spacing_as_numbers(folder: Path) -> None:
    table = {"image": ["a.png", "b.png"], "organ": ["liver"] * 2, "patient": ["1", "2"], "spacing": [0.25, None]}
    parquet.write_table(pyarrow.table(table), folder / "m.parquet")
    assert [record.spacing for record in load_manifest(folder / "m.parquet").records] == [0.25, None]
