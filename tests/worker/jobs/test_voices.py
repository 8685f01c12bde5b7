"""Named voices, in a directory and on a real S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.errors import AccessDenied, CasError
from tests.support.buckets import HURRIED
from tools.servers.seaweed import SeaweedFS
from worker.errors import BadRequest
from worker.jobs.audio_input import MAX_AUDIO
from worker.jobs.references import MAX_REF_TEXT
from worker.jobs.voices import Voice, Voices

WAV = b"RIFF\x24\0\0\0WAVEfmt "


@pytest.fixture(params=["directory", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    """A user's own bucket, in which a store is one folder among others."""
    if request.param == "directory":
        return open_bucket(str(tmp_path / "bucket"))
    return open_bucket(str(request.getfixturevalue("s3_url")).removesuffix("/cas"), HURRIED)


def put(bucket: Bucket, **files: bytes) -> None:
    """Write files of voices: the keyword anna_a__wav means voices/anna/a.wav."""
    for name, data in files.items():
        assert bucket.put(f"voices/{name.replace('__', '.').replace('_', '/')}", data, Kind.DOCUMENT, overwrite=True)


def refused(bucket: Bucket, name: str) -> str:
    """The text of the BadRequest that a voice fails with."""
    with pytest.raises(BadRequest) as error:
        Voices(bucket).get(name)
    assert "\n" not in str(error.value)
    return str(error.value)


class TestVoices:
    """One folder with audio and text each."""

    def test_a_voice_is_audio_and_text(self, bucket: Bucket) -> None:
        put(bucket, anna_sample__WAV=WAV, anna_what__txt=b"\xef\xbb\xbf Gr\xc3\xbc\xc3\x9fe. \r\n", anna_notes__md=b"x")
        put(bucket, anna_old_sample__wav=b"RIFFold", anna_old_what__txt=b"old", annabel_a__wav=b"x")
        assert Voices(bucket).get("anna") == Voice(WAV, "Grüße.")

    def test_a_voice_is_read_once(self, bucket: Bucket) -> None:
        put(bucket, anna_a__wav=WAV, anna_a__txt=b"one")
        voices = Voices(bucket)
        first = voices.get("anna")
        bucket.delete("voices/anna/a.wav")
        assert voices.get("anna") is first
        assert "has no audio file" in refused(bucket, "anna")

    def test_few_voices_are_kept_and_the_last_used_ones(self, bucket: Bucket) -> None:
        for name in "abc":
            put(bucket, **{f"{name}_a__wav": WAV, f"{name}_a__txt": name.encode()})
        voices = Voices(bucket, kept=2)
        first, second = voices.get("a"), voices.get("b")
        assert voices.get("a") is first
        voices.get("c")
        assert voices.get("a") is first
        assert voices.get("b") is not second

    def test_a_voice_put_there_after_it_was_missed_is_found(self, bucket: Bucket) -> None:
        voices = Voices(bucket)
        with pytest.raises(BadRequest):
            voices.get("anna")
        put(bucket, anna_a__wav=WAV, anna_a__txt=b"one")
        assert voices.get("anna").text == "one"

    @pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
    def test_every_kind_of_audio(self, bucket: Bucket, suffix: str) -> None:
        audio = {"wav": WAV, "flac": b"fLaC..", "mp3": b"\xff\xfb\x90\x64", "ogg": b"OggS.."}[suffix]
        put(bucket, **{f"anna_a__{suffix}": audio, "anna_a__txt": b"one"})
        assert Voices(bucket).get("anna").audio == audio


class TestRefusals:
    """What is wrong is named."""

    def test_an_unknown_voice_names_known_ones_near_ones_first(self, bucket: Bucket) -> None:
        for name in ("albert", "bert", "carl", "dora", "emil", "fred", "anna"):
            put(bucket, **{f"{name}_a__txt": b"one"})
        bucket.put("voices/readme.txt", b"not a voice", Kind.DOCUMENT)
        assert refused(bucket, "ana") == "voice ana is unknown: there are 7, such as anna, albert, bert, carl, dora"

    def test_a_bucket_without_voices_says_where_they_go(self, bucket: Bucket) -> None:
        bucket.put("cas/format.json", b"{}", Kind.DOCUMENT)
        assert "there is none below voices/" in refused(bucket, "anna")
        assert "voices/anna/" in refused(bucket, "anna")

    @pytest.mark.parametrize(
        ("files", "reason"),
        [
            ({"anna_a__wav": WAV}, "has no text file: put one there that ends in .txt"),
            ({"anna_a__txt": b"one"}, "has no audio file: put one there that ends in .wav, .flac, .mp3, .ogg"),
            ({"anna_a__wav": WAV, "anna_b__mp3": b"ID3", "anna_a__txt": b"one"}, "has 2 files that could be its audio"),
            ({"anna_a__wav": WAV, "anna_a__txt": b"1", "anna_b__txt": b"2"}, "has 2 files that could be its text"),
            ({"anna_a__wav": WAV, "anna_a__txt": b" \n"}, "has nothing to speak in it"),
            ({"anna_a__wav": WAV, "anna_a__txt": b"\xff\xfe1"}, "has a text that is not UTF-8"),
            ({"anna_a__wav": WAV, "anna_a__txt": b"a" * (MAX_REF_TEXT + 1)}, "has 1001 characters"),
            ({"anna_a__wav": WAV, "anna_a__txt": b"a" * 9000}, "has a file 'a.txt' of 9000 bytes"),
            ({"anna_a__wav": b"<html>", "anna_a__txt": b"one"}, "is not audio"),
            ({"anna_a__wav": WAV.ljust(MAX_AUDIO + 1), "anna_a__txt": b"one"}, f"of {MAX_AUDIO + 1} bytes"),
        ],
    )
    def test_an_incomplete_voice(self, bucket: Bucket, files: dict[str, bytes], reason: str) -> None:
        put(bucket, **files)
        error = refused(bucket, "anna")
        assert reason in error
        assert f"voice anna (voices/anna/ in {bucket.url})" in error


def test_a_bucket_that_refuses_is_not_taken_for_an_empty_one(
    s3_url: str, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessDenied):
        Voices(open_bucket(s3_url.removesuffix("/cas"), HURRIED)).get("anna")


def test_a_server_that_is_gone_is_not_taken_for_an_empty_one(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(CasError) as error:
        Voices(open_bucket(s3_url.removesuffix("/cas"), HURRIED)).get("anna")
    assert not isinstance(error.value, BadRequest)
