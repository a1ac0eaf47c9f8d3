"""A study with its authority and one hospital, made once: keys are never secret in a test."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from core.security.authority import Authority, make_authority
from core.security.enrolment import Request, make_request
from core.security.keys import make_node_key, make_signing_key

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Hospital:
    """A site's name and private keys."""

    site: str
    signing: ed25519.Ed25519PrivateKey
    node: ec.EllipticCurvePrivateKey

    def request(self, study: str = "heart", present: ed25519.Ed25519PrivateKey | None = None) -> Request:
        return make_request(
            study=study, site=self.site, signing_key=self.signing, node_key=self.node, now=NOW, present=present
        )


def hospital(site: str) -> Hospital:
    return Hospital(site, make_signing_key(), make_node_key())


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def authority() -> Authority:
    return make_authority("heart", now=NOW)


@pytest.fixture(scope="session")
def stranger() -> Authority:
    """An authority of the same study's name that nobody here trusts."""
    return make_authority("heart", now=NOW)


@pytest.fixture(scope="session")
def north() -> Hospital:
    return hospital("north")


@pytest.fixture(scope="session")
def south() -> Hospital:
    return hospital("south")


@pytest.fixture
def fresh() -> Hospital:
    """The northern hospital with new keys."""
    return hospital("north")
