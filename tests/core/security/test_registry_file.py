"""The list survives a restart, is seen by the running server, and is an error when it is damaged."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest

from core.errors import SecurityError
from core.security.keys import public_pem
from core.security.registry_file import RegistryFile

Enrol = Callable[[RegistryFile, Any], None]


@pytest.fixture
def open_file(tmp_path: Path, authority: Any) -> Callable[[], RegistryFile]:
    """A process that opens the file anew."""
    return lambda: RegistryFile(tmp_path / "sites.json", study="heart", authorities=[authority.certificate])


@pytest.fixture
def enrol(authority: Any, now: datetime) -> Enrol:
    def steps(file: RegistryFile, hospital: Any) -> None:
        request = hospital.request()
        file.change(lambda registry: (registry.with_request(request), None))
        file.change(
            lambda registry: registry.approve(
                request.site, authority=authority, fingerprint=request.fingerprint, now=now
            )
        )

    return steps


def test_without_a_file_nobody_is_in(open_file: Callable[[], RegistryFile], now: datetime, tmp_path: Path) -> None:
    assert open_file().read().status(now) == {}
    assert not (tmp_path / "sites.json").exists()


def test_all_is_there_after_a_restart(
    open_file: Callable[[], RegistryFile], enrol: Enrol, north: Any, south: Any, fresh: Any, now: datetime
) -> None:
    file = open_file()
    enrol(file, north)
    file.change(lambda registry: (registry.with_request(south.request()), None))
    file.change(lambda registry: (registry.revoke("north", reason="é <b>", now=now), None))
    found = open_file().read()
    assert found == file.read()
    assert found.status(now) == {"north": "revoked", "south": "requested"}
    assert (found.sites["north"][0].reason, found.sites["north"][0].revoked) == ("é <b>", int(now.timestamp()))
    with pytest.raises(SecurityError, match="asks for a key that was revoked"):
        found.with_request(north.request())


def test_the_running_server_sees_a_revocation_at_its_next_look(
    open_file: Callable[[], RegistryFile], enrol: Enrol, north: Any, now: datetime
) -> None:
    server, command = open_file(), open_file()
    enrol(command, north)
    assert server.read().node_keys(now) == {public_pem(north.node.public_key()): "north"}
    assert server.read() is server.read()  # not parsed again while nobody changed it
    command.change(lambda registry: (registry.revoke("north", reason="stolen", now=now), None))
    assert server.read().node_keys(now) == {}


def test_a_change_that_is_refused_changes_nothing(
    open_file: Callable[[], RegistryFile], enrol: Enrol, north: Any, now: datetime, tmp_path: Path
) -> None:
    file = open_file()
    enrol(file, north)
    before = (tmp_path / "sites.json").read_bytes()
    with pytest.raises(SecurityError, match="needs a reason"):
        file.change(lambda registry: (registry.revoke("north", reason="", now=now), None))
    assert (tmp_path / "sites.json").read_bytes() == before


def test_two_command_lines_at_once_lose_nothing(
    open_file: Callable[[], RegistryFile], north: Any, tmp_path: Path
) -> None:
    requests = [replace(north, site=f"h{n}").request() for n in range(8)]

    def ask(request: Any) -> None:
        open_file().change(lambda registry: (registry.with_request(request), None))

    with ThreadPool(8) as pool:
        pool.map(ask, requests)
    assert sorted(open_file().read().requests) == sorted(request.site for request in requests)


def _move(value: dict[str, Any], old: str, new: str) -> None:
    value[new] = value.pop(old)


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "study": lambda value: value.update(study="lung"),
    "schema": lambda value: value.update(schema_version=2),
    "field": lambda value: value.update(more=1),
    "site that is a path": lambda value: _move(value["sites"], "north", "../north"),
    "renamed site": lambda value: _move(value["sites"], "north", "west"),
    "no certificate": lambda value: value["sites"].update(north=[]),
    "certificate": lambda value: value["sites"]["north"][0].update(certificate="junk"),
    "revoked": lambda value: value["sites"]["north"][0].update(revoked="no"),
    "revocation removed": lambda value: value["sites"]["north"][0].pop("revoked"),
    "sites": lambda value: value.update(sites=[]),
    "renamed request": lambda value: _move(value["requests"], "south", "west"),
    "request": lambda value: value["requests"].update(south=5),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_file_lets_nobody_in(
    open_file: Callable[[], RegistryFile],
    enrol: Enrol,
    north: Any,
    south: Any,
    tmp_path: Path,
    edit: Callable[[Any], object],
) -> None:
    file = open_file()
    enrol(file, north)
    file.change(lambda registry: (registry.with_request(south.request()), None))
    path = tmp_path / "sites.json"
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))
    for reader in (file, open_file()):
        with pytest.raises(SecurityError):
            reader.read()


def test_a_certificate_of_a_strange_authority_put_into_the_file_lets_nobody_in(
    open_file: Callable[[], RegistryFile], enrol: Enrol, north: Any, stranger: Any, tmp_path: Path
) -> None:
    enrol(open_file(), north)
    reader = RegistryFile(tmp_path / "sites.json", study="heart", authorities=[stranger.certificate])
    with pytest.raises(
        SecurityError, match=r"sites.json, site north, certificate 1: .* was not issued by an authority"
    ):
        reader.read()


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_a_damaged_file_is_an_error_and_never_an_empty_list(
    open_file: Callable[[], RegistryFile], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "sites.json").write_bytes(content)
    with pytest.raises(SecurityError, match=r"sites.json: damaged .*restore it from a backup, revocations too"):
        open_file().read()


def test_a_file_that_vanished_is_an_error_for_who_saw_it(
    open_file: Callable[[], RegistryFile], enrol: Enrol, north: Any, tmp_path: Path
) -> None:
    file = open_file()
    enrol(file, north)
    file.read()
    (tmp_path / "sites.json").unlink()
    with pytest.raises(SecurityError, match="was there and is gone"):
        file.read()


def test_a_study_that_is_a_path_has_no_registry(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="is no name"):
        RegistryFile(tmp_path / "s", study="../x", authorities=[])
