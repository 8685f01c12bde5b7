"""Which network the weights are for: a config in the form of F5-TTS's own (`f5_tts/configs/*.yaml`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from cas.errors import FormatError

DEFAULT = "F5TTS_v1_Base"
"""The name of a config that f5_tts ships, which `F5TTS()` takes when none is named."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """backbone: a class of f5_tts.model. arguments: what it is made with. source: the file that says so."""

    backbone: str
    arguments: dict[str, Any]
    source: str


def shipped() -> Path:
    """Where f5_tts keeps the config that fits the published weights."""
    return Path(str(files("f5_tts").joinpath(f"configs/{DEFAULT}.yaml")))


def read(path: Path) -> Architecture:
    """Reads a config: YAML, or JSON, which is YAML.

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
