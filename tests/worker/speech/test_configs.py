"""A config of a model is data: a hostile one imports nothing, reads no variable, and ends in one clear line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.worker.speech.conftest import Client
from tools.models.tiny_f5 import VOCOS

SECRET = "hunter2-of-the-test"

EXTRACTOR, BACKBONE, HEAD = (VOCOS[name] for name in ("feature_extractor", "backbone", "head"))


def vocos(**sections: object) -> str:
    """A config of Vocos, of which some sections are exchanged."""
    return json.dumps({**VOCOS, **sections})


def called(class_path: object, arguments: object = None) -> dict[str, object]:
    return {"class_path": class_path, "init_args": {} if arguments is None else arguments}


def backbone(**arguments: object) -> str:
    return vocos(backbone=called(BACKBONE["class_path"], {**BACKBONE["init_args"], **arguments}))


def speech(arguments: str = "", **entries: str) -> str:
    """A config of F5-TTS in flow style; some entries of `model` are exchanged, or `arch` has more arguments."""
    rest = ", ".join(f"{name}: {value}" for name, value in (("dim", 64), ("depth", 2)) if f"{name}:" not in arguments)
    whole = ", ".join(filter(None, (arguments, rest)))
    given = {"backbone": "DiT", "arch": f"{{{whole}}}", "mel_spec": "{mel_spec_type: vocos}"}
    return "model: {" + ", ".join(f"{name}: {text}" for name, text in (given | entries).items()) + "}\n"


NAMES = {
    "popen": "subprocess.Popen",
    "system": "os.system",
    "eval": "builtins.eval",
    "another of vocos": "vocos.feature_extractors.EncodecFeatures",
    "head as backbone": "vocos.heads.ISTFTHead",
    "a path that leads back": "vocos.models.torch.hub.load",
    "dots": "...",
    "no dot": "VocosBackbone",
    "blank after it": "vocos.models.VocosBackbone ",
    "dunder": "vocos.models.VocosBackbone.__init__",
    "a module of this folder": "planted.Class",
    "number": 7,
    "list": ["vocos.models.VocosBackbone"],
    "null": None,
}
ARGUMENTS: dict[str, dict[str, object]] = {
    "dim null": {"dim": None},
    "dim true": {"dim": True},
    "dim a float": {"dim": 64.0},
    "dim a word": {"dim": "64"},
    "dim a list": {"dim": [64]},
    "dim a class": {"dim": called("os.getcwd")},
    "dim negative": {"dim": -64},
    "dim zero": {"dim": 0},
    "dim huge": {"dim": 10**30},
    "layers huge": {"num_layers": 10**9},
    "channels huge": {"input_channels": 2**31},
    "scale of another kind": {"layer_scale_init_value": "1.0"},
    "device": {"device": "cuda"},
    "dunder": {"__class__": "x"},
    "self": {"self": 1},
    "interpolation": {"dim": "${oc.env:AWS_SECRET_ACCESS_KEY}"},
    "jinja": {"dim": "{{ env.AWS_SECRET_ACCESS_KEY }}"},
}
YAML = {
    "object apply": "!!python/object/apply:os.system ['touch PWNED']",
    "object new": "!!python/object/new:subprocess.Popen [['touch', 'PWNED']]",
    "object": "!!python/object:collections.OrderedDict {}",
    "name": "!!python/name:os.system",
    "module": "!!python/module:planted",
    "tuple": "!!python/tuple [1, 2]",
    "own tag": "!env AWS_SECRET_ACCESS_KEY",
    "include": "!include /etc/passwd",
    "bad float": "!!float [1]",
    "bad int": "!!int ''",
    "bad date": "2026-99-99",
    "bad mapping": "!!map 7",
    "long integer": "9" * 5000,
    "hex integer": "0x" + "f" * 5000,
    "deep list": "[" * 5000 + "]" * 5000,
    "deep mapping": "{a: " * 2000 + "1" + "}" * 2000,
    "alias": "[&a 1, *a]",
    "loop": "&a [*a]",
    "bomb": "[&a [x, x, x], &b [*a, *a, *a], &c [*b, *b, *b], *c]",
    "merge bomb": "[&a {x: 1}, &b {<<: [*a, *a, *a]}, {<<: [*b, *b, *b]}]",
    "unclosed": "[1, 2",
    "two documents": "1\n--- {}\n",
    "control character": '"\x01"',
    "escape sequence": '"\x1b[31m"',
    "twice": "{a: 1, a: 2}",
    "list as a key": "{[1, 2]: 3}",
    "not a number": ".nan",
    "infinite": ".inf",
    "bytes": "!!binary aGVsbG8=",
    "set": "!!set {a, b}",
    "date": "2026-01-01",
}
HARMLESS_ELSEWHERE = {"not a number", "infinite", "bytes", "set", "date", "hex integer", "escape sequence"}
BACKBONES = [
    "os.system",
    "Trainer",
    "CFM",
    "modules",
    "dit",
    "DiT.__init__",
    "torch.nn.Linear",
    "__name__",
    "[DiT]",
    "{}",
]
BACKBONES += ["null", "7", "'${oc.env:AWS_SECRET_ACCESS_KEY}'", "'${oc.env:X,DiT}'", "dit", "Dit"]
ARCHITECTURES = [
    "dim: '${oc.env:AWS_SECRET_ACCESS_KEY}'", "dim: '${oc.env:HOME}'", "qk_norm: '${oc.env:AWS_SECRET_ACCESS_KEY}'",
    "dim: '${model.arch.depth}'", "dim: \"${oc.decode:'64'}\"", "dim: '${hydra:runtime.cwd}'", "dim: '???'",
    "depth: 1000000000", "depth: -1", "depth: 0", "depth: 2.5", "depth: yes", "heads: 99999", "dim_head: 10000000000",
    "text_dim: 1000000", "conv_layers: 100000000", "ff_mult: 1.0e+9", "ff_mult: -1", "ff_mult: .nan", "dropout: 2",
    "attn_backend: os.system", "attn_backend: {_target_: os.system}", "qk_norm: [rms_norm]", "text_mask_padding: 1",
    "_target_: os.system", "self: 1", "text_num_embeds: 7", "mel_dim: 7", "vocab_char_map: x", "7: 8", "__class__: x",
]  # fmt: skip
FORMS = {
    "empty": "", "text": "model", "list": "[model]", "no model": "a: 1", "model null": "model:", "arch a list":
    speech(arch="[1]"), "arch null": speech(arch="null"), "arch a word": speech(arch="'${oc.env:HOME}'"),
    "spectrum a word": speech(mel_spec="vocos"), "spectrum null": speech(mel_spec="{}"),
    "spectrum a path": speech(mel_spec="{mel_spec_type: ../../x}"),
    "spectrum of a variable": speech(mel_spec="{mel_spec_type: '${oc.env:AWS_SECRET_ACCESS_KEY}'}"),
    "large": speech() + "#" * 70_000, "html": "<!DOCTYPE html><html><body>Not found</body></html>",
    "pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
}  # fmt: skip
HOSTILE = {
    **{f"speech/value {name}": speech(f"heads: {text} ") for name, text in YAML.items()},
    **{f"speech/elsewhere {name}": f"data: {text}\n{speech()}" for name, text in YAML.items()
       if name not in HARMLESS_ELSEWHERE and name != "two documents"},
    **{f"speech/backbone {number}": speech(backbone=name) for number, name in enumerate(BACKBONES)},
    **{f"speech/arch {number}": speech(text) for number, text in enumerate(ARCHITECTURES)},
    **{f"speech/form {name}": text for name, text in FORMS.items()},
    **{f"vocoder/form {name}": text for name, text in FORMS.items()},
    **{f"vocoder/{part} {name}": vocos(**{part: called(path, {"args": ["touch", "PWNED"]})})
       for part in VOCOS for name, path in NAMES.items() if path != VOCOS[part]["class_path"]},
    **{f"vocoder/argument {name}": backbone(**arguments) for name, arguments in ARGUMENTS.items()},
    **{f"vocoder/value {name}": backbone(dim="TEXT").replace('"TEXT"', f"{text} ") for name, text in YAML.items()},
    **{f"vocoder/extractor {name}": vocos(feature_extractor=called(EXTRACTOR["class_path"], arguments))
       for name, arguments in {"rate": {"sample_rate": 10**12}, "mels": {"n_mels": 10**9}, "fft": {"n_fft": -1},
                               "padding": {"padding": "/etc/passwd"}, "positional": [24000], "word": "x"}.items()},
    **{f"vocoder/head {name}": vocos(head=called(HEAD["class_path"], {**HEAD["init_args"], **arguments}))
       for name, arguments in {"step": {"hop_length": 0}, "fft": {"n_fft": 2**40}, "more": {"out": "x"}}.items()},
}  # fmt: skip
GOOD = {
    "speech/as shipped": speech(),
    "speech/a float without a dot": speech("dropout: 1e-2"),
    "speech/the widest that f5_tts ships": speech("heads: 16, ff_mult: 4, pe_attn_head: 1, qk_norm: null"),
    "speech/another network": speech("text_mask_padding: False, skip_connect_type: add", backbone="UNetT"),
    "speech/variables where nothing is read": "save_dir: ckpts/${model.name}/${oc.env:HOME}\n" + speech(),
    "vocoder/as published": vocos(),
    "vocoder/scaled": backbone(layer_scale_init_value=0.125),
}


@pytest.fixture(scope="module")
def answer(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("configs")
    for name, text in {**HOSTILE, **GOOD}.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        return client("configs", folder)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_config_is_one_clear_line_and_nothing_else(name: str, answer: Any) -> None:
    found = answer[name]
    assert found["kind"] == "FormatError", found
    assert found["events"] == []
    assert found["seconds"] < 5
    message = found["text"]
    assert f"{name}.yaml " in message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 700
    assert SECRET not in message


@pytest.mark.parametrize("name", GOOD)
def test_a_config_of_plain_values_is_read(name: str, answer: Any) -> None:
    assert (answer[name]["kind"], answer[name]["events"]) == ("read", [])
