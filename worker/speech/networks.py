"""The two networks, F5-TTS and its vocoder, made from their files without random weights.

F5-TTS fills 337 million parameters with random values and then overwrites them. Here parameters are made on the
meta device, where they have no storage, and are then replaced by the file's tensors. Buffers are computed as usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from f5_tts.infer import utils_infer
from f5_tts.model import CFM, DiT, MMDiT, UNetT
from f5_tts.model.utils import get_tokenizer
from safetensors.torch import load_file
from vocos import Vocos
from vocos.feature_extractors import MelSpectrogramFeatures
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

from cas.errors import CasError, FormatError
from worker.speech.configs import Architecture, read_vocos
from worker.speech.model_files import ModelFile

DEFAULT = "F5TTS_v1_Base"
"""Name of a config that f5_tts ships; `F5TTS()` takes it when none is named."""

_PREFIX = "ema_model."
_NOT_WEIGHTS = frozenset({"initted", "step"})
_OF_OLD_CHECKPOINTS = frozenset({"mel_spec.mel_stft.mel_scale.fb", "mel_spec.mel_stft.spectrogram.window"})

_BACKBONES = {"DiT": DiT, "UNetT": UNetT, "MMDiT": MMDiT}

State = dict[str, Any]


def shipped_config() -> Path:
    """Return the path of the config that f5_tts ships for the published weights."""
    return Path(str(files("f5_tts").joinpath(f"configs/{DEFAULT}.yaml")))


def precision(device: str) -> Any:
    """Return the dtype in which F5-TTS computes on a device: float16 on CUDA from compute capability 7, else float32.

    The rule is that of f5_tts.infer.utils_infer.load_checkpoint.
    """
    if "cuda" not in device or torch.cuda.get_device_properties(device).major < 7:
        return torch.float32
    return torch.float32 if torch.cuda.get_device_name().endswith("[ZLUDA]") else torch.float16


def speech_model(architecture: Architecture, weights: ModelFile, device: str) -> Any:
    """Make F5-TTS's CFM with the weights of a .safetensors file, whatever floating type these have.

    Raises:
        IntegrityError: the file changed since it was verified.
        FormatError: it does not fit the architecture, or is no safetensors file.
    """
    model = speech_network(architecture)
    state = _read(weights, _tensors_of, device)
    _fill(model, _speech_state(state), weights.path)
    return model.to(precision(device)).to(device).eval()


def speech_network(architecture: Architecture) -> Any:
    """Make F5-TTS's CFM as its load_model does, with parameters that have no storage yet.

    Raises:
        FormatError: the architecture does not describe a network.
    """
    vocabulary, size = get_tokenizer(str(files("f5_tts").joinpath("infer/examples/vocab.txt")), "custom")
    try:
        backbone = _BACKBONES[architecture.backbone]
        with init_empty_weights(include_buffers=False):
            return CFM(
                transformer=backbone(
                    **architecture.arguments, text_num_embeds=size, mel_dim=utils_infer.n_mel_channels
                ),
                mel_spec_kwargs={
                    "n_fft": utils_infer.n_fft,
                    "hop_length": utils_infer.hop_length,
                    "win_length": utils_infer.win_length,
                    "n_mel_channels": utils_infer.n_mel_channels,
                    "target_sample_rate": utils_infer.target_sample_rate,
                    "mel_spec_type": utils_infer.mel_spec_type,
                },
                odeint_kwargs={"method": utils_infer.ode_method},
                vocab_char_map=vocabulary,
            )
    except Exception as error:  # a wrong argument leads to any error inside the constructor
        raise FormatError(f"{architecture.source} does not describe a network: {_line(error)}") from error


def vocoder(config: ModelFile, weights: ModelFile, device: str) -> Any:
    """Make Vocos in float32, as F5-TTS uses it on every device.

    Raises:
        IntegrityError: a file changed since it was verified.
        FormatError: the files do not fit each other, or cannot be read.
    """
    model = _read(config, _vocos_of, device)
    _fill(model, _read(weights, _pickle_of, device), weights.path)
    return model.eval().to(device)


def _speech_state(checkpoint: Mapping[str, Any]) -> State:
    named = {name.replace(_PREFIX, ""): value for name, value in checkpoint.items() if name not in _NOT_WEIGHTS}
    return {name: value for name, value in named.items() if name not in _OF_OLD_CHECKPOINTS}


def _tensors_of(path: Path, device: str) -> State:
    tensors: State = load_file(str(path), device=device)
    if torch.device(device).type == "cpu":  # on a CPU they are views of the mapped file, and would change with it
        return {name: tensor.clone() for name, tensor in tensors.items()}
    return tensors


def _pickle_of(path: Path, _device: str) -> State:
    """The tensors of a pickle; with weights_only it can name no code, but still hold anything instead of tensors."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided
        for name, tensor in state.items()
    ):
        raise FormatError(f"{path} cannot be loaded (it is no mapping of names to tensors): publish the model again")
    return state


def _vocos_of(path: Path, _device: str) -> Any:
    arguments = read_vocos(path)
    with init_empty_weights(include_buffers=False):
        return Vocos(
            feature_extractor=MelSpectrogramFeatures(**arguments["feature_extractor"]),
            backbone=VocosBackbone(**arguments["backbone"]),
            head=ISTFTHead(**arguments["head"]),
        )


def _read(file: ModelFile, reader: Any, device: str) -> Any:
    with file.unchanged() as path:
        try:
            return reader(path, device)
        except (CasError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # each library has errors of its own, some of them bare Exceptions
            raise FormatError(f"{path} cannot be loaded ({_line(error)}): restore or publish it again") from error


def _fill(model: Any, state: State, path: Path) -> None:
    """Give the model all tensors of a file; raises FormatError when names or shapes differ."""
    want = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    have = {name: tuple(tensor.shape) for name, tensor in state.items()}
    wrong = sorted(name for name in want.keys() | have.keys() if want.get(name) != have.get(name))
    if wrong:
        name = wrong[0]
        raise FormatError(
            f"{path} does not fit the network: {len(wrong)} of {len(want)} tensors differ, the first is {name} "
            f"(wanted {want.get(name, 'none')}, got {have.get(name, 'none')}): check the config"
        )
    model.load_state_dict(state, assign=True)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
