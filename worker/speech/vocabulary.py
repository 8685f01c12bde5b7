"""The characters that a model knows: vocab.txt has one a line, and the line's number is the character's index."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from cas.errors import FormatError
from cas.local.fs import read_bounded

_LARGEST = 4 * 1024 * 1024  # bytes; that of F5-TTS, for Chinese and English, has 13 KB


class Vocabulary(NamedTuple):
    """The characters of a model.

    Attributes:
        indices: the index of each character, or of each syllable of pinyin.
        source: the file that says so.
    """

    indices: dict[str, int]
    source: str

    @property
    def size(self) -> int:
        """Return how many characters there are."""
        return len(self.indices)


def shipped() -> Path:
    """Return the path of the vocabulary that f5_tts ships, which is that of all its published weights."""
    return Path(str(files("f5_tts").joinpath("infer/examples/vocab.txt")))


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary as `f5_tts.model.utils.get_tokenizer(path, "custom")` does.

    So the last character of every line is cut off, a line end or not, and of equal lines the last one counts.

    Raises:
        FormatError: it is no text in UTF-8, is larger than any vocabulary, is empty, or has equal lines, so that the
            index of a character is larger than their number: the text embedding has no row for it.
    """
    try:
        lines = list(io.TextIOWrapper(io.BytesIO(read_bounded(path, _LARGEST)), encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is no vocabulary (byte {error.start} is not UTF-8): publish it in UTF-8") from error
    except OSError as error:
        raise FormatError(f"{path} is no vocabulary ({error.strerror or type(error).__name__})") from error
    indices = {line[:-1]: index for index, line in enumerate(lines)}
    if not indices:
        raise FormatError(f"{path} is no vocabulary: it is empty")
    beyond = [(index, character) for character, index in indices.items() if character and index >= len(indices)]
    if beyond:
        index, character = min(beyond)
        raise FormatError(
            f"{path} is no vocabulary: it has {len(lines)} lines and {len(indices)} different ones, so that line "
            f"{index + 1} ({character!a:.40}) has no row in the text embedding: publish the vocabulary that the "
            "weights were trained with"
        )
    return Vocabulary(indices, str(path))
