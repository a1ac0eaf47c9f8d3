"""Rows on aggregation: our spool, admission and fold against Flower's weighted mean of everything in memory.

Flower gets float32 replies; in the fold's row as its `Array` objects, which hold bytes, in the wire's row as it sends
them. What it does with them is decode and add. The new global model comes out on both sides.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import RecordDict

from core.federation.codec import codec_for
from core.federation.plan import Plan
from core.federation.tensors import Tensors, digest_of, spec_of
from core.federation.update import Update
from core.federation.wire import answer_from_records, answer_to_records
from server.admission import Answer, admit_all
from server.optimizer import ServerOptimizerConfig, step
from server.spool import Mean, Spool
from simulations.bench import flower
from simulations.bench.rows import Row, Settings, in_child, in_turn, peak_growth

UPDATES = 10
STEP = np.float32(1e-3)
"""What a value of an update differs by, about."""


def folding(settings: Settings) -> Row:
    """Updates that wait in the spool, folded to the next model."""
    base = model(settings)
    row = Row(
        name="fold",
        baseline_name="Flower aggregate_arrayrecords, float32",
        ours_name="spool to the next model, exact (float64 sums)",
        goal=4.0,
        sizes=_sizes(settings, base),
    )
    theirs = [flower.reply(trained(base, number)) for number in range(_updates(settings))]
    with Spool() as spool:
        for number in range(len(theirs)):
            spool.add(f"s{number:02d}", trained(base, number))
        return in_turn(
            row,
            baseline=lambda: flower.aggregate(theirs),
            ours=lambda: stepped(spool, base, "exact"),
            seconds=settings.seconds,
        )


def from_the_wire(settings: Settings) -> Row:
    """Replies as bytes of the wire, unpacked by Flower, checked, spooled and folded to the next model."""
    base, count = model(settings), _updates(settings)
    row = Row(
        name="wire",
        baseline_name="Flower from bytes, float32, unchecked",
        ours_name="from bytes, bf16, checked, spooled, folded",
        goal=2.0,
        sizes=f"{_sizes(settings, base)}, of which two differ",
    )
    # Each message is sent for several sites: both sides read bytes that left the caches long ago.
    theirs = [flower.on_the_wire(flower.reply(trained(base, number))) for number in range(2)]
    plan = study(base, sites=count)
    ours = [flower.on_the_wire(records) for records in replies(base, plan, different=2)]
    return in_turn(
        row,
        baseline=lambda: flower.aggregate(flower.off_the_wire(*theirs[number % 2]) for number in range(count)),
        ours=lambda: round_of((flower.off_the_wire(*ours[n % 2]) for n in range(count)), plan=plan, base=base),
        seconds=settings.seconds,
    )


def memory(settings: Settings) -> Row:
    """Peak memory of such a round over the idle server, in models."""
    base, count = model(settings), _updates(settings)
    files = settings.folder / "replies"
    plan = study(base, sites=count)
    for number, records in enumerate(replies(base, plan, different=count)):
        folder = files / f"{number:02d}"
        folder.mkdir(parents=True)
        root, contents = flower.on_the_wire(records)
        (folder / "root").write_text(root)
        for name, content in contents.items():
            (folder / f"{name}.object").write_bytes(content)
    megabytes = sum(value.nbytes for value in base.values()) / 1e6
    return Row(
        name="wire-memory",
        baseline_name="two models",
        ours_name="peak over the idle server, from bytes to the next model",
        goal=1.0,
        unit="MB",
        sizes=_sizes(settings, base),
        baseline=2 * megabytes,
        ours=in_child(_peak, base, plan, files),
    )


def model(settings: Settings) -> Tensors:
    """An encoder as large as ViT-Base: 86 million parameters, 343 MB."""
    width, blocks = (16, 2) if settings.small else (768, 12)
    shapes: dict[str, tuple[int, ...]] = {"embed": (width, 3 * 16**2)}
    for number in range(blocks):
        matrices = {
            "qkv": (3 * width, width), "proj": (width, width), "fc1": (4 * width, width), "fc2": (width, 4 * width)
        }  # fmt: skip
        vectors = {"norm1": (width,), "norm2": (width,), "scale1": (width,), "scale2": (width,), "bias": (4 * width,)}
        shapes |= {f"blocks.{number:02d}.{name}": shape for name, shape in (matrices | vectors).items()}
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal(shape, np.float32) for name, shape in sorted(shapes.items())}


def trained(base: Tensors, number: int) -> Tensors:
    """What site `number` made of it."""
    generator = np.random.default_rng(number + 1)
    return {name: value + STEP * generator.standard_normal(value.shape, np.float32) for name, value in base.items()}


def study(base: Tensors, *, sites: int) -> Plan:
    """A plan of that many equal sites for this model, codec bf16."""
    names = [f"s{number:02d}" for number in range(sites)]
    section: dict[str, Any] = {}
    return Plan(
        study="bench", seed=0, code_version="0", environment=section, rounds=1, local_steps=1, encoder=section,
        objective=section, augmentation=section, training=section, weighting="organ_aware", totals={}, unused={},
        mix={"breast": 1.0}, counts={name: {"breast": 1} for name in names},
        weights=dict.fromkeys(names, 1 / sites), draws={name: {"breast": 1.0} for name in names}, server=section,
        codec="bf16", local_state="kept", norm_bound=1e3, min_sites=1, tensors=spec_of(base),
    )  # fmt: skip


def replies(base: Tensors, plan: Plan, *, different: int) -> Iterator[RecordDict]:
    """The replies of the plan's first sites."""
    codec, digest = codec_for(plan.codec), digest_of(base)
    for number, site in enumerate(sorted(plan.weights)[:different]):
        new = trained(base, number)
        arrays: dict[str, npt.NDArray[Any]] = {name: codec.encode(new[name], value) for name, value in base.items()}
        update = Update(site=site, plan_digest=plan.digest, round=0, base_digest=digest, arrays=arrays)
        yield answer_to_records(update)


