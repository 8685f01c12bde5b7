"""What comes from Hugging Face is checked, as its own client looks at sizes alone."""

from __future__ import annotations

from tests.worker.boot.conftest import AWAY, Station


def test_a_flipped_bit_from_the_hub_is_fatal(station: Station) -> None:
    station.hub.corrupt = {"F5TTS_v1_Base/model_1250000.safetensors"}
    ran = station.boot()
    assert ran.code == 4, ran.err
    assert "arrives damaged from the hub" in ran.errors[-1]
    assert "there is no store" in ran.errors[-1]


def test_a_file_that_was_edited_is_downloaded_again(station: Station) -> None:
    station.boot()
    for blob in (station.directories[0] / "hub").glob("models--SWivid*/blobs/*"):
        blob.write_bytes(b"edited")
    ran = station.boot()
    station.check(ran)
    assert len(ran.receipt["errors"]) == 2
    assert "is not what its name says" in ran.receipt["errors"][0]


def test_a_file_that_was_edited_is_no_model_when_the_hub_is_down(station: Station) -> None:
    station.boot()
    for blob in (station.directories[0] / "hub").glob("models--SWivid*/blobs/*"):
        blob.write_bytes(b"edited")
    ran = station.boot(HF_ENDPOINT=AWAY)
    assert ran.code == 6, ran.err


def test_a_body_that_is_cut_is_gone_on_with(station: Station) -> None:
    station.hub.cut_bodies = True
    station.check(station.boot())
