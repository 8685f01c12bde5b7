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
    data_home = os.environ.get("XDG_DATA_HOME")
    return os.path.join(data_home or _home("name the store: --store or CAS_STORE") / ".local/share", "model-cas")


def seed_dirs(given: Iterable[str | Path] = ()) -> tuple[Path, ...]:
    """The seeds, which may already hold wanted chunks: `given`, then those of CAS_SEEDS, which os.pathsep separates."""
    named = [*given, *os.environ.get("CAS_SEEDS", "").split(os.pathsep)]
    found = (expand_user(os.path.expandvars(name)).absolute() for name in named if str(name))
    return tuple(dict.fromkeys(found))


def expand_user(path: str | Path) -> Path:
    """`path` with the user's, or another user's, home directory in place of `~` or `~user` at its beginning.

    Raises:
        InputError: this machine knows no user of that name, or the user has no home directory.
    """
    first, *below = Path(path).parts or ("",)
    if first == "~":
        return _home(f"write the whole path instead of {str(path)!a}").joinpath(*below)
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
    XDG_CACHE_HOME/huggingface. With an explicit hub cache named `hub` and no HF_HOME, home is its parent; so is that of
    any hub cache for a user without a home directory.

    Raises:
        InputError: nothing names the hub cache, and the user has no home directory.
    """
    environ = os.environ
    hub = cache_dir or environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    home = environ.get("HF_HOME") or _default_hf_home(needed=not hub)
    home_path = expand_user(os.path.expandvars(home)).absolute() if home else None
    hub_path = expand_user(os.path.expandvars(hub)).absolute() if hub else None
    if hub_path is None:
        assert home_path is not None
        return CacheDirs(home_path / "hub", home_path)
    named_hub = cache_dir and not environ.get("HF_HOME") and hub_path.name == "hub" and hub_path.parent != home_path
    if home_path is None or named_hub:
        return CacheDirs(hub_path, hub_path.parent, home_is_implied=True)
    return CacheDirs(hub_path, home_path)


def _default_hf_home(*, needed: bool) -> str | None:
    """The default of HF_HOME; None, unless it is needed, for a user without a home directory."""
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return os.path.join(caches, "huggingface")
    if not needed and _home_or_none() is None:
        return None
    return str(_home("name the cache: HF_HOME, or --cache-dir") / ".cache" / "huggingface")


def user_cache() -> Path | None:
    """The user's directory for what can be made anew: XDG_CACHE_HOME, else ~/.cache; None where neither is a path.

    The XDG Base Directory Specification says that a relative path counts as none.
    """
    if named := os.environ.get("XDG_CACHE_HOME", "").strip():
        return Path(named) if os.path.isabs(named) else None
    home = _home_or_none()
    return home / ".cache" if home else None


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


def _home(advice: str) -> Path:
    """The user's home directory; raises InputError with this advice for a user without one."""
    if home := _home_or_none():
        return home
    raise InputError(
        f"this user has no home directory (HOME is not set, and no user has the number {os.getuid()} on this machine): "
        f"{advice}"
    )


def _home_or_none() -> Path | None:
    """The directory that HOME or else the machine's list of users names; None in a container that has neither."""
    if given := os.environ.get("HOME", "").strip():
        return Path(given)
    import pwd

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except (KeyError, OSError):
        return None
