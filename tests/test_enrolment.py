"""The whole ceremony by the commands that the pages print: a consortium and two hospitals, and whoever cheats."""

import json
import os
import shlex
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

import client.cli
import server.cli
from client.site_folder import SiteFolder
from core.errors import SecurityError
from core.security.canonical import canonical
from core.security.enrolment import read_request
from server.study_folder import StudyFolder

REFUSED = SecurityError.exit_code


def usfm_server(*arguments: object) -> Result:
    return CliRunner().invoke(server.cli.application, [str(argument) for argument in arguments])


def usfm_client(*arguments: object) -> Result:
    return CliRunner().invoke(client.cli.application, [str(argument) for argument in arguments])


def done(result: Result) -> str:
    """What a command that must succeed printed."""
    assert result.exit_code == 0, result.output
    return result.stdout


def fingerprint_in(text: str) -> str:
    """The line of sixteen groups, or what stands after the last colon."""
    (found,) = (line.split(": ")[-1] for line in text.splitlines() if len(line.split(": ")[-1].split()) == 16)
    return found


def events(folder: Path) -> list[str]:
    """Events of an audit log with the reason, where there is one."""
    found = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    return [" ".join(filter(None, (one["event"], one["fields"].get("reason")))) for one in found]


@dataclass(frozen=True)
class Ceremony:
    """Folders of a consortium (study heart) and of hospitals, each with its request written."""

    place: Path

    @property
    def heart(self) -> Path:
        return self.place / "heart"

    @property
    def authority(self) -> str:
        """Its fingerprint, as the consortium reads it out; the hospitals know it from nowhere else."""
        return StudyFolder(self.heart).authority().fingerprint

    def hospital(self, site: str, *, study: str = "heart", folder: str = "") -> tuple[Path, str]:
        """A new hospital's folder and the fingerprint of its request."""
        made = self.place / (folder or site)
        done(usfm_client("init", site, study, "--folder", made))
        return made, fingerprint_in(done(usfm_client("enroll", "request", "--folder", made)))

    def request(self, folder: Path) -> Result:
        return usfm_server("enroll", "request", folder / "request.json", "--folder", self.heart)

    def approve(self, site: str, fingerprint: str) -> Result:
        return usfm_server("enroll", "approve", site, "--fingerprint", fingerprint, "--folder", self.heart)

    def accept(self, folder: Path, site: str, *, authority: Path | None = None, fingerprint: str = "") -> Result:
        """With the files that the consortium sent, unless others are given."""
        return usfm_client(
            "enroll", "accept", self.heart / "issued" / f"{site}.pem",
            "--authority", authority or self.heart / "authority.pem",
            "--authority-fingerprint", fingerprint or self.authority, "--folder", folder,
        )  # fmt: skip

    def states(self) -> dict[str, str]:
        found = json.loads(done(usfm_server("enroll", "list", "--json", "--folder", self.heart)))
        return {site: one["state"] for site, one in found["sites"].items()}


@pytest.fixture
def ceremony(tmp_path: Path) -> Ceremony:
    done(usfm_server("init", "heart", "--folder", tmp_path / "heart", "--name", "usfm.example.org"))
    return Ceremony(tmp_path)


def test_two_hospitals_join_and_each_step_stands_in_both_logs(ceremony: Ceremony) -> None:
    for site in ("north", "south"):
        folder, fingerprint = ceremony.hospital(site)
        assert fingerprint_in(done(ceremony.request(folder))) == fingerprint
        assert ceremony.states()[site] == "requested"
        assert fingerprint_in(done(ceremony.approve(site, fingerprint.upper()))) == ceremony.authority
        assert "is enrolled in study heart" in done(ceremony.accept(folder, site))
        assert events(folder) == [
            "opened", "keys_made", "keys_made", "certificate_requested", "certificate_installed"
        ]  # fmt: skip
    assert ceremony.states() == {"north": "valid", "south": "valid"}
    assert events(ceremony.heart) == ["opened", *["keys_made"] * 3, *["site_approved"] * 2]


