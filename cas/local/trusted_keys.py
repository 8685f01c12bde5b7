"""Whose signatures count here, below which numbers no entry of a ref does, and what signs: from variables and files.

CAS_TRUSTED_KEYS names public keys: files, folders of `*.pub`, or the keys' lines themselves. What `cas trust` writes is
a *trusted-keys file*, text of one statement a line:

    key RWQ… ann             a minisign public key, and a name for people
    floor f5-tts:latest 42   no entry of this ref below number 42 counts
    # and comments

Wherever a key or a floor is named and cannot be read, this is an error: it never means that nothing is checked.
Whoever has no key configured loads neither this module nor a library (`cas/store/signing.py`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cas import config
from cas.errors import CacheError, CasError, FormatError, InputError
from cas.formats.minisign import (
    PublicKey,
    SecretKey,
    is_public_key_line,
    is_secret_key,
    parse_public_key,
    parse_secret_key,
)
from cas.local.fs import FileTooLarge, NotAFile, read_bounded

KEYS, FLOORS = "CAS_TRUSTED_KEYS", "CAS_FLOOR"
SIGNER, PASSPHRASE = "CAS_SIGNING_KEY", "CAS_SIGNING_PASSPHRASE"

_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}"  # as in cas.store.layout
_REF = re.compile(rf"(?!pin:){_NAME}:{_NAME}|pin:{_NAME}/{_NAME}")
_NUMBER = re.compile(r"[1-9][0-9]{0,19}")
_MAX_FILE = 1024 * 1024


@dataclass(slots=True)
class Trust:
    """The keys whose signatures count, and the floors.

    Attributes:
        keys: the public keys by key id.
        floors: by the text of a ref (`f5-tts:latest`, `pin:eu-prod/f5-tts`), the lowest number of an entry that counts.
        names: what people call a key, by key id: the name behind it, or its file's without `.pub`.
        where: by key id and by text of a ref, the file or variable that a key or a floor comes from.
    """

    keys: dict[str, PublicKey] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)

    def add_key(self, key: PublicKey, name: str, where: str) -> None:
        """Add a key; raises InputError when another key has the same id, as then an id names none of the two."""
        known = self.keys.setdefault(key.id, key)
        if known != key:
            raise InputError(f"{where} and {self.where[key.id]} are two keys of one id, {key.id}: remove one of them")
        self.where.setdefault(key.id, where)
        if name:
            self.names.setdefault(key.id, name)

    def add_floor(self, ref: str, number: int, where: str) -> None:
        """Raise the floor of a ref to this number, unless it is higher already."""
        if number > self.floors.get(ref, 0):
            self.floors[ref] = number
            self.where[ref] = where

    def add_all(self, other: Trust) -> None:
        """Add the keys and floors of another."""
        for key_id, key in other.keys.items():
            self.add_key(key, other.names.get(key_id, ""), other.where[key_id])
        for ref, number in other.floors.items():
            self.add_floor(ref, number, other.where[ref])

    def called(self, key_id: str) -> str:
        """Return a key id for people: with the key's name behind it where it has one."""
        return f"{key_id} ({self.names[key_id]})" if key_id in self.names else key_id


def trusted_keys_file() -> Path | None:
    """Return the path of the file that `cas trust` writes; None for a user without a configuration directory."""
    folder = config.user_directory("XDG_CONFIG_HOME", ".config")
    return None if folder is None else folder / "model-cas" / "trusted-keys"


