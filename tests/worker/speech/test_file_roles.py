"""Which files of a version are loaded as what, by the names of F5-TTS's trainer, its hub repos and Vocos' repo."""

from __future__ import annotations

import pytest

from cas.errors import InputError
from worker.speech.file_roles import NoSuchFiles, RepoFile, speech_files, vocoder_files

F5, E2, VOCOS, OWN = "SWivid/F5-TTS", "SWivid/E2-TTS", "charactr/vocos-mel-24khz", "my-org/my-voice"
WHOLE_F5 = [
    "F5TTS_Base/model_1200000.pt",
    "F5TTS_Base/model_1200000.safetensors",
    "F5TTS_Base/vocab.txt",
    "F5TTS_Base_bigvgan/model_1250000.pt",
    "F5TTS_v1_Base/model_1250000.safetensors",
    "F5TTS_v1_Base/vocab.txt",
]


def version(**repos: list[str]) -> list[RepoFile]:
    names = {"f5": F5, "e2": E2, "vocos": VOCOS, "own": OWN}
    return [RepoFile(names[repo], path) for repo, paths in repos.items() for path in paths]


def chosen(files: list[RepoFile], wanted: str = "") -> list[str | None]:
    found = speech_files(files, "m@blake3:0", wanted)
    return [file and file.path for file in found]


VOCODER = ["config.yaml", "pytorch_model.bin"]


@pytest.mark.parametrize(
    ("files", "wanted", "found"),
    [
        (version(f5=WHOLE_F5, vocos=VOCODER), "", [WHOLE_F5[4], WHOLE_F5[5], None]),
        (version(f5=WHOLE_F5, vocos=VOCODER), "F5TTS_Base/*.safetensors", [WHOLE_F5[1], WHOLE_F5[2], None]),
        (version(f5=WHOLE_F5), "SWivid/*/F5TTS_Base/*.pt", [WHOLE_F5[0], WHOLE_F5[2], None]),
        (version(e2=["E2TTS_Base/m.safetensors"], vocos=VOCODER), "", ["E2TTS_Base/m.safetensors", None, None]),
        (version(own=["m.pt", "vocab.txt", "config.yaml"]), "", ["m.pt", "vocab.txt", "config.yaml"]),
        (version(own=["a/b/m.pt", "a/vocab.txt", "config.yaml"]), "", ["a/b/m.pt", "a/vocab.txt", "config.yaml"]),
        (version(own=["a/m.pt", "a/vocab.txt", "vocab.txt"]), "", ["a/m.pt", "a/vocab.txt", None]),
        (version(own=["ckpts/m.pt", "data/vocab.txt"]), "", ["ckpts/m.pt", "data/vocab.txt", None]),
        (version(own=["m.pt", "data/config.yaml"]), "", ["m.pt", None, None]),
        (version(own=["m.pt", *VOCODER]), "", ["m.pt", None, None]),
        (version(own=["m.pt", "config.yaml", *(f"v/{name}" for name in VOCODER)]), "", ["m.pt", None, "config.yaml"]),
    ],
)  # fmt: skip
def test_the_files_of_a_version(files: list[RepoFile], wanted: str, found: list[str | None]) -> None:
    assert chosen(files, wanted) == found


@pytest.mark.parametrize(
    ("files", "wanted", "told"),
    [
        (version(own=["model_1.pt", "model_last.pt"]), "", "has 2 files of weights (my-org/my-voice/model_1.pt, "),
        (version(own=["model_1.pt", "model_last.pt"]), "*.pt", "CAS_WEIGHTS is '*.pt', which matches 2 files"),
        (version(own=["model_1.pt"]), "model_2.pt", "matches no weights of m@blake3:0: it has my-org/my-voice/model_1"),
        (version(own=["c/m.pt", "a/vocab.txt", "b/vocab.txt"]), "", "as my-org/my-voice/c/vocab.txt"),
        (version(own=[f"{n:02}.pt" for n in range(20)]), "", "07.pt and 12 more"),
    ],
)
def test_several_candidates_are_named_with_what_chooses(files: list[RepoFile], wanted: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        chosen(files, wanted)
    assert told in str(raised.value)


def test_a_version_without_weights() -> None:
    with pytest.raises(NoSuchFiles, match=r"it has my-org/my-voice/vocab\.txt"):
        chosen(version(own=["vocab.txt"]))


def test_the_vocoder_is_known_by_its_two_files() -> None:
    assert vocoder_files(version(own=["m.pt", "config.yaml"]), "m") is None
    assert vocoder_files(version(own=["pytorch_model.bin"]), "m") is None
    found = vocoder_files(version(own=["m.pt"], vocos=VOCODER), "m")
    assert found and (str(found.config), str(found.weights)) == (f"{VOCOS}/config.yaml", f"{VOCOS}/pytorch_model.bin")
    two = version(own=["m.pt", "v/config.yaml", "v/pytorch_model.bin"], vocos=VOCODER)
    beside = vocoder_files(two, "m", RepoFile(OWN, "m.pt"))
    assert beside and beside.weights.path == "v/pytorch_model.bin"
    with pytest.raises(InputError, match=r"has 2 vocoders .*CAS_VOCODER"):
        vocoder_files(two, "m")
