"""Settings from environment variables, with the names and defaults of the tools around us."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cas.errors import InputError

_DAY = 86_400
_USER = re.compile(r"://[^\s'\"<>]*@")


def store_url(given: str | None = None) -> str:
    """The store: `given`, else CAS_STORE, else s3://$S3_BUCKET/cas, else a directory in the user's data home."""
    if url := given or os.environ.get("CAS_STORE"):
        return url
    if bucket := os.environ.get("S3_BUCKET"):
        return f"s3://{bucket}/cas"
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(_home(), ".local", "share")
    return os.path.join(home, "model-cas")


def seed_dirs(given: Iterable[str | Path] = ()) -> tuple[Path, ...]:
    """The seeds, which may already hold wanted chunks: `given`, then those of CAS_SEEDS, which os.pathsep separates."""
    named = [*given, *os.environ.get("CAS_SEEDS", "").split(os.pathsep)]
    found = (expand_user(os.path.expandvars(name)).absolute() for name in named if str(name))
    return tuple(dict.fromkeys(found))


def expand_user(path: str | Path) -> Path:
    """`path` with the user's, or another user's, home directory in place of `~` or `~user` at its beginning.

    Raises:
        InputError: this machine knows no user of that name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(
            f"{str(path)!a} begins with the name of no user of this machine: write the whole path"
        ) from None


def lease_seconds() -> int:
    """Seconds for which a lease counts after it was last renewed: CAS_LEASE_SECONDS, else 600.

    Raises:
        InputError: CAS_LEASE_SECONDS is not a number from 2 to 86,400.
    """
    given = os.environ.get("CAS_LEASE_SECONDS") or "600"
    if not re.fullmatch(r"[0-9]{1,5}", given) or not 2 <= int(given) <= _DAY:
        raise InputError(f"CAS_LEASE_SECONDS is {given!a}: write a number of seconds from 2 to {_DAY}")
    return int(given)


def receipt_wanted() -> bool:
    """Whether CAS_RECEIPT turns receipts on: any value but empty, 0, false, no or off does."""
    return os.environ.get("CAS_RECEIPT", "").strip().lower() not in ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class CacheDirs:
    """The directories of Hugging Face's clients.

    Attributes:
        hub: the hub cache (HF_HUB_CACHE).
        home: HF_HOME.
        home_is_implied: whether `home` follows only from where the hub cache is, and no variable or default names it.
    """

    hub: Path
    home: Path
    home_is_implied: bool = False


def cache_dirs(cache_dir: str | Path | None = None) -> CacheDirs:
    """The directories that huggingface_hub would use, or `cache_dir` as the hub cache.

    HF_HUB_CACHE > HUGGINGFACE_HUB_CACHE > HF_HOME/hub, as in huggingface_hub.constants; HF_HOME defaults to
    XDG_CACHE_HOME/huggingface. With an explicit hub cache named `hub` and no HF_HOME, home is its parent.
    """
    environ = os.environ
    default_home = os.path.join(environ.get("XDG_CACHE_HOME") or os.path.join(_home(), ".cache"), "huggingface")
    home = environ.get("HF_HOME") or default_home
    hub = cache_dir or environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    hub_path = expand_user(os.path.expandvars(hub)).absolute()
    home_path = expand_user(os.path.expandvars(home)).absolute()
    if cache_dir and not environ.get("HF_HOME") and hub_path.name == "hub" and hub_path.parent != home_path:
        return CacheDirs(hub_path, hub_path.parent, home_is_implied=True)
    return CacheDirs(hub_path, home_path)


def environment(dirs: CacheDirs) -> dict[str, str]:
    """The variables with which Hugging Face clients find a restored model, and send no request to a hub."""
    return {"HF_HOME": str(dirs.home), "HF_HUB_CACHE": str(dirs.hub), "HF_HUB_OFFLINE": "1"}


def hub_endpoint() -> str:
    """The hub's address as messages may show it: HF_ENDPOINT without user, password, query and fragment."""
    given = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    scheme, _, rest = given.rpartition("://")
    address, *after = re.split(r"[?#]", rest, maxsplit=1)
    # An @ after # or ? may belong to a password with these characters: then the address cannot be told from the
    # secret, and nothing is shown.
    shown = "…" if "@" in "".join(after) else address.rpartition("@")[2]
    return f"{scheme}://{shown}" if scheme else shown


def without_secrets(text: str) -> str:
    """`text`, such as a client's error message, with HF_ENDPOINT and other URLs as messages may show them."""
    given = (os.environ.get("HF_ENDPOINT") or "").rstrip("/")
    text = text.replace(given, hub_endpoint().rstrip("/")) if given else text
    return _USER.sub("://", text)


def _home() -> str:
    return os.path.expanduser("~")
