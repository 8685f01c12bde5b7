"""Reads the configs of F5-TTS and Vocos as data: a file of a model names no code, no variable and no other file.

Whoever may write to the bucket or the hub decides what these files hold. So the classes come from a fixed list, and
their arguments are numbers, truth values and a few words, each within a range that no network exceeds.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaml import Node, SafeLoader, YAMLError
from yaml.events import AliasEvent

from cas.errors import FormatError
from cas.local.fs import read_bounded
from worker.errors import shown

_LARGEST = 16 * 1024  # bytes; F5-TTS's own configs have 2 KB, and yaml takes seconds for 64 KB of short keys
_DEEPEST = 16  # levels of lists and mappings; F5-TTS's own configs have 4
_TOO_DEEP = f"it is nested more than {_DEEPEST} levels deep"

# With include_buffers=False, buffers and the modules themselves are made at once: these bounds keep a file from filling
# the memory or making modules for hours before its tensors are compared with those of the weights.
_LAYERS = range(1, 257)
_WIDTH = range(1, 16_385)


@dataclass(frozen=True, slots=True)
class Number:
    """A number of any kind within bounds.

    Attributes:
        low: the least value.
        high: the greatest value.
    """

    low: float
    high: float


Rule = range | Number | type[bool] | tuple[str | None, ...]
"""What an argument may be: an integer of a range, a number, a truth value, or one of some words (None: null)."""

Rules = Mapping[str, tuple[Rule, ...]]
"""What each argument of a class may be: one of its rules. The names are all that the class takes from a file."""

_NULL = (None,)
_ANY_BACKBONE: Rules = {
    "dim": (_WIDTH,),
    "depth": (_LAYERS,),
    "heads": (_LAYERS,),
    "dim_head": (_WIDTH,),
    "dropout": (Number(0, 1),),
    "ff_mult": (Number(0.01, 64),),
    "text_mask_padding": (bool,),
    "qk_norm": ((None, "rms_norm"),),
    "attn_backend": (("torch", "flash_attn"),),
    "attn_mask_enabled": (bool,),
}
_WITH_TEXT: Rules = {
    "text_dim": (range(1, 4097), _NULL),  # a table of 8,192 rows of this width is made at once
    "conv_layers": (range(257),),
    "pe_attn_head": (_LAYERS, _NULL),
}
BACKBONES: Mapping[str, Rules] = {
    "DiT": {
        **_ANY_BACKBONE,
        **_WITH_TEXT,
        "text_embedding_average_upsampling": (bool,),
        "long_skip_connection": (bool,),
        "checkpoint_activations": (bool,),
    },
    "UNetT": {**_ANY_BACKBONE, **_WITH_TEXT, "skip_connect_type": (("add", "concat", "none"),)},
    "MMDiT": {**_ANY_BACKBONE, "checkpoint_activations": (bool,)},
}
"""The networks that f5_tts.model has, and what a config may say of each."""

_SPECTRUM: Rules = {"n_fft": (_WIDTH,), "hop_length": (_WIDTH,), "padding": (("center", "same"),)}
_VOCOS: Mapping[str, tuple[str, Rules]] = {
    "feature_extractor": (
        "vocos.feature_extractors.MelSpectrogramFeatures",
        {**_SPECTRUM, "sample_rate": (range(1, 384_001),), "n_mels": (range(1, 1025),)},
    ),
    "backbone": (
        "vocos.models.VocosBackbone",
        {
            "input_channels": (_WIDTH,),
            "dim": (_WIDTH,),
            "intermediate_dim": (_WIDTH,),
            "num_layers": (_LAYERS,),
            "layer_scale_init_value": (Number(0, 1), _NULL),
        },
    ),
    "head": ("vocos.heads.ISTFTHead", {**_SPECTRUM, "dim": (_WIDTH,)}),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """Which network the weights are for.

    Attributes:
        backbone: a name in BACKBONES.
        arguments: keyword arguments to make it with, checked.
        source: the config file that says so.
    """

    backbone: str
    arguments: dict[str, Any]
    source: str


def read_architecture(path: Path) -> Architecture:
    """Read a config in the form of F5-TTS's own (`f5_tts/configs/*.yaml`): YAML, or JSON, which is YAML.

    What the config says of anything but the network (data sets, logs) is passed over.

    Raises:
        FormatError: it is not of F5-TTS's form, its vocoder is not Vocos, or it wants something that is not allowed.
    """
    try:
        model = _mapping(_document(path), "model")
        backbone, arguments = _entry(model, "model.backbone"), _mapping(model, "model.arch")
        spectrum = _entry(_mapping(model, "model.mel_spec"), "model.mel_spec.mel_spec_type")
    except ValueError as error:
        raise FormatError(f"{path} is no F5-TTS config ({error}): it needs model.backbone, .arch, .mel_spec") from error
    if not isinstance(backbone, str) or backbone not in BACKBONES:
        raise FormatError(f"{path} names the backbone {shown(backbone)}: f5_tts has DiT, UNetT and MMDiT")
    if model.get("tokenizer") == "byte":
        raise FormatError(f"{path} wants the tokenizer byte, which F5-TTS trains with and cannot speak with")
    if spectrum != "vocos":
        raise FormatError(f"{path} wants the vocoder {shown(spectrum)}: only vocos is supported here")
    try:
        return Architecture(backbone, _arguments(arguments, BACKBONES[backbone], "model.arch"), str(path))
    except ValueError as error:
        raise FormatError(f"{path} does not describe a network: {error}") from error


def read_vocos(path: Path) -> dict[str, dict[str, Any]]:
    """Read a config in the form of charactr/vocos-mel-24khz.

    Returns:
        The checked keyword arguments of MelSpectrogramFeatures (`feature_extractor`), VocosBackbone (`backbone`) and
        ISTFTHead (`head`).

    Raises:
        FormatError: it is of another form, names another class, or an argument that is not allowed.
    """
    try:
        document = _document(path)
        found = {}
        for name, (class_path, rules) in _VOCOS.items():
            section = _mapping(document, name)
            named = _entry(section, f"{name}.class_path")
            if named != class_path:
                raise ValueError(f"{name}.class_path is {shown(named)}, and only {class_path} may be made")
            found[name] = _arguments(section.get("init_args", {}), rules, f"{name}.init_args")
        return found
    except ValueError as error:
        raise FormatError(
            f"{path} is no config of a vocoder that is supported here: {error}: publish that of "
            "charactr/vocos-mel-24khz again"
        ) from error


class _Loader(SafeLoader):  # type: ignore[misc]  # mypy sees no yaml
    """Makes plain data as yaml.safe_load does, from documents without aliases, repeated keys and deep nesting.

    An alias can stand for a list of aliases and so on, which a few lines let grow without bound.
    """

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if self.check_event(AliasEvent):
            raise ValueError("it has an alias (*name), and none is followed here")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(_TOO_DEEP)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def fetch_flow_collection_start(self, token_class: type) -> None:
        # Scanning runs ahead of composing: a thousand brackets on end would be scanned first, for a second.
        if self.flow_level >= _DEEPEST:
            raise ValueError(_TOO_DEEP)
        super().fetch_flow_collection_start(token_class)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        if any(not isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
            raise ValueError("a mapping has a key twice, or one that is no word")
        found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return found


# As F5-TTS's own reader does: to yaml, 1e-6 without a dot is a word.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]{1,3}$"), list("-+0123456789")
)


def _document(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file consists of; raises ValueError, in words on one line, for any other file."""
    try:
        data = read_bounded(path, _LARGEST)
    except OSError as error:
        raise ValueError(error.strerror or type(error).__name__) from error
    try:
        document = _Loader(data).get_single_data()
    except (YAMLError, ValueError, RecursionError, OverflowError, TypeError, AttributeError, LookupError) as error:
        # Constructors of yaml fail with all of these for scalars that are not of the type that their tag says.
        text = str(getattr(error, "problem", None) or str(error).partition("\n")[0] or type(error).__name__)
        raise ValueError(f"{ascii(text)[1:-1]:.150}") from error
    if not isinstance(document, dict):
        raise ValueError("it is no mapping")
    return document


