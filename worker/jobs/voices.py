"""Named voices: the folder `voices/<name>/` of the bucket has an audio file and a text file with what is said in it."""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from typing import NamedTuple

from cas.bucket import Bucket, Entry
from cas.errors import ObjectMissing
from worker.errors import BadRequest
from worker.jobs.audio_input import MAX_AUDIO, check_audio
from worker.jobs.fields import check_spoken
from worker.jobs.references import MAX_REF_TEXT

FOLDER = "voices"
AUDIO = (".wav", ".flac", ".mp3", ".ogg")
TEXT = (".txt",)

_CACHED = 32
_NAMED_AT_MOST = 5
_MAX_TEXT_BYTES = 4 * MAX_REF_TEXT + 64  # UTF-8, with a byte order mark and blanks


class Voice(NamedTuple):
    """A recording, and what is said in it.

    Attributes:
        audio: bytes of an audio file.
        text: what is said in it.
    """

    audio: bytes
    text: str


class Voices:
    """The voices of one bucket. Each is read at its first use; the last used ones stay in memory."""

    def __init__(self, bucket: Bucket, kept: int = _CACHED) -> None:
        """Make no request yet.

        Args:
            bucket: where the voices are, below `voices/`.
            kept: how many voices stay in memory, the last used ones.
        """
        self._bucket = bucket
        self._kept = kept
        self._voices: OrderedDict[str, Voice] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Voice:
        """Return the voice `name`, a valid name.

        Raises:
            BadRequest: the voice is unknown or incomplete.
            StoreError: the bucket cannot be read.
        """
        with self._lock:
            if name in self._voices:
                self._voices.move_to_end(name)
                return self._voices[name]
        voice = self._read(name)  # outside the lock: a job with another voice need not wait for this read
        with self._lock:
            self._voices[name] = voice
            while len(self._voices) > self._kept:
                self._voices.popitem(last=False)
        return voice

    def _read(self, name: str) -> Voice:
        prefix = f"{FOLDER}/{name}"
        entries = [entry for entry in self._bucket.list(prefix) if entry.key.rpartition("/")[0] == prefix]
        if not entries:
            raise self._unknown(name)
        field = f"voice {name} ({prefix}/ in {self._bucket.url})"
        audio = self._bytes(_only(entries, AUDIO, field, "audio file"), MAX_AUDIO, field)
        text = self._bytes(_only(entries, TEXT, field, "text file"), _MAX_TEXT_BYTES, field)
        try:
            spoken = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadRequest(f"{field} has a text that is not UTF-8: save it as UTF-8") from None
        return Voice(
            check_audio(audio, f"the audio of {field}"), check_spoken(spoken, f"the text of {field}", MAX_REF_TEXT)
        )

    def _bytes(self, entry: Entry, limit: int, field: str) -> bytes:
        if entry.size > limit:
            raise BadRequest(
                f"{field} has a file {_file_name(entry)} of {entry.size} bytes: at most {limit} are allowed"
            )
        try:
            return bytes(self._bucket.get(entry.key, limit))
        except ObjectMissing:
            raise BadRequest(f"{field} lost its file {_file_name(entry)} just now: send the job again") from None

    def _unknown(self, name: str) -> BadRequest:
        known = sorted({entry.key.split("/")[1] for entry in self._bucket.list(FOLDER) if entry.key.count("/") > 1})
        if not known:
            return BadRequest(
                f"voice {name} is unknown: there is none below {FOLDER}/ in {self._bucket.url}; put its audio and text "
                f"into {FOLDER}/{name}/"
            )
        near = difflib.get_close_matches(name, known, _NAMED_AT_MOST)
        named = [*near, *(other for other in known if other not in near)][:_NAMED_AT_MOST]
        return BadRequest(f"voice {name} is unknown: there are {len(known)}, such as {', '.join(named)}")


def _only(entries: list[Entry], suffixes: tuple[str, ...], field: str, what: str) -> Entry:
    found = [entry for entry in entries if entry.key.lower().endswith(suffixes)]
    if not found:
        raise BadRequest(f"{field} has no {what}: put one there that ends in {', '.join(suffixes)}")
    if len(found) > 1:
        raise BadRequest(f"{field} has {len(found)} files that could be its {what}: leave one of them")
    return found[0]


def _file_name(entry: Entry) -> str:
    return ascii(entry.key.rpartition("/")[2])
