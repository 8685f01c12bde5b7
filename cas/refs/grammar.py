"""The grammar of references: how a person names a version, as text and parsed.

What is read here needs no store. What else a word can mean (a digest without its model, a repo, a name in other
letters) only a store can tell: `cas/refs/meaning.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cas.errors import InputError
from cas.formats.digest import PREFIX, named
from cas.formats.manifest import check_name

DEFAULT_TAG = "latest"

SHORTEST = 8
"""Hex digits of a digest that name a version at least."""

_DIGITS = re.compile(rf"(?:{PREFIX})?([0-9a-f]{{{SHORTEST},64}})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference. Of `tag`, `digest` and `deployment` one is set; or both `tag` and `digest`.

    Attributes:
        model: the model.
        tag: the model's tag. With a digest beside it, the tag must name that version.
        digest: the version, 64 hex, or its first 8 digits or more.
        deployment: the deployment whose pin of the model is meant.
    """

    model: str
    tag: str | None = None
    digest: str | None = None
    deployment: str | None = None

    def __str__(self) -> str:
        if self.deployment is not None:
            return f"pin:{self.deployment}/{self.model}"
        if self.digest is None:
            return f"{self.model}:{self.tag}"
        name = self.model if self.tag is None else f"{self.model}:{self.tag}"
        return f"{name}@{named(self.digest) if len(self.digest) == 64 else self.digest}"


def parse_reference(text: str) -> Reference:
    """Return the parsed form of a reference.

    Args:
        text: `model`, which means `model:latest`, `model:tag`, `model@digest`, `model:tag@digest` or
            `pin:deployment/model`. A digest is 8 to 64 hex digits, with or without `blake3:`.

    Raises:
        InputError: it is none of these. The error says what it is likely to be, as far as no store is needed for that.
    """
    text = trimmed(text)
    try:
        return _parse(text)
    except InputError as error:
        from cas.refs.other_words import what_it_is

        raise InputError(what_it_is(text) or str(error)) from None


def digits_in(text: str) -> str | None:
    """Return the lower-case digits of a digest of 8 digits or more, with or without `blake3:`; None for other text."""
    match = _DIGITS.fullmatch(text)
    return match[1].lower() if match else None


def trimmed(text: str) -> str:
    """Return a text without the spaces around it, and without the slash that a shell's completion leaves behind it."""
    text = text.strip()
    return text.rstrip("/") if "://" not in text and not text.startswith((".", "/", "~")) else text


def _parse(text: str) -> Reference:
    if text.startswith("pin:"):
        deployment, slash, model = text.removeprefix("pin:").partition("/")
        if not slash:
            raise InputError(f"{text!r} names a deployment, and not which of its pins: write pin:deployment/model")
        return Reference(check_name(model, "model"), deployment=check_name(deployment, "deployment"))
    name, at, digest = text.partition("@")
    model, colon, tag = name.partition(":")
    if at:
        given = check_name(tag, "tag") if colon else None
        return Reference(check_name(model, "model"), given, _parse_digest(text, digest))
    return Reference(check_name(model, "model"), tag=check_name(tag, "tag") if colon else DEFAULT_TAG)


def _parse_digest(text: str, digest: str) -> str:
    if digits := digits_in(digest):
        return digits
    hexadecimal = digest.lower().removeprefix(PREFIX)
    if re.fullmatch(r"[0-9a-f]+", hexadecimal) and len(hexadecimal) < SHORTEST:
        raise InputError(f"{text!r}: {hexadecimal} is too short: give at least {SHORTEST} digits")
    raise InputError(f"{text!r}: after @ write a digest: {SHORTEST} to 64 hex digits, with or without {PREFIX}")
