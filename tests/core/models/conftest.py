"""Checkpoints of every layout that a file may have, small, with random values everywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from timm.models.beit import Beit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from core.models.encoder import Encoder, EncoderConfig, build_encoder

SIDE, PATCH, WIDTH, HEADS, DEPTH = 12, 4, 16, 2, 2
State = dict[str, Tensor]


@dataclass(frozen=True)
class Layouts:
    """Makes checkpoints."""

    release: Encoder

    def state(self) -> State:
        """Our own names."""
        return dict(self.release.state_dict())

    def beit(self, *, depth: int = DEPTH) -> Beit:
        """Timm's BEiT with one bias table, as USFM's encoder."""
        return _made(lambda: Beit(
            img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=depth, num_heads=HEADS, num_classes=0,
            init_values=0.1, use_abs_pos_emb=False, use_shared_rel_pos_bias=True, use_fc_norm=False,
        ))  # fmt: skip

    def vit(self, *, init_values: float | None = None) -> VisionTransformer:
        """Timm's ViT; its head stays outside of what an encoder is."""
        return _made(lambda: VisionTransformer(
            img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=3,
            global_pool="avg", fc_norm=False, init_values=init_values,
        ))  # fmt: skip

    def usfm(self, *, depth: int = DEPTH) -> State:
        """The released layout: flat, with a mask token and the index buffer."""
        model = self.beit(depth=depth)
        index = model.rel_pos_bias.relative_position_index
        return {
            **model.state_dict(),
            "mask_token": torch.rand(1, 1, WIDTH),
            "rel_pos_bias.relative_position_index": index.clone(),
        }

    def per_block(self) -> State:
        """USFM's bias table copied into each block, as its fine-tuning code does it."""
        state = self.usfm()
        table = state.pop("rel_pos_bias.relative_position_bias_table")
        index = state.pop("rel_pos_bias.relative_position_index")
        for block in range(DEPTH):
            state[f"blocks.{block}.attn.relative_position_bias_table"] = table.clone()
            state[f"blocks.{block}.attn.relative_position_index"] = index.clone()
        return state

    def mae(self) -> State:
        """A plain ViT with the parts of MAE's decoder."""
        state = {name: tensor for name, tensor in self.vit().state_dict().items() if not name.startswith("head.")}
        parts = ("decoder_embed.weight", "decoder_pos_embed", "decoder_blocks.0.norm1.bias", "decoder_pred.bias")
        return {**state, "mask_token": torch.rand(1, 1, 8), **{name: torch.rand(3) for name in parts}}

    def urfm(self) -> dict[str, Any]:
        """URFM's wrapper: `model` is a string, the averaged weights stand beside the last step's."""
        averaged = self.mae()
        last = {name: tensor + 1 for name, tensor in averaged.items()}
        return {"model": "mae_vit_base", "epoch": 3, "state_dict": last, "ema_state_dict": averaged, "optimizer": {}}

    def content(self, layout: str) -> dict[str, Any]:
        """A checkpoint of that layout, as it would be saved."""
        makers: dict[str, Callable[[], dict[str, Any]]] = {
            "release": self.state,
            "usfm": self.usfm,
            "timm-beit": lambda: dict(self.beit().state_dict()),
            "beit-per-block": self.per_block,
            "mae": lambda: {"model": self.mae()},
            "urfm": self.urfm,
            "timm-vit": lambda: dict(self.vit().state_dict()),
        }
        return makers[layout]()


def _made(make: Callable[[], Any]) -> Any:
    """The same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make()
    return stir(model).eval()


def stir(module: Any) -> Any:
    """The module with every parameter moved by noise, the same in each test."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.fixture
def layouts() -> Layouts:
    """Small checkpoints by layout."""
    config = EncoderConfig(size="custom", width=WIDTH, depth=DEPTH, heads=HEADS, patch=PATCH, side=SIDE)
    return Layouts(stir(build_encoder(config, seed=0)).eval())
