"""The card beside a released encoder: what it is, what it saw, what it may be used for."""

from collections.abc import Mapping
from typing import Any

from simulations.arms import Bench

_CARD = """# Encoder of the run `{name}`

A vision transformer for B-mode ultrasound, pretrained by spatial-frequency dual masked image modelling in a simulated
federation of {hospitals} hospitals. No image left a hospital; encoder and decoder updates did.

| | |
|---|---|
| file | `encoder.safetensors`, SHA-256 over its tensors `{digest}` |
| the same for timm | `encoder_timm/`: `timm.create_model("local-dir:encoder_timm", pretrained=True)` |
| architecture | ViT, width {width}, {depth} blocks, {heads} heads, patch {patch}, \
{side} x {side} pixels, {channels} input channel(s) |
| input | grey images in [0, 1], standardized by each image's own mean and deviation |
| plan | `{plan}` |
| training | {rounds} rounds of {steps} steps of \
{batch} images |
| held-out loss | {loss}{before} |
| privacy | **No differential privacy.** Updates went to the server as they were. |

## What it saw

| organ | training patients | target mix |
|---|---|---|
{organs}

| licence of the training images | images |
|---|---|
{licences}

Whoever uses the weights is bound by these licences as far as they reach; images under a non-commercial licence make
commercial use doubtful.

## Limits

{limits}
* Not a medical device. Not for diagnosis. Features of unseen organs, devices and populations are untested.
"""


def model_card(bench: Bench, metrics: Mapping[str, Any], *, encoder_hash: str) -> str:
    """Markdown."""
    config, plan = bench.config, bench.plan
    arms = metrics["by_seed"][str(bench.seed)]["arms"]  # the encoder is this seed's
    start = arms.get("random_init", {}).get("held_out_loss", {}).get("overall")
    return _CARD.format(
        name=config.name,
        hospitals=len(plan.weights),
        digest=encoder_hash,
        width=config.encoder.width_,
        depth=config.encoder.depth_,
        heads=config.encoder.heads_,
        patch=config.encoder.patch,
        side=config.encoder.side,
        channels=config.encoder.channels,
        plan=plan.digest,
        rounds=config.federation.rounds,
        steps=config.federation.local_steps,
        batch=config.training.batch,
        loss=f"{arms['federated']['held_out_loss']['overall']:.4f}",
        before=f" (random weights: {start:.4f})" if start is not None else "",
        organs="\n".join(f"| {organ} | {n} | {plan.mix[organ]:.3f} |" for organ, n in plan.totals.items()),
        licences="\n".join(f"| {name} | {images} |" for name, images in metrics["licences"].items()),
        limits="\n".join(f"* {limit}" for limit in metrics["limits"]),
    )
