"""A folder is looked through whole and once, and two images never give one file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.images import list_images, output_names, shown
from core.errors import ConfigError


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_images_of_all_folders_are_found_in_order_and_the_rest_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "b.PNG", "a.jpeg", "deep/er/c.tif", "notes.txt", ".hidden.png", "scan.dcm", "README", ".git/d.png")
    found = list_images(tmp_path)
    assert [str(path) for path in found.images] == ["a.jpeg", "b.PNG", "deep/er/c.tif"]
    assert {str(path): reason for path, reason in found.skipped.items()} == {
        "notes.txt": "no suffix of an image (.txt)",
        "README": "no suffix of an image (none)",
        ".hidden.png": "a hidden file",
        "scan.dcm": "DICOM is not read yet; export PNG",
        ".git": "a hidden folder",
    }
    assert not found.unread


def test_results_inside_the_folder_are_no_images(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "out/masks/a.png")
    found = list_images(tmp_path, leave_out=[tmp_path / "out"])
    assert [str(path) for path in found.images] == ["a.png"]
    assert found.skipped == {Path("out"): "the folder of the results"}


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    _touch(tmp_path, "in/a.png")
    (tmp_path / "in" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    found = list_images(tmp_path)
    assert [str(path) for path in found.images] == ["in/a.png", "self.png"]
    assert "links are not followed" in found.skipped[Path("in/again")]


@pytest.mark.parametrize("name", ["absent", "file.png"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    _touch(tmp_path, "file.png")
    with pytest.raises(ConfigError, match="is no folder; name the folder that holds the images"):
        list_images(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "closed/b.png")
    (tmp_path / "closed").chmod(0)
    found = list_images(tmp_path)
    (tmp_path / "closed").chmod(0o700)
    assert "cannot be read" in found.unread[Path("closed")]


def test_a_file_keeps_its_name_unless_another_has_it_too() -> None:
    names = output_names([Path("a/x.png"), Path("a/x.jpg"), Path("b/x.jpg"), Path("a/x.png.bmp")])
    assert {str(image): str(name) for image, name in names.items()} == {
        "b/x.jpg": "b/x.png",
        "a/x.png.bmp": "a/x.png.png",  # its own short name
        "a/x.png": "a/x.png.png.png",  # the whole name is taken
        "a/x.jpg": "a/x.jpg.png",
    }


STEMS = st.sampled_from(["a", "A", "a.png", "a.png.png", "b"])


@given(st.sets(st.builds(lambda stem, suffix: Path(stem + suffix), STEMS, st.sampled_from([".png", ".jpg", ".PNG"]))))
def test_no_two_images_give_one_file(images: set[Path]) -> None:
    names = output_names(sorted(images))
    assert set(names) == images
    assert len({str(name).casefold() for name in names.values()}) == len(images)


def test_a_name_that_is_no_text_can_be_written() -> None:
    assert shown(Path(os.fsdecode(b"a\xff.png"))) == "a\ufffd.png"
