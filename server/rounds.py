"""The round loop: choose, ask, fold, step.

The algorithm is FedOpt (Reddi et al., ICLR 2021, Algorithm 1) with the organ-aware weights of the plan.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from core.errors import FederationPaused
from core.federation.codec import codec_for
from core.federation.organs import effective_mix
from core.federation.plan import Plan
from core.federation.task_section import section_of
from core.federation.tensors import digest_of
from core.federation.update import Folded, Instruction
from server.admission import Answer, Entry, Outcome, admit_all
from server.optimizer import ServerOptimizerConfig, step
from server.spool import Mean, Spool
from server.state import ServerState, Store, receipt_line

PATIENCE = 2
"""Refusals running after which a site is quarantined for a person."""

Ask = Callable[[Mapping[str, Instruction]], Iterable[tuple[str, Answer]]]
"""Send each site its instruction; yield (site, answer) as replies come, until all have or time is up."""


class Observer(Protocol):
    """Told what happens, for progress and logs; it changes nothing."""

    def phase(self, name: str, number: int) -> None:
        """Round `number` reached phase `asked`, `folded` (enough updates are in), `stepped` or `saved`."""

    def closed(self, state: ServerState) -> None:
        """A round closed and was saved."""


def run_study(state: ServerState, *, plan: Plan, ask: Ask, store: Store, observer: Observer) -> ServerState:
    """Run the plan's remaining rounds; each ends with the state saved.

    Raises:
        FederationPaused: Fewer than `min_sites` updates; the saved state is that before the round, with its refusals.
    """
    while state.round < plan.rounds:
        with Spool() as spool:
            asked = {site: _instruction(state, plan, site) for site in cohort(state, plan)}
            observer.phase("asked", state.round)
            answers = ask(asked)
            outcome = admit_all(
                answers, asked=list(asked), plan=plan, number=state.round, base=state.model, spool=spool
            )
            state = judge(state, outcome)
            _require(outcome, plan, state, store)
            # Each tensor is folded when the step asks for it, so the spool stays open.
            mean = Mean(spool, weights=plan.weights, base=state.model, codec=codec_for(plan.codec))
            observer.phase("folded", state.round)
            model, moments = step(state.model, mean, state.moments, config=ServerOptimizerConfig(**plan.server))
        observer.phase("stepped", state.round)
        state = close(replace(state, model=model, moments=moments), outcome, plan, sent=len(asked))
        store.save(state, plan_digest=plan.digest)
        observer.phase("saved", state.round - 1)
        observer.closed(state)
    return state


def cohort(state: ServerState, plan: Plan) -> list[str]:
    """Every site of the plan that is not quarantined."""
    return [site for site in sorted(plan.weights) if site not in state.quarantined]


def judge(state: ServerState, outcome: Outcome) -> ServerState:
    """Count refusals running; quarantine at `PATIENCE`. An absence neither counts nor clears."""
    refusals = dict(state.refusals)
    quarantined = dict(state.quarantined)
    for site in outcome.admitted:
        refusals.pop(site, None)
    for site, reason in outcome.refused.items():
        refusals[site] = refusals.get(site, 0) + 1
        if refusals[site] >= PATIENCE:
            quarantined[site] = f"refused {PATIENCE} times running, last: {reason}"
    return replace(state, refusals=refusals, quarantined=quarantined)


def reinstate(state: ServerState, sites: Iterable[str]) -> ServerState:
    """Ask these sites again: a person has looked at them. A site that is not quarantined stays as it is."""
    named = set(sites)
    return replace(
        state,
        quarantined={site: reason for site, reason in state.quarantined.items() if site not in named},
        refusals={site: count for site, count in state.refusals.items() if site not in named},
    )


def close(state: ServerState, outcome: Outcome, plan: Plan, *, sent: int) -> ServerState:
    """The state after the round: its receipt, what was folded, what travelled."""
    line = receipt_line(
        {
            "schema_version": 1,
            "study": plan.study,
            "plan": plan.digest,
            "round": state.round,
            "contributors": {
                site: {"weight": plan.weights[site], **_recorded(entry)}
                for site, entry in sorted(outcome.admitted.items())
            },
            "refused": outcome.refused,
            "absent": outcome.absent,
            "ignored": sorted(outcome.ignored),
            "quarantined": state.quarantined,
            "effective_mix": effective_mix(plan.weights, plan.draws, outcome.admitted),
            "model_hash": digest_of(state.model),
            **({} if plan.task is None else {"without_label": section_of(plan).without_label}),
        },
        previous=state.receipt,
    )
    folded = {site: Folded(round=state.round, digest=entry.digest) for site, entry in outcome.admitted.items()}
    down = sent * sum(value.nbytes for value in state.model.values())
    up = sum(entry.bytes for entry in outcome.admitted.values())
    return replace(
        state,
        round=state.round + 1,
        folded=state.folded | folded,
        receipt=line,
        bytes_up=state.bytes_up + up,
        bytes_down=state.bytes_down + down,
        seconds=state.seconds + sum(entry.metrics.get("seconds", 0.0) for entry in outcome.admitted.values()),
    )


def _recorded(entry: Entry) -> dict[str, Any]:
    """An entry as the receipt has it: without the clock, so that a repeated round gives the same line."""
    return {**asdict(entry), "metrics": {name: value for name, value in entry.metrics.items() if name != "seconds"}}


def _instruction(state: ServerState, plan: Plan, site: str) -> Instruction:
    return Instruction(
        plan_digest=plan.digest,
        round=state.round,
        base=state.model,
        folded=state.folded.get(site),
        receipt=state.receipt,
    )


def _require(outcome: Outcome, plan: Plan, state: ServerState, store: Store) -> None:
    if len(outcome.admitted) >= plan.min_sites:
        return
    store.save(state, plan_digest=plan.digest)
    why = [f"{site}: {reason}" for site, reason in sorted((outcome.refused | outcome.absent).items())]
    why += [f"{site}: quarantined ({reason})" for site, reason in sorted(state.quarantined.items())]
    raise FederationPaused(
        f"round {state.round} has {len(outcome.admitted)} of at least {plan.min_sites} updates and stays open; the "
        f"model of the last closed round is in {store.state_path}; mend the sites and resume:\n  - "
        + "\n  - ".join(why)
    )
