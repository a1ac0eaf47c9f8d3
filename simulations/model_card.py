"""The card beside a released encoder: what it is, what it saw, what it may be used for."""

from collections.abc import Mapping
from typing import Any

from simulations.arms import Bench


def model_card(bench: Bench, metrics: Mapping[str, Any], *, encoder_hash: str) -> str:
    """Markdown."""
    config, plan = bench.config, bench.plan
    encoder = config.encoder
    organs = "\n".join(f"| {organ} | {n} | {plan.mix[organ]:.3f} |" for organ, n in plan.totals.items())
    licences = "\n".join(f"| {name} | {images} |" for name, images in metrics["licences"].items())
    limits = "\n".join(f"* {limit}" for limit in metrics["limits"])
    loss = metrics["arms"]["federated"]["held_out_loss"]["overall"]
    start = metrics["arms"].get("random_init", {}).get("held_out_loss", {}).get("overall")
    before = f" (random weights: {start:.4f})" if start is not None else ""
    return f"""# Encoder of the run `{config.name}`

A vision transformer for B-mode ultrasound, pretrained by spatial-frequency dual masked image modelling in a simulated
federation of {len(plan.weights)} hospitals. No image left a hospital; encoder and decoder updates did.

| | |
|---|---|
| file | `encoder.safetensors`, SHA-256 over its tensors `{encoder_hash}` |
| architecture | ViT, width {encoder.width_}, {encoder.depth_} blocks, {encoder.heads_} heads, patch {encoder.patch}, \
{encoder.side} x {encoder.side} pixels, {encoder.channels} input channel(s) |
| input | grey images in [0, 1], standardized by each image's own mean and deviation |
| plan | `{plan.digest}` |
| training | {config.federation.rounds} rounds of {config.federation.local_steps} steps of {config.training.batch} images |
| held-out loss | {loss:.4f}{before} |
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
