"""A new study's folder: what is in it works, and nothing is left of one that could not be made."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.config import load
from core.errors import SecurityError
from core.security.certificates import verify_consortium
from core.security.tls import server_context, server_problems
from server.study import StudyConfig
from server.study_folder import make_study

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_the_certificates_are_for_the_hosts_and_the_study(tmp_path: Path) -> None:
    made = make_study("heart", folder=tmp_path / "heart", names=["usfm.example.org", "10.0.0.5"], now=NOW)
    authority, tls, consortium = made.certificates()
    server_context(certificate=made.path / "tls.pem", key=made.path / "tls.key")
    for host, wrong in (("usfm.example.org", 0), ("10.0.0.5", 0), ("elsewhere.org", 1)):
        assert len(server_problems([tls], authorities=[authority], host=host, now=NOW)) == wrong
    assert verify_consortium(consortium, authorities=[authority], study="heart", now=NOW).name == "heart"
    assert made.study == "heart"


def test_the_example_configuration_is_one(tmp_path: Path) -> None:
    made = make_study("2026", folder=tmp_path / "heart", names=["localhost"], now=NOW)
    config, _ = load(StudyConfig, path=made.path / "study.yaml", overrides=[])
    assert (config.name, config.encoder.size, config.federation.rounds) == ("2026", "small", 100)


@pytest.mark.parametrize("names", [[], ["https://usfm.example.org"], ["host:443"], ["../x"]])
def test_a_malformed_host_leaves_no_folder(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(SecurityError, match="name"):
        make_study("heart", folder=tmp_path / "heart", names=names, now=NOW)
    assert not list(tmp_path.iterdir())
