"""Which files of a version a boot says are loaded, and where the vocoder comes from that a version lacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cas
from cas.store.store import open_store
from tests.support.models import noise, write_tree
from tests.support.safetensors import Tensor, safetensors
from tests.worker.station import FILES, VOCODER, Ran, Station, last_message, whole_output
from worker.boot import messages

VOICE = "my-org/my-voice"
WEIGHTS = {"model_last.pt": noise(50_000, 3), "vocab.txt": b"a\n", "config.yaml": b"model: 1\n"}
TENSORS = safetensors({"x": Tensor("F32", (1000,), noise(4_000, 5))})
OTHER_VOCODER = {**FILES[VOCODER], "pytorch_model.bin": noise(70_000, 4)}


def publish(station: Station, model: str, repo: str, files: Mapping[str, bytes]) -> str:
    folder = write_tree(station.folder / f"{model}-{len(files)}", files)
    return cas.publish(model, cas.Source.from_folder(folder, repo), open_store(station.store)).reference


def loaded(ran: Ran) -> dict[str, str]:
    """The files that are to be loaded, each below its snapshot, and with the content that it was published with."""
    assert ran.code == 0, ran.err
    return {role: path.partition("/snapshots/")[2].partition("/")[2] for role, path in ran.receipt["files"].items()}


def test_a_private_voice_takes_the_stores_vocoder_and_needs_no_hub(station: Station) -> None:
    exact = publish(station, "my-voice", VOICE, WEIGHTS)
    publish(station, "vocos", VOCODER, FILES[VOCODER])
    station.hub.down = True
    ran = station.boot(CAS_MODEL="my-voice", CAS_DEPLOYMENT="eu")
    assert loaded(ran) == {
        "weights": "model_last.pt",
        "vocabulary": "vocab.txt",
        "config": "config.yaml",
        "vocoder_config": "config.yaml",
        "vocoder_weights": "pytorch_model.bin",
    }
    assert ran.warnings == []
    assert (ran.receipt["version"], set(ran.receipt["snapshots"])) == (exact, {VOICE, VOCODER})
    total = sum(map(len, [*WEIGHTS.values(), *FILES[VOCODER].values()]))
    assert (ran.receipt["bytes_total"], ran.receipt["bytes_fetched"]) == (total, total)
    receipts = list(Path(station.store, "receipts").rglob("*.json"))
    assert len(receipts) == 2, "the collector keeps both versions"
    again = station.boot(CAS_MODEL="my-voice")
    assert (again.code, again.receipt["bytes_fetched"]) == (0, 0)


def test_a_named_vocoder_stands_in_for_the_versions_own(station: Station) -> None:
    publish(station, "my-voice", VOICE, {**WEIGHTS, **{f"vocos/{name}": data for name, data in FILES[VOCODER].items()}})
    own = station.boot(CAS_MODEL="my-voice")
    assert loaded(own)["vocoder_weights"] == "vocos/pytorch_model.bin"
    exact = publish(station, "vocos", VOCODER, OTHER_VOCODER)
    ran = station.boot(CAS_MODEL="my-voice", CAS_VOCODER=exact)
    assert loaded(ran)["vocoder_weights"] == "pytorch_model.bin"
    assert Path(ran.receipt["files"]["vocoder_weights"]).read_bytes() == OTHER_VOCODER["pytorch_model.bin"]
    gone = station.boot(CAS_MODEL="my-voice", CAS_VOCODER="vocos:v7")
    assert (gone.code, gone.receipt["ok"]) == (6, False)
    assert "vocoder: store" in gone.err and "CAS_VOCODER" in gone.err
    without = publish(station, "notes", VOICE, WEIGHTS)
    lacking = station.boot(CAS_MODEL="my-voice", CAS_VOCODER="notes")
    assert (lacking.code, lacking.receipt["ok"]) == (3, False)
    assert f"vocoder: {without} has no vocoder: a pytorch_model.bin" in lacking.err


def test_without_one_in_the_store_the_hub_has_it_unless_it_must_not(station: Station) -> None:
    a, _ = station.directories
    publish(station, "my-voice", VOICE, WEIGHTS)
    strict = station.boot(CAS_MODEL="my-voice", CAS_FALLBACK="none")
    assert strict.code == 6
    assert "cas publish vocos --source vocos" in strict.err
    process = station.start("-m", "worker.model.restore_process", str(a), env={"CAS_MODEL": "my-voice"})
    out, err = whole_output(process)
    done = last_message(out)
    assert isinstance(done, messages.Restored), err
    assert {role: file.verified for role, file in done.files.items()} == {
        "weights": True,
        "vocabulary": True,
        "config": True,
        "vocoder_config": False,
        "vocoder_weights": False,
    }
    assert not done.complete, "the hub is asked for what is missing"
    assert any("taking the model from Hugging Face instead of vocos:latest" in line for line in done.warnings)
    assert done.bytes.downloaded == sum(map(len, FILES[VOCODER].values()))
    station.hub.down = True
    later = station.boot(CAS_MODEL="my-voice")
    assert (later.code, later.receipt["bytes_downloaded"]) == (0, 0), "what was downloaded is still here"


def test_of_several_weights_the_environment_names_one_before_any_is_fetched(station: Station) -> None:
    files = {**WEIGHTS, "model_1200.safetensors": TENSORS, "ckpts/model_1.pt": noise(9_000, 6)}
    exact = publish(station, "my-voice", VOICE, files)
    publish(station, "vocos", VOCODER, FILES[VOCODER])
    ran = station.boot(CAS_MODEL="my-voice")
    assert (ran.code, ran.receipt["exit_code"]) == (2, 2)
    (cause,) = ran.receipt["causes"]
    assert cause.startswith(
        f"{exact} has 3 files of weights ({VOICE}/ckpts/model_1.pt, {VOICE}/model_1200.safetensors, "
    )
    assert "CAS_WEIGHTS=model_last.pt" in cause
    assert not list(station.folder.glob("a/hub/*/snapshots/*/*")), "nothing was fetched"
    named = station.boot(CAS_MODEL="my-voice", CAS_WEIGHTS="ckpts/*")
    assert loaded(named)["weights"] == "ckpts/model_1.pt"
    assert loaded(named)["vocabulary"] == "vocab.txt"


def test_a_version_without_weights_says_what_it_has(station: Station) -> None:
    publish(station, "my-voice", VOICE, {"notes.txt": b"x", "vocab.txt": b"a\n"})
    ran = station.boot(CAS_MODEL="my-voice")
    assert ran.code == 3
    assert f"has no weights of F5-TTS (it has {VOICE}/notes.txt, {VOICE}/vocab.txt)" in ran.err
