"""The consortium's Flower app: wiring only.

Run configuration: `study` (JSON of `StudyConfig`), `folder` (where state, plan and receipts are kept); if a person
lifts a quarantine, `reinstate` (sites with commas between); if not from random weights, `start` (a file of them).
"""

import json
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core.errors import PlanError
from core.files import load_tensors, write_text
from server.channel import Channel
from server.rounds import Observer, reinstate, run_study
from server.state import ServerState, Store
from server.study import make_plan, study_from_json


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
        study = study_from_json(json.loads(str(context.run_config["study"])))
        store = Store(Path(str(context.run_config["folder"])))
        channel = Channel(grid, timeout=study.federation.timeout)
        named = str(context.run_config.get("start", ""))
        start = load_tensors(Path(named), schema=1)[0] if named else None
        plan, model = make_plan(study, channel.counts(), start=start)
        refused = {site: why for site, (approved, why) in channel.approvals(plan.document).items() if not approved}
        if refused:
            raise PlanError([f"site {site}: {why}" for site, why in sorted(refused.items())], title="plan not approved")
        state = store.load(plan_digest=plan.digest)
        if state is None:
            write_text(store.folder / "plan.json", plan.document)
            state = ServerState(round=0, model=model)
            store.save(state, plan_digest=plan.digest)
        named = str(context.run_config.get("reinstate", ""))
        state = reinstate(state, [site for site in named.split(",") if site])
        run_study(state, plan=plan, ask=channel.ask, store=store, observer=observer or Quiet())

    return application


app = server_app()
