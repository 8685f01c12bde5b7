"""What the refs of a store are signed with, whose signatures count, and under which name a store is signed.

Where neither a key nor a signer is configured, nothing of signatures is imported, and nothing more is requested.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cas import config
from cas.bucket.urls import parse
from cas.errors import InputError
from cas.local.fs import may_be_there

if TYPE_CHECKING:
    from cas.formats.minisign import SecretKey
    from cas.local.trusted_keys import Trust

NAME = "CAS_STORE_NAME"

_VARIABLES = ("CAS_TRUSTED_KEYS", "CAS_FLOOR")
_OF_ONE_STORE = re.compile(r"(?P<url>[^\s,]+?)=(?P<name>[a-z][a-z0-9+.-]*://[^\s,]*)")


class Signing:
    """The part of a store that is about signatures.

    Attributes:
        trust: whose signatures count; None where none is asked for.
    """

    trust: Trust | None = None
    _signer: SecretKey | None = None
    _find_signer = False

    @property
    def signer(self) -> SecretKey | None:
        """The key that signs entries of refs; None for none.

        That of CAS_SIGNING_KEY is read when it is first needed: it may take a passphrase, and readers need no key.
        """
        if self._find_signer:
            from cas.local.trusted_keys import configured_signer

            self._signer, self._find_signer = configured_signer(), False
        return self._signer

    @signer.setter
    def signer(self, key: SecretKey | None) -> None:
        self._signer, self._find_signer = key, False

    def configure_signing(self) -> None:
        """Take trust and signer from the variables and the user's file of trusted keys.

        Raises:
            InputError: a variable or a file names keys that cannot be had (`configured_trust`).
            CasError: what else `configured_trust` raises.
        """
        self._find_signer = config.is_set("CAS_SIGNING_KEY")
        folder = config.user_directory("XDG_CONFIG_HOME", ".config")
        if any(map(config.is_set, _VARIABLES)) or (folder and may_be_there(folder / "model-cas" / "trusted-keys")):
            from cas.local.trusted_keys import configured_trust

            self.trust = configured_trust()

    def sign_as(self, other: Signing) -> None:
        """Take trust and signer from another store object: one that reads the same store in another way."""
        self.trust, self._signer, self._find_signer = other.trust, other._signer, other._find_signer


def store_name(url: str) -> str:
    """Return a store's name in signatures: CAS_STORE_NAME, else its URL without user, profile, endpoint and query.

    A signature counts in the store of this name alone, so that an entry of one store is none of another. A store that
    is reached in several ways, or was moved, is told by CAS_STORE_NAME what it is called. That holds one name for
    whatever store is opened, or several `<url>=<name>`, separated by commas or blanks. A URL with a profile there
    means the store behind that profile alone: buckets of one name at two servers are two stores.

    Args:
        url: as `Store.url` gives it: a URL, or the path of a directory or an archive.

    Raises:
        InputError: CAS_STORE_NAME cannot be used.
    """
    own, profile = canonical_name(url), parse(url).profile
    found, mine = "", dict[str, str]()
    for item in re.split(r"[,\s]+", config.read(NAME)):
        if match := _OF_ONE_STORE.fullmatch(item):
            if canonical_name(match["url"]) == own:
                mine.setdefault(parse(match["url"]).profile, match["name"])
        elif item and found:
            raise InputError(f"{NAME} has two names, {found!a} and {item!a}: write <url>=<name> for each store")
        else:
            found = item or found
    return mine.get(profile) or mine.get("") or found or own


def name_setting(url: str, name: str) -> str:
    """Return what to write into CAS_STORE_NAME so that the store at a URL or path is called so.

    Args:
        url: as for `store_name`.
        name: the store's name.
    """
    return f"{canonical_name(url) if re.search('[,=%]|[^!-~]', url) else url}={name}"


def canonical_name(url: str) -> str:
    """Return a store's URL as signatures name it; two ways to write one place give one name.

    Args:
        url: as `Store.url` gives it: a URL, or the path of a directory or an archive.
    """
    where = parse(url)
    if where.scheme == "file":
        return Path(os.path.realpath(where.url)).as_uri()
    if where.bucket:
        return f"{where.scheme}://{where.bucket}/{where.prefix}".rstrip("/")
    return where.url
