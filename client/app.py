"""The hospital's Flower app: decode, call, encode; no mathematics.

Paper trail of one message: `query.counts` discloses patients by organ, `query.labels` those with a label of a task that
is allowed, `query.plan` asks for approval, `train.round` trains and answers with an update.
"""

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.site import site_from
from client.trainer import OnStep, Trainer
from core.federation import wire
from core.federation.task_section import task_from_json
from core.training.pretrain import Pretraining


def client_app(*, on_step: OnStep | None = None, kind: type[Pretraining] = Pretraining) -> ClientApp:
    """A `ClientApp`; images and model of a site stay in memory between its messages. `kind` trains."""
    application = ClientApp()
    trainers: dict[str, Trainer] = {}

    def trainer(context: Context) -> Trainer:
        key = str(context.node_config.get("folder"))
        if key not in trainers:
            trainers[key] = Trainer(site=site_from(context.node_config), on_step=on_step, kind=kind)
        return trainers[key]

    @application.query("counts")
    def counts(message: Message, context: Context) -> Message:
        site = trainer(context).site
        return _reply(message, wire.counts_to_records(site.name, site.counts()))

    @application.query("labels")
    def labels(message: Message, context: Context) -> Message:
        site, task = trainer(context).site, task_from_json(wire.task_from_records(message.content))
        return _reply(message, wire.counts_to_records(site.name, site.disclosed(task)))

    @application.query("plan")
    def plan(message: Message, context: Context) -> Message:
        document, start = wire.plan_from_records(message.content), wire.start_from_records(message.content)
        approved, reason = trainer(context).site.consider(document, start=start)
        return _reply(message, wire.approval_to_records(approved=approved, reason=reason))

    @application.train("round")
    def train(message: Message, context: Context) -> Message:
        answer = trainer(context).round(wire.instruction_from_records(message.content))
        return _reply(message, wire.answer_to_records(answer))

    return application


def _reply(message: Message, content: RecordDict) -> Message:
    return Message(content, reply_to=message)


app = client_app()
