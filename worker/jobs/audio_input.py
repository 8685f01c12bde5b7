"""Reference audio as it arrives: base64, or the bytes of a file, which must begin like an audio file."""

from __future__ import annotations

import binascii
import re

from worker.errors import BadRequest

MAX_AUDIO = 10 * 1024 * 1024
"""Largest reference recording, in bytes; F5-TTS uses at most 12 s of it."""

_DATA_URL = re.compile(r"data:[a-z0-9/+.;=-]{0,80};base64,", re.IGNORECASE)
_BREAKS = {ord(character): None for character in " \t\r\n"}

# First bytes of audio files. Anything else, such as an error page or a playlist, is refused before a decoder sees it.
_BEGINNINGS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3")
_ALLOWED = "a wav, flac, mp3 or ogg file"


def from_base64(text: str, field: str) -> bytes:
    """Return the audio in base64 text.

    Args:
        text: base64, with or without `data:…;base64,` before it.
        field: name of the job's field, for the error.

    Raises:
        BadRequest: it is too long, no base64, or no audio.
    """
    if head := _DATA_URL.match(text):
        text = text[head.end() :]
    if len(text) > MAX_AUDIO * 3 // 2:
        raise BadRequest(f"{field} is too long: at most {MAX_AUDIO} bytes of audio are allowed, in base64")
    try:
        return check_audio(binascii.a2b_base64(text.translate(_BREAKS), strict_mode=True), field)
    except ValueError:
        raise BadRequest(f"{field} is neither base64 nor an https URL: send {_ALLOWED} in base64, or its URL") from None


def check_audio(audio: bytes, field: str) -> bytes:
    """Return `audio` itself after a look at its size and its first bytes.

    Args:
        audio: the bytes of a file.
        field: name of the job's field, for the error.

    Raises:
        BadRequest: it is too large, or does not begin like an audio file.
    """
    if len(audio) > MAX_AUDIO:
        raise BadRequest(f"{field} has {len(audio)} bytes: at most {MAX_AUDIO} are allowed")
    is_mpeg_frame = len(audio) > 1 and audio[0] == 0xFF and audio[1] & 0xE0 == 0xE0
    if not audio.startswith(_BEGINNINGS) and not is_mpeg_frame:
        raise BadRequest(f"{field} is not audio: send {_ALLOWED}")
    return audio
