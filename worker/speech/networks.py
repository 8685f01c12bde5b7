"""The two networks, F5-TTS and its vocoder, made without random weights, and filled from their files.

F5-TTS fills 337 million parameters with random values and then overwrites them. Here parameters are made on the
meta device, where they have no storage, and are then replaced by the file's tensors. Buffers are computed as usual.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cas.errors import CacheError, CasError, FormatError
from worker import imports
from worker.speech import spectrum
from worker.speech.configs import Architecture, read_vocos
from worker.speech.empty_weights import empty_weights
from worker.speech.gpu_errors import is_gpu_error
from worker.speech.vocabulary import Vocabulary, read_vocabulary, shipped

with imports.lean():
    from f5_tts.model.backbones.dit import DiT
    from f5_tts.model.cfm import CFM
    from vocos.feature_extractors import MelSpectrogramFeatures
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone
    from vocos.pretrained import Vocos

DEFAULT = "F5TTS_v1_Base"
"""Name of a config that f5_tts ships; `F5TTS()` takes it when none is named."""

_PREFIX = "ema_model."
# In a file of F5-TTS's trainer. The moving average (EMA) comes first: F5-TTS speaks with it.
_OF_TRAINER = ("ema_model_state_dict", "model_state_dict")
_TEXT_EMBEDDING = "transformer.text_embed.text_embed.weight"  # of every backbone; row 0 is for padding
_NOT_WEIGHTS = frozenset({"initted", "step"})
_OF_OLD_CHECKPOINTS = frozenset({"mel_spec.mel_stft.mel_scale.fb", "mel_spec.mel_stft.spectrogram.window"})

_NO_MEMORY = "can't allocate memory"  # in a RuntimeError of torch's allocator for the processor

State = dict[str, Any]


def shipped_config(name: str) -> Path | None:
    """Return the path of the config of that name that f5_tts ships, such as E2TTS_Base; None if there is none.

    F5-TTS's repos on the hub name the folder of the weights so.
    """
    path = Path(str(files("f5_tts").joinpath(f"configs/{name}.yaml")))
    return path if path.is_file() and path.stem == name else None


def precision(device: str) -> Any:
    """Return the dtype in which F5-TTS computes on a device: float16 on CUDA from compute capability 7, else float32.

    The rule is that of f5_tts.infer.utils_infer.load_checkpoint.
    """
    if "cuda" not in device or torch.cuda.get_device_properties(device).major < 7:
        return torch.float32
    return torch.float32 if torch.cuda.get_device_name().endswith("[ZLUDA]") else torch.float16


def speech_network(architecture: Architecture, vocabulary: Vocabulary | None = None) -> Any:
    """Make F5-TTS's CFM as its load_model does, with parameters that have no storage yet.

    Args:
        architecture: the network.
        vocabulary: the characters that the weights were trained with; None for those that f5_tts ships.

    Raises:
        FormatError: the architecture does not describe a network.
    """
    vocabulary = vocabulary or read_vocabulary(shipped())
    try:
        backbone = _backbone(architecture.backbone)
        with empty_weights():
            return CFM(
                transformer=backbone(
                    **architecture.arguments, text_num_embeds=vocabulary.size, mel_dim=spectrum.CHANNELS
                ),
                mel_spec_kwargs={
                    "n_fft": spectrum.WINDOW,
                    "hop_length": spectrum.HOP,
                    "win_length": spectrum.WINDOW,
                    "n_mel_channels": spectrum.CHANNELS,
                    "target_sample_rate": spectrum.RATE,
                    "mel_spec_type": "vocos",
                },
                odeint_kwargs={"method": "euler"},
                vocab_char_map=vocabulary.indices,
            )
    except Exception as error:  # a wrong argument leads to any error inside the constructor
        raise FormatError(f"{architecture.source} does not describe a network: {_line(error)}") from error


def _backbone(name: str) -> Any:
    """Return the class of a network; those that few models have are imported for them alone."""
    if name == "DiT":
        return DiT
    with imports.lean():
        return getattr(importlib.import_module(f"f5_tts.model.backbones.{name.lower()}"), name)


def vocoder_network(config: Path) -> Any:
    """Make Vocos, with parameters that have no storage yet.

    Raises:
        FormatError: the config is damaged, or describes no network.
    """
    with _reading(config):
        arguments = read_vocos(config)
        with empty_weights():
            return Vocos(
                feature_extractor=MelSpectrogramFeatures(**arguments["feature_extractor"]),
                backbone=VocosBackbone(**arguments["backbone"]),
                head=ISTFTHead(**arguments["head"]),
            )


def made_up(model: Any, device: str, dtype: Any = torch.float32) -> Any:
    """Give a network without weights made-up ones, on a device; it then makes noise, with the kernels of real weights.

    All are zeros, and views of the same few megabytes: on a CPU nothing else of the memory is touched.

    Args:
        model: as `speech_network` or `vocoder_network` return it.
        device: such as "cuda" or "cpu".
        dtype: in which it computes there.
    """
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    zeros = torch.zeros(max(shape.numel() for shape in shapes.values()), dtype=dtype, device=device)
    views = {name: zeros[: shape.numel()].view(shape) for name, shape in shapes.items()}
    model.load_state_dict(views, strict=False, assign=True)
    return model.to(dtype).to(device).eval()


def make_ready(device: str) -> None:
    """Have CUDA make its context and load cuBLAS and cuDNN, which takes seconds; a CPU needs nothing.

    Args:
        device: such as "cuda" or "cpu".
    """
    if "cuda" in device:
        square = torch.zeros(64, 64, device=device, dtype=precision(device))
        torch.nn.functional.conv1d((square @ square)[None], square[:, :, None])
        torch.cuda.synchronize()


def fill_speech(
    model: Any, weights: Path, name: str, device: str, vocabulary: Vocabulary, memory: State | None = None
) -> None:
    """Give F5-TTS's CFM its weights, whatever floating type these have.

    Args:
        model: made by `speech_network`.
        weights: the file.
        name: the name that it has in its repo: .safetensors, or .pt as of F5-TTS's trainer.
        device: such as "cuda" or "cpu".
        vocabulary: the characters that the network was made for.
        memory: for a CPU, where the weights go, by the names of the parameters; used up. Weights for which it has none
            of their shape and type get fresh memory.

    Raises:
        FormatError: it does not fit the network or the vocabulary, or cannot be loaded.
    """
    with _reading(weights):
        if name.endswith(".safetensors"):
            state = _speech_state(load_file(str(weights), device=device))
            if torch.device(device).type == "cpu":
                state = _copied(state, precision(device), memory or {})
        else:
            state = _speech_state(_checkpoint_of(weights))
    _check_vocabulary(vocabulary, state, weights)
    _fill(model, state, weights)
    model.to(precision(device)).to(device)


def fill_vocoder(model: Any, weights: Path, device: str) -> None:
    """Give Vocos its weights, in float32, as F5-TTS uses it on every device.

    Raises:
        FormatError: the file does not fit the network, or cannot be read.
    """
    with _reading(weights):
        state = _pickle_of(weights)
    _fill(model, state, weights)
    model.to(device)


def _speech_state(checkpoint: Mapping[str, Any]) -> State:
    named = {name.replace(_PREFIX, ""): value for name, value in checkpoint.items() if name not in _NOT_WEIGHTS}
    return {name: value for name, value in named.items() if name not in _OF_OLD_CHECKPOINTS}


def _copied(state: State, wanted: Any, memory: State) -> State:
    """Copy tensors that are views of a mapped file, and would change with it; numbers get the type `wanted`."""
    copies = {}
    for name, tensor in state.items():
        dtype = wanted if tensor.is_floating_point() else tensor.dtype
        own = memory.pop(name, None)
        fits = own is not None and (own.shape, own.dtype) == (tensor.shape, dtype)
        copies[name] = own.copy_(tensor) if fits else tensor.to(dtype, copy=True)
    return copies


def _checkpoint_of(path: Path) -> State:
    """The tensors that F5-TTS speaks with, of a file of its trainer, which holds the optimizer's as well.

    The file is mapped, so that the others are not read; what is used is copied out of it, and cannot change with it.
    """
    whole = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    name = next((name for name in _OF_TRAINER if isinstance(whole, dict) and name in whole), None)
    if name is None:
        raise FormatError(
            f"{path} cannot be loaded (it has neither {' nor '.join(_OF_TRAINER)}): publish the model again"
        )
    state = _checked(whole[name], path)
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > os.stat(path).st_size:
        raise FormatError(f"{path} cannot be loaded (its tensors overlap): publish the model again")
    return {name: tensor.clone() for name, tensor in state.items()}


def _pickle_of(path: Path) -> State:
    return _checked(torch.load(path, map_location="cpu", weights_only=True), path)


def _checked(state: Any, path: Path) -> State:
    """Return what a pickle held: with weights_only it names no code, but may hold anything instead of tensors."""
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided
        for name, tensor in state.items()
    ):
        raise FormatError(f"{path} cannot be loaded (it is no mapping of names to tensors): publish the model again")
    return state


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a library raises within the block into an error that names the file, whose damage is a FormatError.

    What is the fault of this machine has another exit code: other workers may load the same file.
    """
    try:
        yield
    except CasError:
        raise
    except Exception as error:  # each library has errors of its own, some of them bare Exceptions
        if is_gpu_error(error):
            raise
        if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
            raise CasError(
                f"{path} cannot be loaded, as too little memory is free: choose machines with more"
            ) from error
        if isinstance(error, OSError):
            what = error.strerror or type(error).__name__
            raise CacheError(f"{path} cannot be read ({what}): look at the disk, or restore it into another") from error
        raise FormatError(f"{path} cannot be loaded ({_line(error)}): restore or publish it again") from error


def _check_vocabulary(vocabulary: Vocabulary, state: State, path: Path) -> None:
    """Raise FormatError unless the text embedding has a row for each character, and one for padding."""
    table = state.get(_TEXT_EMBEDDING)
    if table is None or table.ndim != 2 or len(table) == vocabulary.size + 1:
        return
    raise FormatError(
        f"{vocabulary.source} has {vocabulary.size} characters, and the text embedding of {path} is for "
        f"{len(table) - 1}: publish the vocab.txt that belongs to these weights in their folder"
    )


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
