"""The consortium's Flower app: wiring only.

Run configuration: `study` (JSON of `StudyConfig`, or of `TaskStudyConfig` for fine-tuning), `folder` (where state, plan
and receipts are kept); if a person lifts a quarantine, `reinstate` (sites with commas between); if not from random
weights, `start` (a file of them: the whole model, or for fine-tuning the encoder).
"""

import json
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core.errors import PlanError
from core.federation.task_section import task_to_json
from core.federation.tensors import Tensors
from core.files import load_tensors, write_text
from server.channel import Channel
from server.rounds import Observer, reinstate, run_study
from server.state import ServerState, Store
from server.study import make_plan, study_from_json
from server.task_study import TaskPlan, make_task_plan, task_study_from_json


class Quiet:
    """An observer that says nothing."""

    def phase(self, name: str, number: int) -> None:
        """Nothing."""

    def closed(self, state: ServerState) -> None:
        """Nothing."""


def server_app(*, observer: Observer | None = None) -> ServerApp:
    """A `ServerApp` that runs one study to its end, from the saved state if there is one."""
    application = ServerApp()

    @application.main()
    def main(grid: Grid, context: Context) -> None:
        values = json.loads(str(context.run_config["study"]))
        store = Store(Path(str(context.run_config["folder"])))
        named = str(context.run_config.get("start", ""))
        given = load_tensors(Path(named), schema=1)[0] if named else None
        channel, (plan, model, start) = _planned(grid, values, given)
        answers = channel.approvals(plan.document, sites=plan.weights, start=start)
        if refused := [f"site {site}: {why}" for site, (approved, why) in sorted(answers.items()) if not approved]:
            raise PlanError(refused, title="plan not approved")
        state = store.load(plan_digest=plan.digest)
        if state is None:
            write_text(store.folder / "plan.json", plan.document)
            sent = len(plan.weights) * sum(value.nbytes for value in start.values())
            state = ServerState(round=0, model=model, bytes_down=sent)
            store.save(state, plan_digest=plan.digest)
        named = str(context.run_config.get("reinstate", ""))
        state = reinstate(state, [site for site in named.split(",") if site])
        run_study(state, plan=plan, ask=channel.ask, store=store, observer=observer or Quiet())

    return application


def _planned(grid: Grid, values: dict[str, Any], given: Tensors | None) -> tuple[Channel, TaskPlan]:
    """Ask the sites what they hold, and plan: fine-tuning where the study names a task, else pretraining."""
    if "task" in values:
        tuning = task_study_from_json(values)
        channel = Channel(grid, timeout=tuning.federation.timeout)
        return channel, make_task_plan(tuning, channel.labelled(task_to_json(tuning.task)), start=given)
    study = study_from_json(values)
    channel = Channel(grid, timeout=study.federation.timeout)
    plan, model = make_plan(study, channel.counts(), start=given)
    return channel, TaskPlan(plan=plan, model=model, start={})


app = server_app()
