"""Keys and signatures for tests: minisign's own files, keys of fixed seeds, and the real minisign where it is there."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from cas.formats.minisign import SecretKey, new_key

# Made by Debian's minisign 0.11: `minisign -G -W`, then `minisign -S -t …` and `minisign -S -l -t …` of MESSAGE.
PUBLIC = """untrusted comment: minisign public key 3BACABCA15ED2400
RWQAJO0VyqusO2W797KdWEyATRmYHd7+Md7pwUQHGwPBVJrfuh5fffu+
"""
SECRET = """untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACTtFcqrrDunFGuqSpsTIb5fnOUs4uUf33G9dbg3PhE0cORfkZsdt2W797KdWEyATRmYHd7+Md7pwUQHGwPBVJrfuh5fffu+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
"""
MESSAGE = b"hello\n"
SIGNATURE = """untrusted comment: signature from minisign secret key
RUQAJO0VyqusO4pOJdDpAClI3TyuFK8JK7+z4hWwl7IBnpKVnz5iKzXifFmB8uHPsX9EdJu26QDJ7aSNFNrThkxXQ4J5epgUzQ8=
trusted comment: a trusted comment
lRVtI+EFu++Yw6hEK72ib0BAMdBy/UYAFyDwWeaqcIxl2h6ivZ5Bs/qNdbDj6cZZ6BwNDH+QRpIoxNP1Qa83DA==
"""
LEGACY = """untrusted comment: signature from minisign secret key
RWQAJO0VyqusO8cYWt9nCIHfRUPKzwqsRUqXSrVtI+e9QburO+SHRZqhTudGIU1a9/FTTXZlQHbwls3RB2BZss+j4cLrZjDLsgU=
trusted comment: legacy one
kFAjNU/1by3qyCgb5owfrbqKuE6xUqmf1r+6AET82xB1wPT9qWJ4B1TVQbUDXnmIp7F77k7q348P0UjwHwB9Bw==
"""
KEY_ID = "3BACABCA15ED2400"


class KeyFiles(NamedTuple):
    """A signing key, and its files.

    Attributes:
        secret: the key.
        file: NAME.key, for CAS_SIGNING_KEY.
        public: NAME.pub, for CAS_TRUSTED_KEYS.
    """

    secret: SecretKey
    file: Path
    public: Path

    @property
    def id(self) -> str:
        """The key's id, 16 upper-case hex digits."""
        return self.secret.public.id

    @property
    def line(self) -> str:
        """The public key as the one line that CAS_TRUSTED_KEYS takes, too."""
        return self.secret.public.line()


@functools.cache
def key(number: int = 1) -> SecretKey:
    """Return the same key for the same number, from 1 to 255."""
    return SecretKey(f"{number:02X}" * 8, bytes([number]) * 32)


@functools.cache
def covered_key() -> str:
    """Return the text of key 5's file, with the passphrase `pässword`: at the least cost that minisign takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cas.formats.minisign._OPERATIONS", 2**15)
        return key(5).text("pässword")


def make_key(folder: Path, name: str) -> KeyFiles:
    """Make a new key, with NAME.key and NAME.pub in a folder."""
    secret = new_key()
    file, public = map(Path, write_keys(folder, name, secret))
    file.chmod(0o600)
    return KeyFiles(secret, file, public)


def write_keys(folder: Path, name: str, secret: SecretKey) -> tuple[str, str]:
    """Write NAME.key and NAME.pub as `cas keygen` does, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    own, other = folder / f"{name}.key", folder / f"{name}.pub"
    own.write_text(secret.text())
    other.write_text(secret.public.text())
    return str(own), str(other)


def run_minisign(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run the real minisign; skips the test where it is not installed (Debian: `apt-get install minisign`).

    Args:
        words: its arguments.
        typed: what it reads from standard input, where it asks for a passphrase.
    """
    if shutil.which("minisign") is None:
        pytest.skip("minisign is not installed: apt-get install minisign")
    return subprocess.run(["minisign", *words], capture_output=True, text=True, input=typed, check=False)
