"""Write a tiny F5-TTS and Vocos with random weights, made of the real classes, as a folder for `tools.servers.hub`.

Run in the worker's environment: `python -m tools.models.tiny_f5 OUT_DIR`. The models take a few megabytes, load and
speak within a second, and produce noise that depends on every input.
"""

import argparse
import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from tools.models.f5tts import MODEL_FILE, VOCOS_FOLDER

MEL_DIM = 100
SPEECH = {
    "backbone": "DiT",
    "arch": {
        "dim": 64,
        "depth": 2,
        "heads": 2,
        "dim_head": 32,
        "ff_mult": 2,
        "text_dim": 64,
        "text_mask_padding": True,
        "conv_layers": 1,
    },
    "mel_spec": {"mel_spec_type": "vocos", "target_sample_rate": 24000},
}
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
    from f5_tts.model import CFM, DiT
    from f5_tts.model.utils import get_tokenizer
    from safetensors.torch import save_file
    from vocos import Vocos

    torch.manual_seed(seed)
    vocabulary = Path(str(files("f5_tts").joinpath("infer/examples/vocab.txt")))
    characters, size = get_tokenizer(str(vocabulary), "custom")
    speech = CFM(
        transformer=DiT(**SPEECH["arch"], text_num_embeds=size, mel_dim=MEL_DIM),  # type: ignore[arg-type]
        vocab_char_map=characters,
    )
    state = {f"ema_model.{name}": tensor for name, tensor in _state_with_noise(speech).items()}
    state |= {"initted": torch.tensor(True), "step": torch.tensor(1_250_000)}
    model = root / MODEL_FILE
    model.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, str(model))
    shutil.copyfile(vocabulary, model.with_name("vocab.txt"))
    model.with_name("config.yaml").write_text(json.dumps({"model": SPEECH}, indent=1) + "\n")  # JSON is YAML

    vocos = root / VOCOS_FOLDER
    vocos.mkdir(parents=True, exist_ok=True)
    (vocos / "config.yaml").write_text(json.dumps(VOCOS, indent=1) + "\n")
    torch.save(_state_with_noise(Vocos.from_hparams(str(vocos / "config.yaml"))), vocos / "pytorch_model.bin")


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
