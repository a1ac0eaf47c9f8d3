"""One round at a hospital: check the model, train, keep the moments, prepare what leaves."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from client.generations import Generations, Kept
from client.outgoing import outgoing
from client.site import Site
from core.errors import PlanError
from core.federation.plan import Plan
from core.federation.tensors import digest_of, load_state, problems_with, state_of
from core.federation.update import Instruction, Skipped, Update
from core.files import append_line
from core.models.build import build_model
from core.training.pretrain import Pretraining, Summary, load_moments, moments_of
from core.training.settings import TrainingConfig
from core.training.source import Source

OnStep = Callable[[str, int, float, int], None]
"""Told after each step: site, step, loss, images."""


@dataclass
class Trainer:
    """What a hospital keeps in memory between rounds: its images, the model's modules."""

    site: Site
    on_step: OnStep | None = None
    kind: type[Pretraining] = Pretraining
    """What trains; the benchmark puts one here that takes no step."""
    _built: dict[str, tuple[Pretraining, Source]] = field(default_factory=dict)

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
        base_digest = digest_of(instruction.base)
        training, source = self._prepare(plan)
        generations = Generations(self.site.folder)
        load_state(training.model, instruction.base)
        kept = generations.settle(instruction.folded)
        load_moments(training.model, training.optimizer, kept.moments)
        summary = training.run(
            source,
            first=instruction.round * plan.local_steps,
            steps=plan.local_steps,
            on_step=self._tell,
            where=f"site {self.site.name}, round {instruction.round}",
        )
        leaving = outgoing(state_of(training.model), base=instruction.base, plan=plan, residual=kept.residual)
        moments = moments_of(training.model, training.optimizer) if plan.local_state == "kept" else {}
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
            metrics=_told(summary),
        )

    def _prepare(self, plan: Plan) -> tuple[Pretraining, Source]:
        if plan.digest not in self._built:
            model = build_model(plan.encoder, plan.objective, seed=plan.seed)
            config = TrainingConfig(**plan.training)
            training = self.kind(model, config=config, total_steps=plan.rounds * plan.local_steps)
            self._built = {plan.digest: (training, self.site.source(plan))}
        return self._built[plan.digest]

    def _tell(self, step: int, loss: float, images: int) -> None:
        if self.on_step is not None:
            self.on_step(self.site.name, step, loss, images)


def _told(summary: Summary) -> dict[str, float]:
    """The metrics of the allow-list (`core.federation.update.METRICS`)."""
    return {
        "loss": summary.loss,
        "spatial": summary.spatial,
        "frequency": summary.frequency,
        "images": float(summary.images),
        "seconds": summary.seconds,
    }


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
