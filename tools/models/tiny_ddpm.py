"""A tiny diffusion pipeline with made-up weights, laid out as diffusers saves one: it draws 8 x 8 pixels. 20 kB."""

import json
from pathlib import Path

from tools.models.safetensors import trained_like
from tools.models.weights import Shapes

_CHANNELS, _TIME = 4, 16
_UNET = {
    "_class_name": "UNet2DModel",
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": [_CHANNELS],
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
    "norm_num_groups": 2,
    "attention_head_dim": None,
}
_INDEX = {
    "_class_name": "DDPMPipeline",
    "scheduler": ["diffusers", "DDPMScheduler"],
    "unet": ["diffusers", "UNet2DModel"],
}


def write_tiny_ddpm(folder: Path, seed: int = 0) -> None:
    """Write the pipeline: its index, a scheduler, and a network with the names and shapes of diffusers 0.42.

    Args:
        folder: where to write it; it is made if it is missing.
        seed: decides the weights.

    Raises:
        OSError: a file cannot be written.
    """
    trained_like(_shapes(), folder / "unet/diffusion_pytorch_model.safetensors", seed)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "unet/config.json").write_text(json.dumps(_UNET), "utf-8")
    scheduler = {"_class_name": "DDPMScheduler", "num_train_timesteps": 10}
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(scheduler), "utf-8")
    (folder / "model_index.json").write_text(json.dumps(_INDEX), "utf-8")


def _shapes() -> Shapes:
    """Name -> dtype and shape of every tensor: a bias of the first dimension beside each weight."""
    n = _CHANNELS
    weights: dict[str, tuple[int, ...]] = {
        "conv_in": (n, 1, 3, 3),
        "conv_norm_out": (n,),
        "conv_out": (1, n, 3, 3),
        "time_embedding.linear_1": (_TIME, n),
        "time_embedding.linear_2": (_TIME, _TIME),
        "mid_block.attentions.0.group_norm": (n,),
        **{f"mid_block.attentions.0.{name}": (n, n) for name in ("to_q", "to_k", "to_v", "to_out.0")},
        **_resnet("down_blocks.0.resnets.0", n),
        **_resnet("mid_block.resnets.0", n),
        **_resnet("mid_block.resnets.1", n),
        **_resnet("up_blocks.0.resnets.0", 2 * n),
        **_resnet("up_blocks.0.resnets.1", 2 * n),
    }
    shapes = {f"{name}.weight": ("F32", shape) for name, shape in weights.items()}
    return shapes | {f"{name}.bias": ("F32", shape[:1]) for name, shape in weights.items()}


def _resnet(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    """The weights of a residual block with so many channels in, and _CHANNELS out."""
    n = _CHANNELS
    shortcut = {f"{name}.conv_shortcut": (n, channels, 1, 1)} if channels != n else {}
    return {
        f"{name}.norm1": (channels,),
        f"{name}.conv1": (n, channels, 3, 3),
        f"{name}.time_emb_proj": (n, _TIME),
        f"{name}.norm2": (n,),
        f"{name}.conv2": (n, n, 3, 3),
        **shortcut,
    }