def configured_trust() -> Trust | None:
    """Return whose signatures count here; None where no key is named anywhere, and so nothing is checked.

    Raises:
        InputError: a variable is empty or cannot be used, a file that it names does not exist, a floor is set and no
            key, or one id has two keys.
        FormatError: a file is malformed; the line is named.
        CacheError: a file cannot be read.
    """
    trust = Trust()
    if config.is_set(KEYS):
        _add_named(trust, config.read(KEYS))
    if (file := trusted_keys_file()) is not None and (text := read_text(file)) is not None:
        trust.add_all(parse_trusted_keys(text, str(file)))
    if config.is_set(FLOORS):
        for item in _items(FLOORS, config.read(FLOORS)):
            ref, equals, number = item.partition("=")
            if not equals:
                raise InputError(f"{FLOORS}: {item!a} is no floor: write f5-tts:latest=42")
            trust.add_floor(*_floor(ref, number, InputError, FLOORS), FLOORS)
    if trust.floors and not trust.keys:
        ref, where = next((ref, trust.where[ref]) for ref in trust.floors)
        raise InputError(
            f"{where} sets a floor for {ref}, and no key is trusted: numbers can be forged where nothing is signed. "
            f"Trust a key with `cas trust add` or {KEYS}, or take the floor away"
        )
    return trust if trust.keys else None


def configured_signer() -> SecretKey | None:
    """Return the key that CAS_SIGNING_KEY names; None where it is not set. It may ask a person for a passphrase.

    Raises:
        InputError: it is set and empty, names no file, or its passphrase is wrong or is not known.
        FormatError: it is no secret key.
        CacheError: the file cannot be read.
    """
    if not config.is_set(SIGNER):
        return None
    given = config.read(SIGNER)
    if not given:
        raise InputError(f"{SIGNER} is set and empty: set it to a secret key or the path of one, or unset it")
    if is_secret_key(given):
        return parse_secret_key(given, SIGNER, lambda: passphrase(SIGNER))
    return read_signer(given, SIGNER)


def read_signer(path: str, option: str) -> SecretKey:
    """Return the secret key in a file. It may ask a person for a passphrase.

    Args:
        path: of the file (NAME.key).
        option: what named it, such as `--sign-with`, for errors.

    Raises:
        InputError: there is no such file, its passphrase is wrong or not known, or a secret key was given instead.
        FormatError: it is no secret key.
        CacheError: the file cannot be read.
    """
    if is_secret_key(path):
        raise InputError(f"{option} takes the path of a key's file: a key itself would be seen in lists of processes")
    file = config.expand_user(path)
    text = read_text(file) if os.path.exists(file) else None
    if text is None:
        # It may be a key that lost its beginning, in the log of a CI system.
        shown = "the path that it names" if re.search(r"[A-Za-z0-9+]{24}|\s", path) else path
        raise InputError(f"{option}: there is no key at {shown}: make one with `cas keygen`")
    return parse_secret_key(text, str(file), lambda: passphrase(str(file)))


def passphrase(what: str) -> str:
    """Return the passphrase of CAS_SIGNING_PASSPHRASE, else what a person types.

    Args:
        what: the key that it is for, as a person is asked.

    Raises:
        InputError: the variable is not set, and nobody sits at a terminal, or whoever does says nothing.
    """
    if given := config.read(PASSPHRASE):
        return given
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError(f"{what} has a passphrase: set {PASSPHRASE} to it")
    return ask(f"Passphrase of {what}: ")


def ask(prompt: str) -> str:
    """Return what a person types, unseen; raises InputError for the end of the input (Ctrl-D)."""
    from getpass import getpass

    try:
        return getpass(prompt)
    except EOFError:
        raise InputError(f"no passphrase was typed: type one, or set {PASSPHRASE}") from None


def parse_trusted_keys(text: str, where: str) -> Trust:
    """Return what the text of a trusted-keys file says.

    Args:
        text: what stands in it.
        where: its name in errors.

    Raises:
        FormatError: a line is no statement of such a file.
        InputError: two keys have one id.
    """
    trust = Trust()
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{where}:{number}"
        word, *rest = line.split() or ["#"]
        if word.startswith("#"):
            continue
        if word == "key" and rest and is_public_key_line(rest[0]):
            trust.add_key(parse_public_key(rest[0], place), " ".join(rest[1:]), place)
        elif word == "floor" and len(rest) == 2:
            trust.add_floor(*_floor(rest[0], rest[1], FormatError, place), place)
        else:
            raise FormatError(
                f"{place} is no line of trusted keys: write `key RWQ… name`, `floor f5-tts:latest 42`, or `# comment`"
            )
    return trust


