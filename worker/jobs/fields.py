"""The fields of an object that a job's sender wrote: each is read as one type, or refused in one sentence."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Mapping

from worker.errors import BadRequest, shown

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LETTERS_AND_DIGITS = "LN"  # first letters of Unicode's general categories


class Fields:
    """The fields of one object; one that is null counts as left out.

    Every method raises BadRequest for a value that it does not return.
    """

    def __init__(
        self,
        given: Mapping[str, object],
        known: Collection[str],
        *,
        prefix: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Check the names of the fields.

        Args:
            given: the object.
            known: the names that its fields may have.
            prefix: what stands before each name in an error.
            names: for fields that the sender calls by another name, that name.

        Raises:
            BadRequest: a field has another name.
        """
        self._prefix, self._names = prefix, names or {}
        for name in given:
            if name not in known:
                raise self._unknown(name, known)
        self._values = {name: value for name, value in given.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        """Whether the field was given."""
        return name in self._values

    def label(self, name: str) -> str:
        """Return what an error calls a field."""
        return self._prefix + self._names.get(name, name)

    def value(self, name: str) -> object:
        """Return what was given, whatever it is; None where nothing was."""
        return self._values.get(name)

    def string(self, name: str) -> str:
        """Return a string that was given."""
        value = self._values[name]
        if not isinstance(value, str):
            raise BadRequest(f"{self.label(name)} is {shown(value)}: send a string")
        return value

    def spoken(self, name: str, limit: int, what: str) -> str:
        """Return a text to speak, without blanks around it.

        Args:
            name: of the field.
            limit: characters that it may have.
            what: what the text should be, for the error.
        """
        if name not in self._values:
            raise BadRequest(f"{self.label(name)} is missing: write {what}, 1 to {limit} characters")
        return check_spoken(self.string(name), self.label(name), limit)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """Return a number from `least` to `most`."""
        value = self._values.get(name, default)
        # NaN is in no range; a bool is an int to Python.
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise BadRequest(f"{self.label(name)} is {shown(value)}: send a number from {least} to {most}")
        return float(value)

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """Return an integer from `least` to `most`."""
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadRequest(f"{self.label(name)} is {shown(value)}: send an integer from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false, which is the default."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise BadRequest(f"{self.label(name)} is {shown(value)}: send true or false")
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return one of the allowed strings, of which the first is the default."""
        value = self._values.get(name, allowed[0])
        if not isinstance(value, str) or value not in allowed:
            raise BadRequest(f"{self.label(name)} is {shown(value)}: send one of {', '.join(allowed)}")
        return value

    def _unknown(self, name: object, known: Collection[str]) -> BadRequest:
        near = difflib.get_close_matches(name[:60].lower(), known, 1) if isinstance(name, str) else []
        where = f" of {self._prefix.rstrip('.')}" if self._prefix else ""
        return BadRequest(
            f"{shown(name)} is not a field{where}: did you mean {near[0]}?"
            if near
            else f"{shown(name)} is not a field{where}: the fields are {', '.join(known)}"
        )


def check_spoken(text: str, field: str, limit: int) -> str:
    """Return `text` without blanks around it.

    Args:
        text: what is to be spoken, or was spoken.
        field: what to call it in the error.
        limit: characters that it may have.

    Raises:
        BadRequest: it is too long, or cannot be spoken.
    """
    if len(text) > limit:
        raise BadRequest(f"{field} has {len(text)} characters: at most {limit} are allowed")
    if found := _CONTROL.search(text):
        raise BadRequest(f"{field} contains the control character U+{ord(found.group()):04X}: leave it out")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{field} is not valid Unicode at character {error.start + 1}: send UTF-8") from None
    if not is_spoken(text):
        raise BadRequest(f"{field} has nothing to speak in it: write at least one letter or digit")
    return text.strip()


def is_spoken(text: str) -> bool:
    """Whether there is anything to speak in a text: a letter or a digit of any script."""
    return any(unicodedata.category(character)[0] in _LETTERS_AND_DIGITS for character in text)