def test_private_keys_are_for_their_owner_only_and_stay_where_they_were_made(ceremony: Ceremony) -> None:
    folder, _ = ceremony.hospital("north")
    keys = [*folder.glob("*.key"), *ceremony.heart.glob("*.key")]
    assert sorted(key.name for key in keys) == ["authority.key", "consortium.key", "node.key", "signing.key", "tls.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert {stat.S_IMODE(one.stat().st_mode) for one in (folder, ceremony.heart)} == {0o700}
    assert (folder / "node.key").read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert "PRIVATE" not in (folder / "request.json").read_text()


def test_a_wrong_fingerprint_approves_nobody(ceremony: Ceremony) -> None:
    north, _ = ceremony.hospital("north")
    _, other = ceremony.hospital("north", folder="impostor")
    done(ceremony.request(north))
    refused = ceremony.approve("north", other)
    assert (refused.exit_code, refused.stdout) == (REFUSED, "")
    assert "another fingerprint than was read out" in refused.stderr
    assert "is no fingerprint" in ceremony.approve("north", "1234").stderr
    assert ceremony.states() == {"north": "requested"}
    assert events(ceremony.heart)[-1] == "request_refused digest"


def test_another_sites_certificate_is_not_installed(ceremony: Ceremony) -> None:
    folders = {}
    for site in ("north", "south"):
        folders[site], fingerprint = ceremony.hospital(site)
        done(ceremony.request(folders[site]))
        done(ceremony.approve(site, fingerprint))
    refused = ceremony.accept(folders["north"], "south")
    assert refused.exit_code == REFUSED
    assert "is for the name 'south', not north" in refused.stderr
    assert "certifies another node key" in refused.stderr
    assert not (folders["north"] / "certificate.pem").exists()
    assert events(folders["north"])[-1] == "certificate_refused key"


def test_a_strangers_authority_is_not_trusted_even_with_a_certificate_for_our_keys(ceremony: Ceremony) -> None:
    north, fingerprint = ceremony.hospital("north")
    real, stranger = ceremony.authority, Ceremony(ceremony.place / "stranger")
    done(usfm_server("init", "heart", "--folder", stranger.heart))
    done(stranger.request(north))
    done(stranger.approve("north", fingerprint))
    refused = stranger.accept(north, "north", fingerprint=real)
    assert refused.exit_code == REFUSED
    assert "another fingerprint than was read out" in refused.stderr
    swapped = stranger.accept(north, "north", authority=ceremony.heart / "authority.pem", fingerprint=real)
    assert "was not issued by an authority that is trusted here" in swapped.stderr
    assert events(north)[-2:] == ["certificate_refused authority"] * 2

    done(ceremony.request(north))
    done(ceremony.approve("north", fingerprint))
    done(ceremony.accept(north, "north"))
    later = stranger.accept(north, "north")
    assert "another authority is trusted here" in later.stderr


def test_a_request_for_another_study_is_refused(ceremony: Ceremony) -> None:
    north, _ = ceremony.hospital("north", study="liver")
    refused = ceremony.request(north)
    assert refused.exit_code == REFUSED
    assert "the request is for study liver, this is heart" in refused.stderr
    assert ceremony.states() == {}
    assert events(ceremony.heart)[-1] == "request_refused name"


def test_revoked_keys_never_come_back_and_new_ones_may(ceremony: Ceremony) -> None:
    north, fingerprint = ceremony.hospital("north")
    done(ceremony.request(north))
    done(ceremony.approve("north", fingerprint))
    done(ceremony.request(north))  # a renewal that waits when trust is taken away
    done(usfm_server("enroll", "revoke", "north", "--reason", "a stolen laptop", "--folder", ceremony.heart))
    assert ceremony.states() == {"north": "revoked"}
    assert "no request waiting" in ceremony.approve("north", fingerprint).stderr
    again = ceremony.request(north)
    assert again.exit_code == REFUSED
    assert "a key that was revoked" in again.stderr
    assert events(ceremony.heart)[-2:] == ["site_revoked operator", "request_refused revoked"]
    assert "a stolen laptop" in done(usfm_server("enroll", "list", "--folder", ceremony.heart))

    fresh, fingerprint = ceremony.hospital("north", folder="north-2")
    done(ceremony.request(fresh))
    done(ceremony.approve("north", fingerprint))
    assert ceremony.states() == {"north": "valid"}


def test_a_renewal_is_endorsed_by_the_present_key(ceremony: Ceremony) -> None:
    north, fingerprint = ceremony.hospital("north")
    done(ceremony.request(north))
    done(ceremony.approve("north", fingerprint))
    done(ceremony.accept(north, "north"))
    renewed = fingerprint_in(done(usfm_client("enroll", "request", "--folder", north)))
    done(ceremony.request(north))
    done(ceremony.approve("north", renewed))
    done(ceremony.accept(north, "north"))
    listed = json.loads(done(usfm_server("enroll", "list", "--json", "--folder", ceremony.heart)))
    assert len(listed["sites"]["north"]["certificates"]) == 2
    key = SiteFolder(north).signing_key().public_key()
    assert read_request((north / "request.json").read_bytes()).endorsed_by(key)


def test_a_second_init_changes_nothing(ceremony: Ceremony) -> None:
    north, _ = ceremony.hospital("north")
    commands: dict[Path, Callable[[], Result]] = {
        ceremony.heart: lambda: usfm_server("init", "heart", "--folder", ceremony.heart),
        north: lambda: usfm_client("init", "north", "heart", "--folder", north),
    }
    for folder, command in commands.items():
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        refused = command()
        assert refused.exit_code == REFUSED
        assert "keys are never overwritten" in refused.stderr
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert not [path for path in ceremony.place.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["../north", "/etc", "", ".hidden", "a/b", "x" * 65, "north\n"])
def test_a_name_that_would_be_a_path_touches_no_file(ceremony: Ceremony, name: str) -> None:
    before = sorted(ceremony.place.rglob("*"))
    results = [
        usfm_client("init", name, "heart", "--folder", ceremony.place / "new"),
        usfm_client("init", "north", name),
        usfm_server("init", name),
        ceremony.approve(name, "ab" * 32),
        usfm_server("enroll", "revoke", name, "--reason", "a test", "--folder", ceremony.heart),
    ]
    assert {result.exit_code for result in results} == {REFUSED}
    assert all("is no name" in result.stderr for result in results)
    after = [path for path in sorted(ceremony.place.rglob("*")) if path.suffix != ".lock"]
    assert after == [path for path in before if path.suffix != ".lock"]


def test_a_request_that_was_edited_or_is_rubbish_is_refused_and_noted(ceremony: Ceremony) -> None:
    north, _ = ceremony.hospital("north")
    file = north / "request.json"
    edited = canonical(json.loads(file.read_text()) | {"site": "../../etc"})
    for content in (edited, b"junk", b"", b"x" * 70_000):
        file.write_bytes(content)
        refused = ceremony.request(north)
        assert refused.exit_code == REFUSED
        assert str(file) in refused.stderr
    assert events(ceremony.heart)[-3:] == ["request_refused malformed"] * 3


def test_a_folder_that_is_no_study_or_cannot_be_read_is_named_and_left_alone(ceremony: Ceremony) -> None:
    north, _ = ceremony.hospital("north")
    empty = ceremony.place / "empty"
    empty.mkdir()
    for folder in (empty, ceremony.place / "nowhere", ceremony.heart / "study.yaml", north):
        refused = usfm_server("enroll", "list", "--folder", folder)
        assert refused.exit_code == REFUSED
        assert "give the one that `usfm-server init` made" in refused.stderr
    for folder in (empty, ceremony.place / "nowhere", ceremony.heart):
        for command in (["enroll", "request"], ["audit", "show"], ["audit", "verify"]):
            refused = usfm_client(*command, "--folder", folder)
            assert refused.exit_code == REFUSED
            assert "give the folder that `usfm-client init` made" in refused.stderr or "signing.key" in refused.stderr
    assert not list(empty.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_a_sentence(ceremony: Ceremony) -> None:
    ceremony.heart.chmod(0)
    refused = usfm_server("enroll", "list", "--folder", ceremony.heart)
    ceremony.heart.chmod(0o700)
    assert refused.exit_code == REFUSED
    assert "Permission denied" in refused.stderr


def test_a_key_that_others_may_read_and_a_log_that_is_gone_stop_everything(ceremony: Ceremony) -> None:
    north, _ = ceremony.hospital("north")
    (north / "signing.key").chmod(0o644)
    assert "chmod 600" in usfm_client("enroll", "request", "--folder", north).stderr
    (north / "signing.key").chmod(0o600)
    (north / "audit.jsonl").unlink()
    assert "the audit log is gone" in usfm_client("enroll", "request", "--folder", north).stderr
    (ceremony.heart / "audit.jsonl").unlink()
    assert "the audit log is gone" in ceremony.request(north).stderr
    assert ceremony.states() == {}


def test_an_authoritys_key_in_a_safe_is_needed_to_approve_only(ceremony: Ceremony) -> None:
    north, fingerprint = ceremony.hospital("north")
    shutil.move(ceremony.heart / "authority.key", ceremony.place / "safe.key")
    done(ceremony.request(north))
    assert "authority.key: cannot be read" in ceremony.approve("north", fingerprint).stderr
    shutil.move(ceremony.place / "safe.key", ceremony.heart / "authority.key")
    done(ceremony.approve("north", fingerprint))


def test_the_page_gives_commands_and_options_that_exist() -> None:
    page = (Path(__file__).parents[1] / "docs/operations.md").read_text()
    groups = {"usfm-server": server.cli.application, "usfm-client": client.cli.application}
    lines = [line for line in page.splitlines() if line.startswith("usfm-")]
    assert len(lines) >= 10
    for line in lines:
        name, *words = shlex.split(line)
        command: Any = typer.main.get_command(groups[name])
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(name, words)
