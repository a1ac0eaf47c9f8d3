"""Speed and memory, as ratios against a named baseline measured in the same run.

    python -m simulations.bench [--seconds S] [--json FILE]

Every pair is timed in turn (baseline, candidate, baseline, ...), so that a machine that slows down slows both; the
median counts. Absolute numbers of two runs are not comparable, ratios are.
"""

import json
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from core.data.cache import open_cache
from core.data.manifest import load_manifest
from core.data.phantom import build_phantom
from core.federation.codec import Exact
from core.models.build import build_model
from core.training.pretrain import make_optimizer
from core.training.settings import TrainingConfig
from server.spool import Spool, fold

SIDE = 64
"""Pixels, the demo's size."""
ENCODER: dict[str, Any] = {
    "size": "custom",
    "width": 128,
    "depth": 4,
    "heads": 4,
    "patch": 8,
    "side": SIDE,
    "channels": 1,
}
VISIBLE: dict[str, Any] = {"tokens": "visible", "mask_ratio": 0.75, "decoder_width": 96, "decoder_depth": 1}
ALL: dict[str, Any] = {"tokens": "all", "mask_ratio": 0.75}
BATCH = 16
SITES = 16
"""Replies of the fold's measurement."""
PARAMETERS = 1_000_000
"""Values in each of them."""

Work = Callable[[], int]
"""Does a unit of work and returns how many images it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One comparison."""

    what: str
    unit: str
    baseline_name: str
    baseline: float
    candidate_name: str
    candidate: float
    higher_is_better: bool = True

    @property
    def ratio(self) -> float:
        """Candidate against baseline, above 1 when the candidate is better."""
        return self.candidate / self.baseline if self.higher_is_better else self.baseline / self.candidate


def compare(what: str, *, baseline: tuple[str, Work], candidate: tuple[str, Work], seconds: float) -> Row:
    """Median images a second of two named pieces of work, timed in turn for about `seconds` each after one warm-up."""
    works = (baseline[1], candidate[1])
    found: tuple[list[float], list[float]] = ([], [])
    for work in works:
        work()
    end = time.monotonic() + 2 * seconds
    while time.monotonic() < end or not found[1]:
        for samples, work in zip(found, works, strict=True):
            start = time.perf_counter()
            items = work()
            samples.append(items / (time.perf_counter() - start))
    return Row(
        what=what,
        unit="images/s",
        baseline_name=baseline[0],
        baseline=statistics.median(found[0]),
        candidate_name=candidate[0],
        candidate=statistics.median(found[1]),
    )


def step(objective: dict[str, Any], *, precision: torch.dtype | None = None) -> Work:
    """One optimizer step of `BATCH` random images."""
    model = build_model(ENCODER, objective, seed=0)
    optimizer = make_optimizer(model, TrainingConfig())
    images = torch.rand(BATCH, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    seeds = torch.arange(BATCH)

    def work() -> int:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None):
            loss = model(images, seeds_B=seeds).total_B.mean()
        loss.backward()
        optimizer.step()
        return BATCH

    return work


def steps(seconds: float) -> Iterator[Row]:
    """The pretraining step: which tokens are encoded, in which precision."""
    whole = ("all tokens, float32", step(ALL))
    visible = ("visible only, float32", step(VISIBLE))
    short = ("visible only, bf16 autocast", step(VISIBLE, precision=torch.bfloat16))
    yield compare("pretraining step", baseline=whole, candidate=visible, seconds=seconds)
    yield compare("pretraining step", baseline=visible, candidate=short, seconds=seconds)


def reading(folder: Path, seconds: float) -> Iterator[Row]:
    """Images into memory: decoding each PNG again against the cache."""
    manifest = load_manifest(
        build_phantom(folder / "phantom", seed=0, patients_per_organ=4, frames=2, side=128, devices=2)
    )
    cache = open_cache(manifest, folder=folder / "cache", side=SIDE)
    rows = np.arange(len(manifest.records))

    def decode() -> int:
        for record in manifest.records:
            with Image.open(record.image) as image:
                np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        return len(rows)

    def cached() -> int:
        return len(cache.images(rows))

    baseline, candidate = ("Pillow, each image again", decode), ("memory-mapped cache", cached)
    yield compare("reading", baseline=baseline, candidate=candidate, seconds=seconds)


def folding() -> Iterator[Row]:
    """Peak memory of one round's aggregation: all replies held against the spool."""
    base = {"weight": np.zeros(PARAMETERS, np.float32)}
    weights = {f"s{number:02d}": 1.0 / SITES for number in range(SITES)}

    def reply(number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.random.default_rng(number).standard_normal(PARAMETERS, np.float32)

    def gather() -> None:
        replies = [reply(number) for number in range(SITES)]
        sum((value.astype(np.float64) / SITES for value in replies), np.zeros(PARAMETERS))

    def spooled() -> None:
        with Spool() as spool:
            for number, site in enumerate(weights):
                spool.add(site, {"weight": reply(number)})
            fold(spool, weights=weights, base=base, codec=Exact())

    yield Row(
        what=f"aggregating {SITES} replies",
        unit="MB peak",
        baseline_name="replies gathered in memory",
        baseline=peak_megabytes(gather),
        candidate_name="spool and fold",
        candidate=peak_megabytes(spooled),
        higher_is_better=False,
    )


def peak_megabytes(work: Callable[[], None]) -> float:
    """Largest memory that Python and NumPy held while working, in MB."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def main(
    seconds: Annotated[float, typer.Option(help="for each side of each comparison", min=0.01)] = 5.0,
    output: Annotated[Path | None, typer.Option("--json", help="also write the rows to this file")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of torch", min=1)] = 2,
) -> None:
    """Measure, print a table, and write it as JSON if asked."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        rows = [*steps(seconds), *reading(Path(name), seconds), *folding()]
    table = Table(
        "what", "baseline", "candidate", "unit", "ratio", title=f"torch {torch.__version__}, {threads} threads"
    )
    for row in rows:
        table.add_row(
            row.what,
            f"{row.baseline_name}: {row.baseline:,.1f}",
            f"{row.candidate_name}: {row.candidate:,.1f}",
            row.unit,
            f"{row.ratio:.2f}",
        )
    Console().print(table)
    if output is not None:
        output.write_text(json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
