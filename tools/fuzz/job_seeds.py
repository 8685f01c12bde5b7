"""Seeds of the target `job`: inputs in our own words, with several voices, and in the words of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

JOB: dict[str, Any] = {
    "text": "Hello there.", "ref_audio": "UklGRgAAAAA=", "ref_text": "Hello.", "speed": 1.1, "nfe_step": 16, "seed": 7,
    "cfg_strength": 2, "remove_silence": True, "format": "mp3", "return": "upload", "stream": True,
}  # fmt: skip
"""A job with every field of a single voice."""

_VOICES: dict[str, Any] = {"town": {"ref_audio": "UklGRgAAAAA=", "ref_text": "A.", "speed": 0.8}, "b\u00fcro": "anna-2"}
_SPEECH = {
    "model": "tts-1", "input": "Hi.", "voice": {"id": "alloy"}, "response_format": "opus", "stream_format": "sse",
}  # fmt: skip


def jobs() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each seed."""
    for name, job in {
        "linked": {**JOB, "ref_audio": "https://example.com/a.wav"},
        "voice": {"text": "Hello.", "voice": "anna"},
        "voices": {**JOB, "text": "One. [town] Two. [main] [b\u00fcro] 3", "voices": _VOICES},
        "voices-listed": {"text": "[anna] Hi. [a pause] [bob]", "voice": "main", "voices": ["anna", "bob"]},
        "unknown-name": {"text": "[laughs] Hi.", "voice": "anna", "voices": {"town": "x", "\ud800": 1}},
        "chatterbox": {"prompt": "Hi.", "voice": "lucy", "voice_url": None, "format": "ogg"},
        "minimax": {"prompt": "Hi.", "voice_id": "Wise_Woman", "speed": 1, "pitch": 0, "emotion": "happy"},
        "openai": {"openai_route": "/v1/audio/speech", "openai_input": _SPEECH},
    }.items():
        yield name, json.dumps(job).encode()
    yield "not-a-number", b'{"text": "Hello.", "voice": "anna", "speed": NaN}'
    yield "surrogate", b'{"text": "\\ud800", "voice": "anna", "\\udfff": 1}'
