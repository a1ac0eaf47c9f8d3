"""The arms of one seed: what each trains on and for how long; a kill anywhere loses nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from core.federation.task_section import section_of
from core.federation.tensors import digest_of, state_of
from core.training.finetune import FineTuning
from core.training.labelled_source import LabelledSource
from server.state import Store
from simulations.display import Display
from simulations.federated_finetune.data import TaskData

Make = Callable[..., Any]


class Killed(BaseException):
    """What a kill looks like from inside: nobody catches it."""


class KillingDisplay(Display):
    """Kills after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(Console(quiet=True))
        self._left = steps

    def advance(self, task: Any, text: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


def test_the_arms_are_the_hospitals_with_labels_the_federation_and_the_pool(bench: Make) -> None:
    assert list(bench("a").names()) == [
        "local:east", "local:north", "federated", "centralized_wide", "centralized_long"
    ]  # fmt: skip


def test_a_hospital_alone_is_its_own_loop(bench: Make, data: TaskData) -> None:
    found = bench("a")
    task = section_of(found.planned.plan).task
    loop = FineTuning(found.model(), config=task.tuning, total_steps=6, seed=0)
    source = LabelledSource(labelled=data.hospitals["east"], task=task, side=16, seed=0, stream="east")
    loop.run(source, first=0, steps=6)
    assert digest_of(found.run("local:east")[0].model) == digest_of(state_of(loop.model))


def test_each_way_to_pool_takes_as_many_images_as_the_federation(bench: Make) -> None:
    found = bench("a")
    # rounds x steps x batch, for each of the two hospitals with labels
    images = {name: found.run(name)[0].images for name in found.names()}
    assert images == {
        "local:east": 18, "local:north": 18, "federated": 36, "centralized_wide": 36, "centralized_long": 36
    }  # fmt: skip


def test_the_federation_asks_the_hospital_without_labels_and_trains_without_it(bench: Make) -> None:
    found = bench("a")
    trained, _ = found.run("federated")
    store = Store(found.arms / "federated" / "server")
    assert all(line["without_label"] == {"west": "holds no label of task lesion"} for line in store.receipts())
    state = store.load(plan_digest=found.planned.plan.digest)
    assert state is not None
    assert digest_of({name: trained.model[name] for name in state.model}) == state.digest


def test_the_frozen_encoder_is_that_of_the_start_in_every_arm(bench: Make) -> None:
    found = bench("a", "task.tuning.encoder=frozen")
    start = {f"encoder.{name}": value for name, value in found.planned.start.items()}
    for name in found.names():
        model = found.run(name)[0].model
        assert digest_of({name: value for name, value in model.items() if name in start}) == digest_of(start)


@pytest.mark.parametrize(
    ("name", "steps"), [("local:north", 0), ("local:north", 3), ("federated", 7), ("centralized_long", 9)]
)
def test_an_arm_that_was_killed_goes_on_to_the_same_bits(bench: Make, name: str, steps: int) -> None:
    whole = bench("whole").run(name)
    with pytest.raises(Killed):
        bench("killed", display=KillingDisplay(steps)).run(name)
    resumed = bench("killed").run(name)
    assert digest_of(resumed[0].model) == digest_of(whole[0].model)
    assert resumed[1] == whole[1]
    assert resumed[0].curve == whole[0].curve


def test_a_finished_arm_is_not_trained_again(bench: Make) -> None:
    first = bench("a").run("local:east")
    again = bench("a", display=KillingDisplay(0)).run("local:east")
    assert again[1] == first[1]
