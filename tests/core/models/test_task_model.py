"""Every head behind an encoder: shapes, independence of images, gradients, seeds, and that it learns."""

import copy

import pytest
import torch
from torch import Tensor

from core.errors import ConfigError
from core.models.encoder import EncoderConfig, build_encoder
from core.models.task_model import TaskModel, build_task_model
from core.training.task import HEADS, HeadConfig, Task

KINDS = {head: kind for kind, heads in HEADS.items() for head in heads}
ALL = pytest.mark.parametrize("head", KINDS)


def _task(head: str, *, width: int = 0) -> Task:
    kind = KINDS[head]
    classes = ["benign", "malignant", "normal"] if kind == "classification" else []
    return Task(kind=kind, classes=classes, head=HeadConfig(kind=head, width=width))


def _model(
    head: str, *, depth: int = 2, grid: int = 4, patch: int = 4, width: int = 32, inside: int = 0, seed: int = 0
) -> TaskModel:
    shape = EncoderConfig(size="custom", width=width, depth=depth, heads=2, patch=patch, side=grid * patch, channels=1)
    return build_task_model(build_encoder(shape, seed=1), _task(head, width=inside), seed=seed)


def _images(*, batch: int = 4, side: int = 16) -> tuple[Tensor, Tensor]:
    """Bright discs, half of them left and half of them right, in noise; and their masks."""
    draws = torch.Generator().manual_seed(0)
    line = torch.arange(side) + 0.5
    centres = torch.rand(batch, generator=draws) * side / 4 + side / 4
    centres[::2] += side / 4
    distance = (line[None, :, None] - side / 2) ** 2 + (line[None, None, :] - centres[:, None, None]) ** 2
    masks = (distance < (side / 4) ** 2).float()[:, None]
    return 2 * masks - 0.5 + 0.3 * torch.randn(batch, 1, side, side, generator=draws), masks


def _target(head: str, images: Tensor, masks: Tensor) -> Tensor:
    if KINDS[head] == "segmentation":
        return masks
    return torch.arange(len(images)) % 2 if KINDS[head] == "classification" else 2 * masks - 0.5


def _train(model: TaskModel, head: str, *, steps: int) -> list[float]:
    images, masks = _images()
    target = _target(head, images, masks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = model.loss(images, target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@ALL
@pytest.mark.parametrize(
    ("depth", "grid", "patch", "inside"), [(1, 4, 4, 0), (2, 1, 8, 24), (3, 5, 2, 8), (4, 8, 8, 0), (12, 2, 4, 20)]
)
def test_any_depth_grid_and_patch(head: str, depth: int, grid: int, patch: int, inside: int) -> None:
    model = _model(head, depth=depth, grid=grid, patch=patch, inside=inside)
    side = grid * patch
    for batch in (1, 3):
        images, masks = _images(batch=batch, side=side)
        expected = (batch, 3) if KINDS[head] == "classification" else (batch, 1, side, side)
        prediction = model(images)
        assert prediction.shape == expected
        assert prediction.isfinite().all()
        loss = model.loss(images, _target(head, images, masks))
        assert loss.shape == ()
        assert loss.isfinite()


@ALL
def test_images_of_a_batch_do_not_see_each_other(head: str) -> None:
    model = _model(head)
    _train(model, head, steps=1)  # so that no layer is zero
    images, masks = _images()
    target = _target(head, images, masks)
    with torch.no_grad():
        for mode in (True, False):
            model.train(mode)
            alone = torch.cat([model(image[None]) for image in images])
            torch.testing.assert_close(model(images), alone, rtol=1e-4, atol=1e-5)
            losses = [model.loss(image[None], one[None]) for image, one in zip(images, target, strict=True)]
            torch.testing.assert_close(model.loss(images, target), torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


@ALL
@pytest.mark.parametrize(("depth", "grid"), [(1, 4), (4, 8)])
def test_a_gradient_reaches_every_parameter(head: str, depth: int, grid: int) -> None:
    model = _model(head, depth=depth, grid=grid)
    if head == "restore":
        torch.nn.init.normal_(model.head.residual.weight, std=0.1)
    images, masks = _images(side=4 * grid)
    torch.autograd.backward(model.loss(images, _target(head, images, masks)))
    size = {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in model.named_parameters()}
    assert not [name for name, value in size.items() if value < 1e-9]


@ALL
def test_parameters_are_in_leaves_and_no_layer_keeps_statistics(head: str) -> None:
    model = _model(head)
    for module in model.modules():
        assert not (list(module.parameters(recurse=False)) and list(module.children()))
    assert not list(model.head.buffers())


@ALL
def test_the_seed_alone_fixes_the_first_weights(head: str) -> None:
    before = torch.random.get_rng_state()
    first, second, other = (_model(head, seed=seed).head.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), before)


@ALL
def test_bfloat16_autocast_gives_nearly_the_same(head: str) -> None:
    model = _model(head)
    _train(model, head, steps=1)
    images, masks = _images()
    target = _target(head, images, masks)
    with torch.no_grad():
        exact, loss = model(images), model.loss(images, target)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, rough_loss = model(images), model.loss(images, target)
    assert rough_loss.dtype == torch.float32
    assert float((rough.float() - exact).abs().max()) < 0.05 * max(1.0, float(exact.abs().max()))
    assert abs(float(rough_loss - loss)) < 0.02 * max(1.0, float(loss))


@ALL
def test_it_learns_a_toy(head: str) -> None:
    model = _model(head)
    losses = _train(model, head, steps=30)
    images, masks = _images()
    with torch.no_grad():
        prediction = model.eval()(images)
    if KINDS[head] == "segmentation":
        inside = (prediction > 0).float()
        dice = 2 * (inside * masks).sum() / (inside + masks).sum()
        assert losses[-1] < 0.5 * losses[0]
        assert float(dice) > 0.9
    elif KINDS[head] == "classification":
        assert losses[-1] < 0.1
        assert prediction.argmax(dim=1).tolist() == [0, 1, 0, 1]
    else:
        clean = 2 * masks - 0.5
        assert float((prediction - clean).square().mean()) < 0.25 * float((images - clean).square().mean())  # 6 dB


def test_the_encoder_is_copied_and_stays_as_it_was() -> None:
    encoder = build_encoder(EncoderConfig(size="custom", width=8, depth=1, heads=1, patch=4, side=16), seed=0)
    before = copy.deepcopy(encoder.state_dict())
    model = build_task_model(encoder, _task("light"), seed=0)
    _train(model, "light", steps=1)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not torch.equal(model.encoder.norm.weight, encoder.norm.weight)


def test_a_head_that_nobody_builds_is_refused_by_name() -> None:
    task = _task("light")
    object.__setattr__(task.head, "kind", "mask2former")  # what an older release would read from a newer file
    encoder = build_encoder(EncoderConfig(size="custom", width=8, depth=1, heads=1, patch=4, side=16), seed=0)
    with pytest.raises(ConfigError, match="no head is called 'mask2former'; choose one of linear, attentive, light"):
        build_task_model(encoder, task, seed=0)
