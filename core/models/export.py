"""An encoder as timm opens it: a folder with `config.json` and `model.safetensors`, the layout of timm's model hub.

    import timm
    encoder = timm.create_model("local-dir:FOLDER", pretrained=True)

gives a timm model whose output is `Encoder.features` and whose `forward_features` are the encoder's tokens. The
configuration carries every size, so that no argument can be forgotten; timm's usual ones (`num_classes`, `in_chans`,
`img_size`, `features_only`) work. What images must be normalized by is told in the document of the weights.

Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models, `timm/models/_hub.py`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.federation.tensors import digest_of
from core.files import save_tensors, write_json
from core.models.checkpoint_file import RELEASE_SCHEMA
from core.models.encoder import Encoder, EncoderConfig
from core.models.timm_layout import to_timm

_BEIT, _VIT = "beit_base_patch16_224", "vit_base_patch16_224"
"""timm's entry points; their sizes are overridden by `model_args`."""


def export_timm(encoder: Encoder, folder: Path, *, meta: Mapping[str, Any]) -> None:
    """Write the folder.

    Args:
        encoder: What to release.
        folder: Made if it is not there; its files of these names are replaced.
        meta: Further values for the weights' document, such as how to normalize images.

    Raises:
        CheckpointError: a file cannot be written.
    """
    state = {name: tensor.detach().cpu().float().numpy() for name, tensor in to_timm(encoder.state_dict()).items()}
    document = {"schema_version": RELEASE_SCHEMA, "encoder": asdict(encoder.config), "sha256": digest_of(state)}
    save_tensors(folder / "model.safetensors", state, meta={**meta, **document})
    write_json(folder / "config.json", timm_config(encoder.config))


def timm_config(config: EncoderConfig) -> dict[str, Any]:
    """The content of `config.json`."""
    model_args: dict[str, Any] = {
        "img_size": config.side,
        "patch_size": config.patch,
        "embed_dim": config.width_,
        "depth": config.depth_,
        "num_heads": config.heads_,
        "init_values": config.layer_scale,  # 0 is timm's word for none too; its BEiT has 0.1 unless told otherwise
        "global_pool": "avg",
    }
    # The final norm stands before the mean over patches, as in `Encoder.features`.
    if config.plain:
        model_args |= {"fc_norm": False}
    else:
        model_args |= {
            "use_fc_norm": False,
            "use_abs_pos_emb": False,
            "use_rel_pos_bias": False,
            "use_shared_rel_pos_bias": True,
        }
    return {
        "architecture": _VIT if config.plain else _BEIT,
        "num_classes": 0,
        "num_features": config.width_,
        "global_pool": "avg",
        "model_args": model_args,
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": [config.channels, config.side, config.side],
            "fixed_input_size": True,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            # Images are normalized one by one, which timm has no word for; 0 and 1 leave them as they are.
            "mean": [0.0] * config.channels,
            "std": [1.0] * config.channels,
        },
    }