def read_keys(path: str, where: str) -> Trust:
    """Return the keys, and floors, of a file or a folder.

    Args:
        path: of a public key (NAME.pub), a trusted-keys file, or a folder with files NAME.pub.
        where: what named the path, for errors.

    Raises:
        InputError: nothing is there, or no key.
        FormatError: a file is malformed.
        CacheError: a file cannot be read.
    """
    if not path.strip():  # as a path it would be the current folder, with whatever keys lie there
        raise InputError(f"{where} is empty: name a public key (NAME.pub), a folder or a key")
    if is_secret_key(path):
        raise InputError(f"{where}: this is a secret key, for who signs alone: name the public key (NAME.pub)")
    trust = Trust()
    file = config.expand_user(path)
    # Path.is_dir() raises for a name that is too long.
    files: Iterable[Path] = sorted(file.glob("*.pub")) if os.path.isdir(file) else [file]
    if not files:
        raise InputError(f"{where}: the folder {path} has no public key (*.pub), so that nobody would be trusted")
    for each in files:
        if (text := read_text(each)) is None:
            raise InputError(f"{where}: there is nothing at {each}: name a public key (NAME.pub), a folder or a key")
        if each.suffix != ".pub" and re.search(r"^(key|floor)\s", text, re.MULTILINE):
            trust.add_all(parse_trusted_keys(text, str(each)))
        else:
            trust.add_key(parse_public_key(text, str(each)), each.stem, str(each))
    if not trust.keys:
        raise InputError(f"{where}: {path} names no key, so that nobody would be trusted")
    return trust


def _add_named(trust: Trust, value: str) -> None:
    """Add what CAS_TRUSTED_KEYS names."""
    # The text of a whole .pub file may stand there: the comment's line says nothing.
    lines = [line for line in value.splitlines() if not line.startswith("untrusted comment:")]
    for item in _items(KEYS, "\n".join(lines)):
        if is_public_key_line(item):
            try:
                trust.add_key(parse_public_key(item, KEYS), "", KEYS)
            except FormatError as error:
                raise InputError(str(error)) from None
        else:
            trust.add_all(read_keys(item, KEYS))


def _items(variable: str, value: str) -> list[str]:
    """The items of a variable; raises InputError where there are none."""
    if found := [item for item in re.split(r"[,\s]+", value) if item]:
        return found
    raise InputError(f"{variable} is set and empty, which does not mean that nothing is checked: unset it for that")


def _floor(ref: str, number: str, error: type[CasError], where: str) -> tuple[str, int]:
    """The floor that two words name; raises this kind of error for words that name none."""
    if not _REF.fullmatch(ref) or not _NUMBER.fullmatch(number):
        raise error(
            f"{where}: {ref} {number} is no floor: write f5-tts:latest or pin:eu-prod/f5-tts, and a number from 1 on"
        )
    return ref, int(number)


def read_text(file: Path) -> str | None:
    """Return the text of a small file of keys; None only when the system reports that there is no such file.

    Raises:
        InputError: there is something else than a file.
        FormatError: it is too large, or no text.
        CacheError: it cannot be read.
    """
    try:
        return read_bounded(file, _MAX_FILE).decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        raise FormatError(f"{file} is not text: it holds no key") from None
    except NotAFile:
        raise InputError(f"{file} is not a file: name the file of a key") from None
    except FileTooLarge:
        raise FormatError(f"{file} is over the limit of {_MAX_FILE} bytes: it holds no key") from None
    except OSError as error:
        raise CacheError(f"{file} cannot be read ({error.strerror}): check its owner and mode") from error
