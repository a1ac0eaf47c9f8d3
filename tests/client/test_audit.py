"""A hospital's log for its people: shown, verified after an edit, signed for an auditor."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.audit import records, verified, write_export
from client.site_folder import SiteFolder, make_site
from core.errors import SecurityError
from core.security.audit_proof import read_export

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> SiteFolder:
    return make_site("north", "heart", folder=tmp_path / "site", now=NOW)


def test_records_are_shown_one_a_line(folder: SiteFolder) -> None:
    first, *keys = records(folder)
    assert first == "0 2026-11-25T12:00:00Z opened owner=north study=heart"
    assert [line.split()[:3] for line in keys] == [[number, "2026-11-25T12:00:00Z", "keys_made"] for number in "12"]
    assert list(records(folder, last=1)) == keys[1:]


def test_an_edit_is_named_by_its_record(folder: SiteFolder) -> None:
    assert verified(folder).head.length == 3
    path = folder.path / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"T12:00", b"T11:00") + lines[2])
    with pytest.raises(SecurityError, match="record 1 is the first bad one: its content is not what its hash says"):
        verified(folder)
    shown = records(folder)
    assert next(shown).startswith("0 ")
    with pytest.raises(SecurityError, match="record 1: "):
        next(shown)
    with pytest.raises(SecurityError):
        write_export(folder, folder.path / "out.json")


def test_an_export_is_signed_noted_and_never_overwrites(folder: SiteFolder, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert write_export(folder, out) == 3
    keys = [folder.signing_key().public_key()]
    content, verdict = read_export(out.read_bytes(), study="heart", site="north", keys=keys)
    assert (verdict.head.length, content.count(b"\n")) == (3, 3)
    assert list(records(folder))[3].split()[2] == "exported"
    with pytest.raises(SecurityError, match="there is a file already"):
        write_export(folder, out)
    assert len(list(records(folder))) == 4