def round_of(messages: Iterable[RecordDict], *, plan: Plan, base: Tensors) -> Tensors:
    """The server's part of a round: decode, check, spool, fold, step. A message is taken as the next site's."""
    sites = sorted(plan.weights)

    def answers() -> Iterator[tuple[str, Answer]]:
        for site, records in zip(sites, messages, strict=True):
            answer = answer_from_records(records)
            del records
            assert isinstance(answer, Update)
            yield site, replace(answer, site=site)

    with Spool() as spool:
        outcome = admit_all(answers(), asked=sites, plan=plan, number=0, base=base, spool=spool)
        assert sorted(outcome.admitted) == sites, outcome.refused
        return stepped(spool, base, plan.codec)


def _peak(base: Tensors, plan: Plan, files: Path) -> float:
    """Runs in a child: messages come one at a time, as Flower's grid pulls them."""

    def messages() -> Iterator[RecordDict]:
        for folder in sorted(files.iterdir()):
            contents = {file.stem: file.read_bytes() for file in folder.glob("*.object")}
            yield flower.off_the_wire((folder / "root").read_text(), contents, keep=False)

    return peak_growth(lambda: round_of(messages(), plan=plan, base=base))


def stepped(spool: Spool, base: Tensors, codec: str) -> Tensors:
    """The next model from equal weights."""
    weights = dict.fromkeys(spool.sites, 1 / len(spool.sites))
    mean = Mean(spool, weights=weights, base=base, codec=codec_for(codec))
    return step(base, mean, {}, config=ServerOptimizerConfig())[0]


def _updates(settings: Settings) -> int:
    return 3 if settings.small else UPDATES


def _sizes(settings: Settings, base: Tensors) -> str:
    megabytes = sum(value.nbytes for value in base.values()) / 1e6
    return f"{_updates(settings)} updates of {megabytes:,.1f} MB in float32"
