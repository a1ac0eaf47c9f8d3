"""Who is in: only whom a person approved by fingerprint, until revoked, and never with another's or a revoked key."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.errors import SecurityError
from core.security.authority import issue_site
from core.security.keys import key_digest, public_pem
from core.security.registry import Registry, entry_for


@pytest.fixture
def empty(authority: Any) -> Registry:
    return Registry(study="heart", authorities=[authority.certificate])


def enrolled(registry: Registry, authority: Any, request: Any, now: datetime, days: int = 365) -> Registry:
    after, _ = registry.with_request(request).approve(
        request.site, authority=authority, fingerprint=request.fingerprint, now=now, days=days
    )
    return after


def test_a_site_is_in_after_its_fingerprint_was_compared(
    empty: Registry, authority: Any, north: Any, now: datetime
) -> None:
    asked = empty.with_request(north.request())
    assert asked.status(now) == {"north": "requested"}
    assert asked.node_keys(now) == {}
    after, certificate = asked.approve("north", authority=authority, fingerprint=north.request().fingerprint, now=now)
    assert after.status(now) == {"north": "valid"}
    assert after.node_keys(now) == {public_pem(north.node.public_key()): "north"}
    assert [key_digest(key) for key in after.signing_keys("north", now)] == [key_digest(north.signing.public_key())]
    assert after.requests == {}
    assert after.sites["north"][0].certificate == certificate


def test_another_fingerprint_than_was_read_out_is_refused(
    empty: Registry, authority: Any, north: Any, fresh: Any, now: datetime
) -> None:
    swapped = empty.with_request(fresh.request())  # a stranger sent his own keys under the hospital's name
    with pytest.raises(SecurityError, match="another fingerprint than was read out; somebody changed it"):
        swapped.approve("north", authority=authority, fingerprint=north.request().fingerprint, now=now)


def test_nobody_is_approved_without_a_fingerprint_or_a_request(
    empty: Registry, authority: Any, north: Any, now: datetime
) -> None:
    with pytest.raises(SecurityError, match="no key of the site that is valid now signed this request"):
        empty.with_request(north.request()).approve("north", authority=authority, fingerprint="", now=now)
    with pytest.raises(SecurityError, match=r"site north has no request waiting \(waiting: none\)"):
        empty.approve("north", authority=authority, fingerprint=north.request().fingerprint, now=now)
    with pytest.raises(SecurityError, match=r"site: '\.\./x' is no name"):
        empty.approve("../x", authority=authority, fingerprint="", now=now)


def test_keys_rotate_with_an_overlap_and_without_a_telephone(
    empty: Registry, authority: Any, north: Any, fresh: Any, now: datetime
) -> None:
    first = enrolled(empty, authority, north.request(), now)
    renewal = fresh.request(present=north.signing)
    both, _ = first.with_request(renewal).approve("north", authority=authority, fingerprint="", now=now, days=500)
    keys = {public_pem(north.node.public_key()): "north", public_pem(fresh.node.public_key()): "north"}
    assert both.node_keys(now) == keys
    assert len(both.signing_keys("north", now)) == 2
    # The first ends by itself after 365 days, the second goes on.
    assert both.node_keys(now + timedelta(days=400)) == {public_pem(fresh.node.public_key()): "north"}
    old = both.sites["north"][0].identity.serial
    alone = both.revoke("north", reason="rotated", now=now, serial=old)
    assert alone.node_keys(now) == {public_pem(fresh.node.public_key()): "north"}
    assert alone.status(now) == {"north": "valid"}


def test_a_renewal_that_a_revoked_key_signed_needs_the_telephone(
    empty: Registry, authority: Any, north: Any, fresh: Any, now: datetime
) -> None:
    gone = enrolled(empty, authority, north.request(), now).revoke("north", reason="stolen", now=now)
    asked = gone.with_request(fresh.request(present=north.signing))
    with pytest.raises(SecurityError, match="have the hospital read its fingerprint out"):
        asked.approve("north", authority=authority, fingerprint="", now=now)
    back, _ = asked.approve(
        "north", authority=authority, fingerprint=fresh.request(present=north.signing).fingerprint, now=now
    )
    assert back.node_keys(now) == {public_pem(fresh.node.public_key()): "north"}


def test_a_revoked_site_has_no_key_and_its_keys_never_return(
    empty: Registry, authority: Any, north: Any, now: datetime
) -> None:
    gone = enrolled(empty, authority, north.request(), now).revoke("north", reason="laptop stolen", now=now)
    assert gone.node_keys(now) == {}
    assert gone.signing_keys("north", now) == []
    assert gone.status(now) == {"north": "revoked"}
    assert (gone.sites["north"][0].revoked, gone.sites["north"][0].reason) == (int(now.timestamp()), "laptop stolen")
    for site in ("north", "west"):
        with pytest.raises(SecurityError, match=f"site {site} asks for a key that was revoked"):
            gone.with_request(replace(north, site=site).request())


def test_a_certificate_renewed_for_a_key_falls_with_the_key(
    empty: Registry, authority: Any, north: Any, now: datetime
) -> None:
    both = enrolled(enrolled(empty, authority, north.request(), now), authority, north.request(), now)
    one = both.sites["north"][0].identity.serial
    assert both.revoke("north", reason="stolen", now=now, serial=one).node_keys(now) == {}


def test_a_key_of_another_site_is_refused(
    empty: Registry, authority: Any, north: Any, south: Any, now: datetime
) -> None:
    registry = enrolled(empty, authority, north.request(), now)
    for thief in (replace(south, node=north.node), replace(south, signing=north.signing), replace(north, site="south")):
        with pytest.raises(SecurityError, match="site south asks for a key of site north"):
            registry.with_request(thief.request())


def test_a_key_that_was_revoked_while_the_request_waited_is_refused(
    empty: Registry, authority: Any, north: Any, now: datetime
) -> None:
    waiting = enrolled(empty, authority, north.request(), now).with_request(north.request())
    gone = waiting.revoke("north", reason="stolen", now=now)
    with pytest.raises(SecurityError, match="asks for a key that was revoked"):
        gone.approve("north", authority=authority, fingerprint=north.request().fingerprint, now=now)


def test_a_name_in_other_capitals_or_of_another_study_is_refused(
    empty: Registry, authority: Any, north: Any, south: Any, now: datetime
) -> None:
    registry = enrolled(empty, authority, north.request(), now)
    with pytest.raises(SecurityError, match="site NORTH differs from site north in capitals only"):
        registry.with_request(replace(south, site="NORTH").request())
    with pytest.raises(SecurityError, match="the request is for study lung, this is heart"):
        registry.with_request(south.request("lung"))


def test_an_expired_site_is_out(empty: Registry, authority: Any, north: Any, now: datetime) -> None:
    registry = enrolled(empty, authority, north.request(), now, days=10)
    later = now + timedelta(days=11)
    assert registry.status(later) == {"north": "expired"}
    assert registry.node_keys(later) == {}
    assert registry.signing_keys("north", now - timedelta(days=1)) == []


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 201, "\x1b[2J"])
def test_revoking_needs_a_reason_in_one_printable_line(
    empty: Registry, authority: Any, north: Any, now: datetime, reason: str
) -> None:
    with pytest.raises(SecurityError, match="needs a reason"):
        enrolled(empty, authority, north.request(), now).revoke("north", reason=reason, now=now)


def test_revoking_what_is_not_there_is_a_sentence(empty: Registry, authority: Any, north: Any, now: datetime) -> None:
    registry = enrolled(empty, authority, north.request(), now)
    for arguments in ({"site": "south"}, {"site": "north", "serial": "abc"}):
        with pytest.raises(SecurityError, match="has no unrevoked certificate"):
            registry.revoke(reason="x", now=now, **arguments)
    gone = registry.revoke("north", reason="x", now=now)
    with pytest.raises(SecurityError, match="has no unrevoked certificate"):
        gone.revoke("north", reason="x", now=now)


def test_a_request_can_be_turned_down(empty: Registry, north: Any, now: datetime) -> None:
    assert empty.with_request(north.request()).without_request("north").status(now) == {}
    with pytest.raises(SecurityError, match="no request waiting"):
        empty.without_request("north")


def test_a_strangers_certificate_is_no_entry(
    empty: Registry, stranger: Any, authority: Any, north: Any, now: datetime
) -> None:
    with pytest.raises(SecurityError, match="was not issued by an authority"):
        entry_for(issue_site(stranger, north.request(), now=now), empty, "north", approved=0)
    with pytest.raises(SecurityError, match="is for the name 'north', not south"):
        entry_for(issue_site(authority, north.request(), now=now), empty, "south", approved=0)
