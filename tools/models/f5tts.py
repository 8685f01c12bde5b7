"""The two models that F5-TTS fetches from the hub, its own and Vocos, with made-up weights."""

import json
from pathlib import Path

from tools.models.safetensors import trained_like
from tools.models.torchzip import write_torch_zip
from tools.models.weights import Recipe, Shapes, Weights

MODEL_FILE = "SWivid/F5-TTS/F5TTS_v1_Base/model_1250000.safetensors"
VOCOS_FOLDER = "charactr/vocos-mel-24khz"
_TEXT_EMBEDDING = "ema_model.transformer.text_embed.text_embed.weight"

_VOCOS_CONFIG = """\
feature_extractor:
  class_path: vocos.feature_extractors.MelSpectrogramFeatures
  init_args:
    sample_rate: 24000
    n_fft: 1024
    hop_length: 256
    n_mels: 100
    padding: center

backbone:
  class_path: vocos.models.VocosBackbone
  init_args:
    input_channels: 100
    dim: 512
    intermediate_dim: 1536
    num_layers: 8

head:
  class_path: vocos.heads.ISTFTHead
  init_args:
    dim: 512
    n_fft: 1024
    hop_length: 256
    padding: center
"""


def f5_tts_shapes() -> Shapes:
    """Return the 364 tensors of F5TTS_v1_Base/model_1250000.safetensors on the hub (1.35 GB of float32)."""
    text = Path(__file__).with_name("f5tts_v1_base.shapes.json").read_text()
    return {name: (dtype, tuple(shape)) for name, (dtype, shape) in json.loads(text).items()}


def vocos_shapes() -> Shapes:
    """Return the tensors of charactr/vocos-mel-24khz (vocos 0.1, `VocosBackbone` and `ISTFTHead`; 54 MB)."""
    dim, wide, mels, fft, layers = 512, 1536, 100, 1024, 8
    shapes: dict[str, tuple[int, ...]] = {
        "feature_extractor.mel_spec.spectrogram.window": (fft,),
        "feature_extractor.mel_spec.mel_scale.fb": (fft // 2 + 1, mels),
        "backbone.embed.weight": (dim, mels, 7),
        "backbone.embed.bias": (dim,),
        "backbone.norm.weight": (dim,),
        "backbone.norm.bias": (dim,),
    }
    for layer in range(layers):
        block = {
            "gamma": (dim,),
            "dwconv.weight": (dim, 1, 7),
            "dwconv.bias": (dim,),
            "norm.weight": (dim,),
            "norm.bias": (dim,),
            "pwconv1.weight": (wide, dim),
            "pwconv1.bias": (wide,),
            "pwconv2.weight": (dim, wide),
            "pwconv2.bias": (dim,),
        }
        shapes |= {f"backbone.convnext.{layer}.{name}": shape for name, shape in block.items()}
    shapes |= {
        "backbone.final_layer_norm.weight": (dim,),
        "backbone.final_layer_norm.bias": (dim,),
        "head.out.weight": (fft + 2, dim),
        "head.out.bias": (fft + 2,),
        "head.istft.window": (fft,),
    }
    return {name: ("F32", shape) for name, shape in shapes.items()}


def f5_tts(
    path: Path,
    seed: int = 0,
    *,
    changed_fraction: float = 0.0,
    nudge: float = 0.0,
    change_seed: int = 1,
    header_note: str | None = None,
) -> None:
    """Write a file like model_1250000.safetensors.

    Args:
        path: the file to write.
        seed: as for `trained_like`, like all that follow.
        changed_fraction: how much of all bytes belongs to tensors drawn anew, 0 to 1.
        nudge: relative standard deviation of a small change to every float.
        change_seed: decides which tensors change, and how.
        header_note: text for `__metadata__`, which moves all tensors.

    Raises:
        OSError: the file cannot be written.
    """
    trained_like(
        f5_tts_shapes(),
        path,
        seed,
        changed_fraction=changed_fraction,
        nudge=nudge,
        change_seed=change_seed,
        header_note=header_note,
    )


def vocos(folder: Path, seed: int = 0, shrink: int = 1) -> None:
    """Write `config.yaml` and `pytorch_model.bin` as in charactr/vocos-mel-24khz.

    Args:
        folder: where to put both files; it is made if it is missing.
        seed: decides all values.
        shrink: divide every dimension of every tensor by this.

    Raises:
        OSError: a file cannot be written.
    """
    write_torch_zip(folder / "pytorch_model.bin", Weights(shrunk(vocos_shapes(), shrink), Recipe(seed)))
    (folder / "config.yaml").write_text(_VOCOS_CONFIG)


def shrunk(shapes: Shapes, factor: int) -> Shapes:
    """Return the tensors with every dimension divided by `factor`, rounded up."""
    return {name: (dtype, tuple(-(-length // factor) for length in shape)) for name, (dtype, shape) in shapes.items()}


def hub_folder(
    root: Path, seed: int = 0, *, changed_fraction: float = 0.0, nudge: float = 0.0, shrink: int = 1
) -> None:
    """Write both models as `<org>/<name>/<files>`, for `tools.servers.hub`; only F5-TTS itself changes, Vocos never.

    Args:
        root: the hub's folder.
        seed: decides all values.
        changed_fraction: as for `trained_like`.
        nudge: as for `trained_like`.
        shrink: divide every dimension of every tensor by this; 8 makes 22 MB of the 1.4 GB.

    Raises:
        OSError: a file cannot be written.
    """
    model = root / MODEL_FILE
    shapes = shrunk(f5_tts_shapes(), shrink)
    trained_like(shapes, model, seed, changed_fraction=changed_fraction, nudge=nudge)
    rows = shapes[_TEXT_EMBEDDING][1][0]  # one for each character, and one for padding
    characters = [*range(32, 127), *range(0x4E00, 0x4E00 + rows - 1 - 95)]
    model.with_name("vocab.txt").write_text("".join(f"{chr(code)}\n" for code in characters), "utf-8")
    vocos(root / VOCOS_FOLDER, seed, shrink)
