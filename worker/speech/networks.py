"""The two networks, F5-TTS and its vocoder, made from their files without random weights.

F5-TTS fills 337 million parameters with random values and then overwrites them. Here parameters are made on the
meta device, where they have no storage, and are then replaced by the file's tensors. Buffers are computed as usual.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from f5_tts.infer import utils_infer
from f5_tts.model import CFM
from f5_tts.model.utils import get_tokenizer
from hydra.utils import get_class
from safetensors.torch import load_file
from vocos import Vocos

from cas.errors import CasError, FormatError
from worker.speech.model_files import ModelFile

DEFAULT = "F5TTS_v1_Base"
"""Name of a config that f5_tts ships; `F5TTS()` takes it when none is named."""

_PREFIX = "ema_model."
_NOT_WEIGHTS = frozenset({"initted", "step"})
_OF_OLD_CHECKPOINTS = frozenset({"mel_spec.mel_stft.mel_scale.fb", "mel_spec.mel_stft.spectrogram.window"})

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Which network the weights are for.

    Attributes:
        backbone: name of a class of f5_tts.model.
        arguments: keyword arguments to make it with.
        source: the config file that says so.
    """

    backbone: str
    arguments: dict[str, Any]
    source: str


def shipped_config() -> Path:
    """Return the path of the config that f5_tts ships for the published weights."""
    return Path(str(files("f5_tts").joinpath(f"configs/{DEFAULT}.yaml")))


def read_architecture(path: Path) -> Architecture:
    """Read a config in the form of F5-TTS's own (`f5_tts/configs/*.yaml`): YAML, or JSON, which is YAML.

    Raises:
        FormatError: it is not of F5-TTS's form, or its vocoder is not Vocos.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        model = OmegaConf.load(str(path)).model
        backbone, spectrum = str(model.backbone), str(model.mel_spec.mel_spec_type)
        arguments = OmegaConf.to_container(model.arch, resolve=True)
    except (OSError, ValueError, AttributeError, TypeError, YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(
            f"{path} is no F5-TTS config ({reason}): it needs model.backbone, .arch, .mel_spec"
        ) from error
    if not re.fullmatch(r"[A-Za-z]\w{0,30}", backbone) or not isinstance(arguments, dict):
        raise FormatError(f"{path} names the backbone {backbone!r:.40}: f5_tts has DiT, UNetT and MMDiT")
    if spectrum != "vocos":
        raise FormatError(f"{path} wants the vocoder {spectrum!r:.40}: only vocos is supported here")
    return Architecture(backbone, {str(key): value for key, value in arguments.items()}, str(path))


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
        backbone = get_class(f"f5_tts.model.{architecture.backbone}")
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
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _vocos_of(path: Path, _device: str) -> Any:
    with init_empty_weights(include_buffers=False):
        return Vocos.from_hparams(str(path))


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
