"""The encoders of a study: taken out of the pretraining's arms, drawn at random or given, each known by its digest."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from core.errors import CheckpointError, ConfigError
from core.evaluation.arms import LOCAL
from core.federation.tensors import Tensors, digest_of, encoder_part, load_state, state_of
from core.files import load_tensors, save_tensors, write_json
from core.models.encoder import Encoder, EncoderConfig, PlainConfig, build_encoder
from core.models.weights import load_encoder
from core.seeding import derive
from simulations.label_efficiency.bench import Bench
from simulations.label_efficiency.config import FLOOR, LOCAL_ARM, LOCAL_BEST, PUBLIC
from simulations.results import load_result

SCHEMA_VERSION = 1
POOLED = "centralized_long"
"""The simulation's arm behind `centralized`: as many optimizer steps as all hospitals take together."""


def encoder_name(bench: Bench, arm: str, *, draw: int) -> str:
    """Which encoder an arm (`local:<hospital>` for one hospital's) fine-tunes in a draw.

    Random weights are new in each draw. Pretrained ones are those of training seed number `draw` modulo their number,
    and given ones are the same in all.
    """
    if arm.startswith(PUBLIC):
        return arm
    if arm == FLOOR:
        return f"{FLOOR}/seed-{draw}"
    seeds = bench.simulation.training_seeds
    return f"{arm}/seed-{seeds[draw % len(seeds)]}"


def make_encoders(bench: Bench, run: Path | None) -> dict[str, str]:
    """Write every encoder below `encoders/` and their digests into `encoders.json`; returns name to SHA-256.

    Args:
        bench: The study.
        run: Folder of the pretraining; None where no arm needs one.

    Raises:
        ConfigError: An arm that the run lacks, weights that do not load, a digest other than the expected one.
        CheckpointError: Encoders other than those that the study began with.
    """
    encoders = dict(_sources(bench, run))
    digests = {name: digest_of(state_of(encoder)) for name, encoder in encoders.items()}
    expected = bench.config.pretraining.digests
    problems = [f"pretraining.digests: there is no encoder {name!r}; the encoders are {', '.join(sorted(digests))}"
                for name in expected if name not in digests]  # fmt: skip
    problems += [f"encoder {name} has SHA-256 {digests[name]}, pretraining.digests says {wanted}"
                 for name, wanted in expected.items() if digests.get(name, wanted) != wanted]  # fmt: skip
    if problems:
        raise ConfigError(problems)
    kept = _kept(bench.folder / "encoders.json", digests)
    for name, encoder in encoders.items():
        if not (kept and _path(bench.folder, name).exists()):
            meta = {"schema_version": SCHEMA_VERSION, "encoder": asdict(encoder.config), "plain": encoder.config.plain}
            save_tensors(_path(bench.folder, name), state_of(encoder), meta=meta)
    write_json(bench.folder / "encoders.json", digests)
    return digests


def check_given(bench: Bench) -> None:
    """Load what is there before the study begins, given weights and a finished run's arms, so that none fails later.

    Raises:
        ConfigError: An arm that the run lacks, or weights that do not load.
        CheckpointError: A damaged file.
    """
    run = bench.config.pretraining.run
    for _ in _sources(bench, Path(run) if run else None):
        pass


def read_encoder(folder: Path, name: str, *, digest: str) -> Encoder:
    """An encoder that `make_encoders` wrote; raises CheckpointError where its file has another digest by now."""
    path = _path(folder, name)
    tensors, meta = load_tensors(path, schema=SCHEMA_VERSION)
    if digest_of(tensors) != digest:
        raise CheckpointError(
            f"{path}: not the encoder that the study began with; remove the file, --resume writes it again"
        )
    kind = PlainConfig if meta["plain"] else EncoderConfig
    encoder = build_encoder(kind(**meta["encoder"]), seed=0)
    load_state(encoder, tensors)
    return encoder


def _sources(bench: Bench, run: Path | None) -> Iterator[tuple[str, Encoder]]:
    config = bench.config
    for draw in range(config.draws):
        yield (
            encoder_name(bench, FLOOR, draw=draw),
            build_encoder(bench.simulation.encoder, seed=derive(draw, "init", "encoder")),
        )
    for name, path in config.public.items():
        yield f"{PUBLIC}{name}", load_encoder(Path(path), side=config.public_side or None).encoder
    if run is None:
        return
    trained = [arm for arm in config.arms if arm in ("federated", "centralized")]
    if {LOCAL_ARM, LOCAL_BEST} & {*config.arms}:
        trained += [f"{LOCAL}{site}" for site in sorted(bench.prepared.hospitals)]
    for arm in trained:
        for draw in range(min(config.draws, len(bench.simulation.training_seeds))):
            name = encoder_name(bench, arm, draw=draw)
            yield name, _trained(bench, run / "arms" / _folder(name))


def _folder(name: str) -> str:
    """Where the simulation keeps the arm behind an encoder: `federated/seed-0` is `seed-0/federated`."""
    arm, seed = name.split("/")
    return f"{seed}/{POOLED if arm == 'centralized' else arm}"


def _trained(bench: Bench, folder: Path) -> Encoder:
    result = load_result(folder)
    if result is None:
        raise ConfigError(
            f"{folder}: the pretraining has no such arm; run it with this arm and seed, or leave the arm out of arms"
        )
    encoder = build_encoder(bench.simulation.encoder, seed=0)
    _load(encoder, encoder_part(result[0].model), place=folder)
    return encoder


def _load(encoder: Encoder, tensors: Tensors, *, place: Path) -> None:
    try:
        load_state(encoder, tensors)
    except RuntimeError as error:  # what torch raises for names or shapes of another model
        told = " ".join(str(error).split())
        raise CheckpointError(
            f"{place}: its model is not that of the run's config.yaml ({told}); copy the run again"
        ) from error


def _path(folder: Path, name: str) -> Path:
    return folder / "encoders" / f"{name}.safetensors"


def _kept(path: Path, digests: Mapping[str, str]) -> bool:
    """Whether the study's encoders were written before; raises CheckpointError where they were others."""
    if not path.exists():
        return False
    try:
        old = json.loads(path.read_bytes())
        changed = sorted(name for name in {*old, *digests} if old.get(name) != digests.get(name))
    except (ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); start a new study") from error
    if changed:
        raise CheckpointError(
            f"{path}: the study began with other encoders ({', '.join(changed)}); start a new study, or --overwrite it"
        )
    return True