def _entry(section: Mapping[Any, Any], name: str) -> Any:
    """Return the entry that the last component of the dotted `name` stands for; raises ValueError without one."""
    key = name.rpartition(".")[2]
    if key not in section:
        raise ValueError(f"{name} is missing")
    return section[key]


def _mapping(section: Mapping[Any, Any], name: str) -> dict[Any, Any]:
    found = _entry(section, name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no mapping")
    return found


def _arguments(given: object, rules: Rules, name: str) -> dict[str, Any]:
    """Return keyword arguments that all keep their rules; raises ValueError with the first that does not."""
    if not isinstance(given, dict):
        raise ValueError(f"{name} is no mapping")
    for key, value in given.items():
        if not isinstance(key, str) or key not in rules:
            raise ValueError(f"{name} has {shown(key)}; allowed are {', '.join(rules)}")
        if not any(_keeps(value, rule) for rule in rules[key]):
            allowed = " or ".join(_in_words(rule) for rule in rules[key])
            raise ValueError(f"{name}.{key} is {shown(value)}, and has to be {allowed}")
    return dict(given)


def _keeps(value: object, rule: Rule) -> bool:
    if rule is bool:
        return type(value) is bool
    if isinstance(rule, range):
        return type(value) is int and value in rule
    if isinstance(rule, Number):
        number = type(value) in (int, float)
        return number and rule.low <= value <= rule.high  # type: ignore[operator]  # false for NaN, too
    assert isinstance(rule, tuple)
    return (value is None or type(value) is str) and value in rule


def _in_words(rule: Rule) -> str:
    if isinstance(rule, range):
        return f"an integer from {rule.start} to {rule.stop - 1}"
    if isinstance(rule, Number):
        return f"a number from {rule.low:g} to {rule.high:g}"
    return (
        " or ".join("null" if word is None else word for word in rule) if isinstance(rule, tuple) else "true or false"
    )
