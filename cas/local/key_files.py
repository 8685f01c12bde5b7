"""The files of keys that commands write: a key's two files, and the user's file of trusted keys.

The file of trusted keys is edited by the line: what a person wrote into it, comments too, stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from cas.errors import InputError
from cas.formats.minisign import PublicKey
from cas.formats.printable import printable
from cas.local.trusted_keys import Trust, parse_trusted_keys, read_text, trusted_keys_file
from cas.local.whole_file import create_whole, write_whole

_HEADER = "# Whose signatures count (written by `cas trust`): key <minisign public key> [name], floor <ref> <number>\n"


class KeyFiles(NamedTuple):
    """Where a new key lies.

    Attributes:
        secret: path of the secret key's file (NAME.key); None where none was written.
        public: path of the public key's file (NAME.pub).
    """

    secret: Path | None
    public: Path


def write_key(public: PublicKey, secret: str | None, name: str) -> KeyFiles:
    """Write a new key to NAME.key, which its owner alone can read, and NAME.pub.

    Args:
        public: the public key.
        secret: the text of the secret key's file, as `SecretKey.text` makes it; None to write none.
        name: the path of both files without their endings.

    Raises:
        InputError: one of the files is there already: no key is ever replaced.
        CacheError: a file cannot be written.
    """
    path = Path(name)
    if not path.name or printable(path.name) != path.name:
        raise InputError(f"{name!a} is no name for a key's files: write one such as release")
    own, other = (path.with_name(f"{path.name}{ending}") for ending in (".key", ".pub"))
    for file in (own, other):
        if os.path.lexists(file) and not (file == own and secret is None):
            raise InputError(f"{file} is there already, and a key is never replaced: choose another name")
    advice = "choose another name, in a folder that you can write to"
    if secret is not None:
        create_whole(own, secret.encode(), advice, 0o600)
    try:
        create_whole(other, public.text().encode(), advice)
    except BaseException:
        if secret is not None:
            own.unlink(missing_ok=True)
        raise
    return KeyFiles(own if secret is not None else None, other)


class UserTrust:
    """The user's file of trusted keys.

    Attributes:
        path: where it lies.
        trust: what it says; without keys and floors where there is none.
    """

    def __init__(self) -> None:
        """Read the file.

        Raises:
            InputError: the user has no configuration directory.
            FormatError: a line of the file is malformed.
            CacheError: it cannot be read.
        """
        path = trusted_keys_file()
        if path is None:
            raise InputError(
                "this user has no directory for configuration: set XDG_CONFIG_HOME to one, or name keys in "
                "CAS_TRUSTED_KEYS"
            )
        self.path = path
        self._text = read_text(path) or ""
        self.trust: Trust = parse_trusted_keys(self._text, str(path))

    def add_keys(self, keys: Iterable[tuple[PublicKey, str]]) -> list[PublicKey]:
        """Add keys, each with a name or an empty text; return those that were not there.

        Raises:
            InputError: a key has the id of another one, or its name is no line of text.
            CacheError: the file cannot be written.
        """
        new = []
        for key, name in keys:
            if printable(name) != name:
                raise InputError(f"{name!a} is no name for a key: write one in printable characters")
            if key.id not in self.trust.keys:
                new.append(key)
                self._text = f"{self._lines()}key {key.line()}{' ' * bool(name)}{name.strip()}\n"
            self.trust.add_key(key, name, "the new key")
        self._write()
        return new

    def rename_key(self, key: PublicKey, name: str) -> None:
        """Give a key of the file another name.

        Args:
            key: one that the file has.
            name: in printable characters, one or more.

        Raises:
            CacheError: the file cannot be written.
        """
        self._keep(lambda said: key.id not in said.keys)
        self._text = f"{self._lines()}key {key.line()} {name.strip()}\n"
        self._write()

    def remove_key(self, key_id: str) -> None:
        """Remove a key.

        Args:
            key_id: 16 hex digits.

        Raises:
            InputError: it is the last key of the file, which has floors, too: those would then count for nothing.
            CacheError: the file cannot be written.
        """
        if set(self.trust.keys) == {key_id} and self.trust.floors:
            raise InputError(
                f"{key_id} is the last key in {self.path}, which has floors, and those count among signed entries "
                "alone: remove them first with `cas trust floor REF --remove`"
            )
        self._keep(lambda said: key_id not in said.keys)
        self._write()

    def set_floor(self, ref: str, number: int | None) -> None:
        """Set the floor of a ref in place of the one that the file has; None removes it.

        Raises:
            CacheError: the file cannot be written.
        """
        self._keep(lambda said: ref not in said.floors)
        if number is not None:
            self._text = f"{self._lines()}floor {ref} {number}\n"
        self._write()

    def _keep(self, wanted: Callable[[Trust], bool]) -> None:
        """Keep the lines whose statement is wanted."""
        lines = self._text.split("\n")
        self._text = "\n".join(line for line in lines if wanted(parse_trusted_keys(line, str(self.path))))

    def _lines(self) -> str:
        if not self._text:
            return _HEADER
        return self._text if self._text.endswith("\n") else f"{self._text}\n"

    def _write(self) -> None:
        self.trust = parse_trusted_keys(self._text, str(self.path))
        write_whole(self.path, self._text.encode(), "check the owner and mode of its folder")
