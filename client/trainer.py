"""One round at a hospital: check the model, train, keep the moments, prepare what leaves."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from client.generations import Generations, Kept
from client.learner import Learner, check_first, learner_for
from client.outgoing import outgoing
from client.site import Site
from core.errors import PlanError
from core.federation.plan import Plan
from core.federation.tensors import digest_of, load_state, problems_with, state_of
from core.federation.update import Instruction, Skipped, Update
from core.files import append_line
from core.training.pretrain import Pretraining, load_moments, moments_of

OnStep = Callable[[str, int, float, int], None]
"""Told after each step: site, step, loss, images."""


@dataclass
class Trainer:
    """What a hospital keeps in memory between rounds: its images, the model's modules."""

    site: Site
    on_step: OnStep | None = None
    kind: type[Pretraining] = Pretraining
    """What trains; the benchmark puts one here that takes no step."""
    _built: dict[str, Learner] = field(default_factory=dict)

    def round(self, instruction: Instruction) -> Update | Skipped:
        """Train the plan's steps from the instruction's model.

        Raises:
            PlanError: The plan is not approved here, or the model is not the plan's.
            TrainingError: The loss is not finite.
        """
        plan = self.site.approved_plan(instruction.plan_digest)
        append_line(self.site.folder / "receipts.jsonl", instruction.receipt)
        if instruction.round in self.site.skip:
            return Skipped(site=self.site.name, round=instruction.round, reason="the site sits this round out")
        check_base(instruction, plan)
        check_first(instruction, plan, self.site)
        base_digest = digest_of(instruction.base)
        learner = self._prepare(plan)
        generations = Generations(self.site.folder)
        load_state(learner.model, learner.still | instruction.base)
        kept = generations.settle(instruction.folded)
        load_moments(learner.model, learner.optimizer, kept.moments)
        told = learner.run(
            first=instruction.round * plan.local_steps,
            on_step=self._tell,
            where=f"site {self.site.name}, round {instruction.round}",
        )
        leaving = outgoing(state_of(learner.model), base=instruction.base, plan=plan, residual=kept.residual)
        moments = moments_of(learner.model, learner.optimizer) if plan.local_state == "kept" else {}
        generations.propose(
            Kept(moments=moments, residual=leaving.residual),
            number=instruction.round,
            base_digest=base_digest,
            update_digest=digest_of(leaving.arrays),
        )
        return Update(
            site=self.site.name,
            plan_digest=plan.digest,
            round=instruction.round,
            base_digest=base_digest,
            arrays=leaving.arrays,
            metrics=told,
        )

    def _prepare(self, plan: Plan) -> Learner:
        if plan.digest not in self._built:
            self._built = {plan.digest: learner_for(plan, self.site, kind=self.kind)}
        return self._built[plan.digest]

    def _tell(self, step: int, loss: float, images: int) -> None:
        if self.on_step is not None:
            self.on_step(self.site.name, step, loss, images)


def check_base(instruction: Instruction, plan: Plan) -> None:
    """The downloaded model is the plan's: names, shapes, finite values, a round of the plan; or PlanError."""
    found = problems_with(instruction.base, plan.tensors)
    found += [
        f"{name} holds NaN or infinity" for name, value in instruction.base.items() if not np.isfinite(value).all()
    ]
    if not 0 <= instruction.round < plan.rounds:
        found.append(f"round {instruction.round} is outside the plan's {plan.rounds} rounds")
    if found:
        raise PlanError(found, title="the model from the server is refused")
