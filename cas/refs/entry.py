"""An entry of a ref's log, as it is stored: where the ref was moved, when, by whom, with which program and why."""

from __future__ import annotations

import re

import msgspec

from cas.formats.digest import named, parse
from cas.formats.manifest import DigestName, Text, Time, now
from cas.formats.typed_json import JsonFormat

PUBLISH = "publish"
"""The reason that a publish gives for its moves. Logs hold it, so it never changes."""

DERIVE = "derive"
"""The reason that a derivation gives for its moves. Logs hold it, so it never changes."""

SIGN = "sign"
"""The reason that `cas sign --tag` gives for its moves, which end a publish. Logs hold it, so it never changes."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SIGNATURE = re.compile(r"(.*) \((cas [^ ()]+)\)")


class RefEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"signature": "by"}):
    """One move of a ref.

    Attributes:
        manifest: the version that the ref was moved to, `blake3:` and 64 hex; None removes the ref.
        created: when it was moved, by the mover's clock.
        signature: who moved it and with which program, `user@host (cas 0.1.0)`; stored as `by`. The program has no
            field of its own, because earlier programs refuse an entry with a field that they do not know.
        reason: why.
    """

    manifest: DigestName | None
    created: Time
    signature: Text
    reason: Text

    @property
    def digest(self) -> str | None:
        """The digest (64 hex) of the version that the ref was moved to; None when it was removed."""
        return None if self.manifest is None else parse(self.manifest)

    @property
    def by(self) -> str:
        """Who moved the ref."""
        match = _SIGNATURE.fullmatch(self.signature)
        return match[1] if match else self.signature

    @property
    def program(self) -> str:
        """The program that moved the ref, such as `cas 0.1.0`; empty where the entry does not tell."""
        match = _SIGNATURE.fullmatch(self.signature)
        return match[2] if match else ""


ENTRIES = JsonFormat[RefEntry](RefEntry)


def new_entry(digest: str | None, reason: str, by: str | None, created: str | None) -> RefEntry:
    """Return an entry that this program writes.

    Args:
        digest: the version, 64 hex; None removes the ref.
        reason: why the ref moves. Of this and of `by`, control characters and what is too long are left out.
        by: who moves it; None for user@host.
        created: when, as `cas.formats.manifest.now` writes it; None for now.
    """
    from cas.host import whoami
    from cas.version import __version__

    signature = f"{_text(by or whoami(), 4000)} (cas {__version__})"
    return RefEntry(None if digest is None else named(digest), created or now(), signature, _text(reason, 4096))


def _text(given: str, most: int) -> str:
    """`given` without control characters and at most `most` characters long, as an entry may hold it."""
    return _CONTROL.sub(" ", given.encode(errors="replace").decode())[:most]
