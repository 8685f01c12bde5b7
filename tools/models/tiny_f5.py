"""Write a tiny F5-TTS and Vocos with random weights, made of the real classes, as a folder for `tools.servers.hub`.

Run in the worker's environment: `python -m tools.models.tiny_f5 OUT_DIR`. The models take a few megabytes, load and
speak within a second, and produce noise that depends on every input. `tiny_fine_tune` writes what F5-TTS's trainer
leaves.
"""

import argparse
import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from tools.models.f5tts import MODEL_FILE, VOCOS_FOLDER

MEL_DIM = 100
_AVERAGE = "ema_model."
_SMALL = {"dim": 64, "depth": 2, "heads": 2, "dim_head": 32, "ff_mult": 2}
SPEECH: dict[str, Any] = {
    "backbone": "DiT",
    "arch": {
        **_SMALL,
        "text_dim": 64,
        "text_mask_padding": True,
        "conv_layers": 1,
    },
    "mel_spec": {"mel_spec_type": "vocos", "target_sample_rate": 24000},
}
E2: dict[str, Any] = {
    **SPEECH,
    "backbone": "UNetT",
    "arch": {
        **_SMALL,
        "text_mask_padding": False,
        "pe_attn_head": 1,
    },
}
"""As E2-TTS is: what configs/E2TTS_Base.yaml of F5-TTS says, in small."""

V0: dict[str, Any] = {**SPEECH, "arch": {**SPEECH["arch"], "text_mask_padding": False, "pe_attn_head": 1}}
"""As F5-TTS v0 Base is: what configs/F5TTS_Base.yaml says, in small."""

VOCOS = {
    "feature_extractor": {
        "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
        "init_args": {"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": MEL_DIM, "padding": "center"},
    },
    "backbone": {
        "class_path": "vocos.models.VocosBackbone",
        "init_args": {"input_channels": MEL_DIM, "dim": 64, "intermediate_dim": 192, "num_layers": 1},
    },
    "head": {
        "class_path": "vocos.heads.ISTFTHead",
        "init_args": {"dim": 64, "n_fft": 1024, "hop_length": 256, "padding": "center"},
    },
}


def tiny_f5(root: Path, seed: int = 0) -> None:
    """Write SWivid/F5-TTS, with a config of its architecture, and charactr/vocos-mel-24khz.

    Args:
        root: the hub's folder.
        seed: decides all weights; equal seeds give equal files.

    Raises:
        OSError: a file cannot be written.
    """
    import torch
    from safetensors.torch import save_file

    from worker import imports

    with imports.lean():
        from vocos import Vocos

    vocabulary = shipped_vocabulary()
    model = root / MODEL_FILE
    model.parent.mkdir(parents=True, exist_ok=True)
    save_file(speech_state(vocabulary, seed), str(model))
    shutil.copyfile(vocabulary, model.with_name("vocab.txt"))
    write_config(model.parent)

    vocos = root / VOCOS_FOLDER
    vocos.mkdir(parents=True, exist_ok=True)
    (vocos / "config.yaml").write_text(json.dumps(VOCOS, indent=1) + "\n")
    torch.save(_state_with_noise(Vocos.from_hparams(str(vocos / "config.yaml"))), vocos / "pytorch_model.bin")


def tiny_fine_tune(folder: Path, characters: str, seed: int = 0) -> None:
    """Write what F5-TTS's trainer leaves of a fine-tune with more characters, with a config of its architecture.

    The checkpoint holds the moving average of the weights, with which F5-TTS speaks, and what the training goes on
    from.

    Args:
        folder: gets model_last.pt, vocab.txt and config.yaml.
        characters: those that F5-TTS's own vocabulary lacks.
        seed: decides all weights.

    Raises:
        OSError: a file cannot be written.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text(shipped_vocabulary().read_text("utf-8") + "".join(f"{one}\n" for one in characters), "utf-8")
    average, last = speech_state(vocabulary, seed), speech_state(vocabulary, seed + 1_000)
    checkpoint = {
        "model_state_dict": {name.removeprefix(_AVERAGE): value for name, value in last.items() if _AVERAGE in name},
        "optimizer_state_dict": {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 1e-5}]},
        "ema_model_state_dict": average,
        "scheduler_state_dict": {"last_epoch": 7},
        "update": 7,
    }
    torch.save(checkpoint, folder / "model_last.pt")
    write_config(folder)


def shipped_vocabulary() -> Path:
    """Return the path of the vocabulary that f5_tts ships."""
    return Path(str(files("f5_tts").joinpath("infer/examples/vocab.txt")))


def speech_state(vocabulary: Path, seed: int = 0, model: dict[str, Any] = SPEECH) -> dict[str, Any]:
    """Return the tensors of a tiny speech model, named as in the published file.

    Args:
        vocabulary: its characters.
        seed: decides all weights.
        model: the section `model` of its config.
    """
    import torch

    from worker import imports

    with imports.lean():
        from f5_tts.model.backbones.dit import DiT
        from f5_tts.model.backbones.unett import UNetT
        from f5_tts.model.cfm import CFM
        from f5_tts.model.utils import get_tokenizer

    torch.manual_seed(seed)
    characters, size = get_tokenizer(str(vocabulary), "custom")
    backbone = {"DiT": DiT, "UNetT": UNetT}[model["backbone"]]
    speech = CFM(
        transformer=backbone(**model["arch"], text_num_embeds=size, mel_dim=MEL_DIM), vocab_char_map=characters
    )
    state = {f"{_AVERAGE}{name}": tensor for name, tensor in _state_with_noise(speech).items()}
    return {**state, "initted": torch.tensor(True), "step": torch.tensor(1_250_000)}


def write_config(folder: Path, model: dict[str, Any] = SPEECH) -> None:
    """Write config.yaml with this section `model` into a folder; JSON is YAML."""
    (folder / "config.yaml").write_text(json.dumps({"model": model}, indent=1) + "\n")


def _state_with_noise(model: Any) -> dict[str, Any]:
    """Return the model's state, with noise on constant parameters: otherwise the sound would not depend on them."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() > 1 and parameter.max() == parameter.min():
                parameter.add_(torch.randn(parameter.shape), alpha=0.02)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def main() -> None:
    """Write both models, and print the folder's path."""
    parser = argparse.ArgumentParser("python -m tools.models.tiny_f5", description="Write a tiny F5-TTS and Vocos.")
    parser.add_argument("out_dir", type=Path, help="where to put SWivid/F5-TTS and charactr/vocos-mel-24khz")
    parser.add_argument("--seed", type=int, default=0, help="decides all values (default: 0)")
    args = parser.parse_args()
    tiny_f5(args.out_dir, args.seed)
    print(args.out_dir)


if __name__ == "__main__":
    main()
