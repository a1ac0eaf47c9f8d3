"""Which replies count: the checks between the network and the spool.

A reply is admitted when it comes from the site that was asked, for this round, this plan and this base model, once,
with exactly the plan's tensors, finite, and within the norm bound. Anything else is recorded and left out; the round
closes with the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from core.errors import UpdateRejected
from core.federation.codec import Codec, codec_for
from core.federation.plan import Plan
from core.federation.tensors import Tensors, digest_of
from core.federation.update import Skipped, Update, check_arrays, check_metrics, difference_norm
from server.spool import Spool

LONGEST = 500
"""Characters of a reason: it may quote the reply, and every site gets it with the receipt."""

Answer = Update | Skipped | UpdateRejected
"""What came of one site: an update, a reason to skip, or a reply that could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One admitted update, as the receipt names it."""

    digest: str
    norm: float
    metrics: dict[str, float]
    bytes: int


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What a round's replies came to; each list by site."""

    admitted: dict[str, Entry] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """Skipped by its own choice, no reply in time, or the client failed."""
    ignored: list[str] = field(default_factory=list)
    """Second copies and replies of earlier rounds: noted, held against nobody."""


def admit_all(
    answers: Iterable[tuple[str, Answer]], *, asked: list[str], plan: Plan, number: int, base: Tensors, spool: Spool
) -> Outcome:
    """Check each answer as it comes, spool the good ones, and account for every site that was asked."""
    outcome = Outcome()
    codec = codec_for(plan.codec)
    base_digest = digest_of(base)
    for site, answer in answers:
        if site not in asked:
            outcome.ignored.append(f"{site}: not asked in round {number}")
        elif isinstance(answer, Update | Skipped) and answer.round < number:
            outcome.ignored.append(f"{site}: reply of round {answer.round} came in round {number}, too late")
        elif site in outcome.admitted or site in outcome.refused or site in outcome.absent:
            outcome.ignored.append(f"{site}: second reply in round {number}")
        elif isinstance(answer, Skipped):
            outcome.absent[site] = answer.reason
        else:
            try:
                update = _unwrap(answer)
                outcome.admitted[site] = _admit(
                    update, site=site, plan=plan, number=number, base=base, base_digest=base_digest, codec=codec
                )
                spool.add(site, update.arrays)
            except UpdateRejected as error:
                outcome.refused[site] = str(error)[:LONGEST]
    for site in asked:
        if site not in outcome.admitted and site not in outcome.refused:
            outcome.absent.setdefault(site, "no reply in time")
    return outcome


def _unwrap(answer: Answer) -> Update:
    if isinstance(answer, UpdateRejected):
        raise answer
    assert isinstance(answer, Update)
    return answer


def _admit(
    update: Update, *, site: str, plan: Plan, number: int, base: Tensors, base_digest: str, codec: Codec
) -> Entry:
    """One update's checks; raises UpdateRejected with a sentence that names site and round."""
    place = f"site {site}, round {number}"
    try:
        if update.site != site:
            raise UpdateRejected(f"the reply says it is of site {update.site!r}")
        if update.round != number:
            raise UpdateRejected(f"the reply is for round {update.round}")
        if update.plan_digest != plan.digest:
            raise UpdateRejected(f"trained under plan {update.plan_digest[:12]}, not {plan.digest[:12]}")
        if update.base_digest != base_digest:
            raise UpdateRejected(f"trained from model {update.base_digest[:12]}, not {base_digest[:12]}")
        check_metrics(update.metrics)
        check_arrays(update.arrays, spec=plan.tensors, codec=codec)
        norm = difference_norm(update.arrays, base=base, codec=codec)
        if norm > plan.norm_bound:
            raise UpdateRejected(
                f"norm {norm:.4g} exceeds {plan.norm_bound:.4g}; the reply was not clipped, upgrade the client"
            )
    except UpdateRejected as error:
        raise UpdateRejected(f"{place}: {error}") from error
    size = sum(value.nbytes for value in update.arrays.values())
    return Entry(digest=digest_of(update.arrays), norm=norm, metrics=update.metrics, bytes=size)
