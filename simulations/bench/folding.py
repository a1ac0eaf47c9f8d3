"""Rows on aggregation: our spool, admission and fold against Flower's weighted mean of everything in memory.

Flower gets float32 replies as it would have pulled them, bytes in `Array` objects; what it does with them is decode and
add. The new global model comes out on both sides.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, RecordDict

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
    """Replies as they come off the wire, checked, spooled and folded to the next model."""
    base = model(settings)
    row = Row(
        name="wire",
        baseline_name="Flower from bytes, float32, unchecked",
        ours_name="from bytes, bf16, checked, spooled, folded",
        goal=2.0,
        sizes=_sizes(settings, base),
    )
    theirs = [flower.reply(trained(base, number)) for number in range(_updates(settings))]
    plan, ours = study(base, sites=len(theirs)), list(replies(base, sites=len(theirs)))
    return in_turn(
        row,
        baseline=lambda: flower.aggregate(theirs),
        ours=lambda: round_of(ours, plan=plan, base=base),
        seconds=settings.seconds,
    )


def memory(settings: Settings) -> Row:
    """Peak memory of such a round over the idle server, in models."""
    base = model(settings)
    files = settings.folder / "replies"
    files.mkdir()
    for number, arrays in enumerate(_encoded(base, sites=_updates(settings))):
        folder = files / f"s{number:02d}"
        folder.mkdir()
        for name, value in arrays.items():
            np.save(folder / f"{name}.npy", value)
    megabytes = sum(value.nbytes for value in base.values()) / 1e6
    return Row(
        name="wire-memory",
        baseline_name="two models",
        ours_name="peak over the idle server, from bytes to the next model",
        goal=1.0,
        unit="MB",
        sizes=_sizes(settings, base),
        baseline=2 * megabytes,
        ours=in_child(_peak, base, files),
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
        codec="bf16", norm_bound=1e3, min_sites=1, tensors=spec_of(base),
    )  # fmt: skip


def replies(base: Tensors, *, sites: int) -> Iterator[RecordDict]:
    """The sites' replies as messages, arrays as bytes."""
    plan, digest = study(base, sites=sites), digest_of(base)
    for number, arrays in enumerate(_encoded(base, sites=sites)):
        yield message(arrays, site=f"s{number:02d}", plan_digest=plan.digest, base_digest=digest)


def message(arrays: dict[str, npt.NDArray[Any]], *, site: str, plan_digest: str, base_digest: str) -> RecordDict:
    """One reply."""
    update = Update(site=site, plan_digest=plan_digest, round=0, base_digest=base_digest, arrays=arrays)
    return answer_to_records(update)


def round_of(messages: Iterable[RecordDict], *, plan: Plan, base: Tensors) -> Tensors:
    """The server's part of a round: decode, check, spool, fold, step."""
    sites = sorted(plan.weights)

    def answers() -> Iterator[tuple[str, Answer]]:
        for site, records in zip(sites, messages, strict=True):
            yield site, answer_from_records(records)

    with Spool() as spool:
        outcome = admit_all(answers(), asked=sites, plan=plan, number=0, base=base, spool=spool)
        assert sorted(outcome.admitted) == sites, outcome.refused
        return stepped(spool, base, plan.codec)


def _encoded(base: Tensors, *, sites: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    codec = codec_for("bf16")
    for number in range(sites):
        new = trained(base, number)
        yield {name: codec.encode(new[name], value) for name, value in base.items()}


def _peak(base: Tensors, files: Path) -> float:
    """Runs in a child: messages come one at a time, bytes in `Array` objects, as a grid hands them over."""
    folders = sorted(files.iterdir())
    plan, digest = study(base, sites=len(folders)), digest_of(base)

    def messages() -> Iterator[RecordDict]:
        for folder in folders:
            records = message({}, site=folder.name, plan_digest=plan.digest, base_digest=digest)
            records["update"] = ArrayRecord({file.stem: flower.stored(file) for file in sorted(folder.iterdir())})
            yield records

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
