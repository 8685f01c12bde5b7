"""The one door of settings: how each variable is read, and what follows from those that name places.

Every variable is read without the blanks and line ends around it, and an empty one counts as not set: files of
variables, secrets of CI systems and `-e X=` leave both. A value that cannot be used is an InputError that names it.
Every variable stands in cas/local/variables.py; what those of S3 decide is found in cas/bucket/s3/settings.py. The
RunPod worker has more, which it reads the same way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cas.errors import InputError

_DAY = 86_400
_USER = re.compile(r"://[^\s'\"<>]*@")
_CLEANED = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_TRUE, _FALSE = ("1", "true", "yes", "on", "y", "t"), ("0", "false", "no", "off", "n", "f")


class Setting(NamedTuple):
    """A value, and where it comes from.

    Attributes:
        value: what counts; empty for none.
        source: the variable, the file and profile, or the default that gave it, in words.
    """

    value: str
    source: str


REGISTER, VIEW = (".locks", ".cas"), ("view", "hub")  # ours in a hub cache; the cache of one version in that

NOT_SET = Setting("", "")
"""The setting that nothing gives."""


def read(name: str, environ: Mapping[str, str] | None = None) -> str:
    """The value of a variable without blanks and line ends around it; empty when it is not set.

    Args:
        name: the variable.
        environ: the variables; those of this process when None.
    """
    return (os.environ if environ is None else environ).get(name, "").strip()


def is_set(name: str) -> bool:
    """Whether a variable is there, be it empty."""
    return name in os.environ


def first(*names: str, environ: Mapping[str, str] | None = None) -> Setting:
    """The first of these variables that is set, as a setting; an empty one when none is."""
    found = ((read(name, environ), name) for name in names)
    return next((Setting(value, name) for value, name in found if value), NOT_SET)


def switch(name: str, environ: Mapping[str, str] | None = None, *, also: tuple[str, ...] = ()) -> bool | None:
    """Whether a variable switches something on; None when it is not set.

    Args:
        name: the variable.
        environ: the variables; those of this process when None.
        also: further words that mean true.

    Raises:
        InputError: it is no word for true or false.
    """
    return truth(name, given, also) if (given := read(name, environ)) else None


def truth(where: str, given: str, also: tuple[str, ...] = ()) -> bool:
    """Whether a text, which stands at `where`, means true; raises InputError for one that means neither.

    Args:
        where: named in the error.
        given: the text.
        also: further words that mean true.
    """
    if (word := given.lower()) not in (*_TRUE, *_FALSE, *also):
        raise InputError(f"{where} is {given!a}: write true or false")
    return word in (*_TRUE, *also)


_inherited: dict[str, str] = {}


def clean_environment() -> None:
    """Take blanks and line ends off this process's variables that libraries read, and remove the empty ones.

    For the start of a program, before it has threads: libraries read variables as they stand (obstore fails at an empty
    AWS_ variable, huggingface_hub sends a token with its line end). `inherited` returns what stood there.
    """
    for name, given in list(os.environ.items()):
        # An empty http_proxy is left: it takes HTTP_PROXY back.
        if name.startswith(("AWS_", "HF_")) or name in _CLEANED or (given and name.upper() in _PROXIES):
            value = given.strip()
            if value != given or not value:
                _inherited[name] = given
                del os.environ[name]
                if value:
                    os.environ[name] = value


def drop_blank(*names: str) -> None:
    """Remove these variables from this process's environment where they are set and hold nothing but blanks.

    obstore reads them beside what it is given, and takes an empty one for a value. (unsetenv(3) frees nothing that
    another thread may be reading.)
    """
    for name in names:
        if name in os.environ and not read(name):
            del os.environ[name]


def inherited() -> dict[str, str]:
    """The environment as this process got it: what `clean_environment` changed is as it was."""
    return {**os.environ, **_inherited}


def proxy_variables() -> list[str]:
    """The variables that name a proxy, or hosts that need none."""
    return sorted(name for name in os.environ if name.upper() in _PROXIES)


def ca_bundle() -> Setting:
    """The file of a private certificate authority that a variable names; SSL_CERT_FILE is read by TLS libraries."""
    found = first("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    return NOT_SET if found.value and found.value == read("SSL_CERT_FILE") else found


def bucket_name(environ: Mapping[str, str] | None = None) -> str:
    """The bucket that S3_BUCKET names, as `b` or `s3://b`; empty when it is not set.

    Raises:
        InputError: it is more than a name, or no name.
    """
    given = read("S3_BUCKET", environ)
    name = re.sub(r"^[sS]3:/*", "", given).rstrip("/")
    if given and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", name):
        advice = "write the bucket's name alone"
        if re.fullmatch(r"[A-Za-z0-9._-]+/[^@?#:\s]+", name):
            advice += f", or CAS_STORE=s3://{name} for a store below a prefix"
        # An entry with more than a name and a path is not shown: it may hold a secret.
        shown = f" is {given!a}" if re.fullmatch(r"[^@?#]{1,200}", given) else ""
        raise InputError(f"S3_BUCKET{shown}: {advice}")
    return name


def seed_dirs(given: Iterable[str | Path] = ()) -> tuple[Path, ...]:
    """The seeds, which may already hold wanted chunks: `given`, then those of CAS_SEEDS, which os.pathsep separates."""
    named = [*given, *read("CAS_SEEDS").split(os.pathsep)]
    found = (expand_user(os.path.expandvars(name)).absolute() for name in named if str(name))
    return tuple(dict.fromkeys(found))


def expand_user(path: str | Path) -> Path:
    """`path` with the user's, or another user's, home directory in place of `~` or `~user` at its beginning.

    Raises:
        InputError: this machine knows no user of that name, or the user has no home directory.
    """
    first, *below = Path(path).parts or ("",)
    if first == "~":
        return home_directory(f"write the whole path instead of {str(path)!a}").joinpath(*below)
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
    given = read("CAS_LEASE_SECONDS") or "600"
    if not re.fullmatch(r"[0-9]{1,5}", given) or not 2 <= int(given) <= _DAY:
        raise InputError(f"CAS_LEASE_SECONDS is {given!a}: write a number of seconds from 2 to {_DAY}")
    return int(given)


def receipt_wanted() -> bool:
    """Whether CAS_RECEIPT turns receipts on: any value but empty, 0, false, no or off does."""
    return read("CAS_RECEIPT").lower() not in ("", "0", "false", "no", "off")


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
    any hub cache for a user without a home directory. A version's view, which `cas run` names, stands for its cache.

    Raises:
        InputError: nothing names the hub cache, and the user has no home directory.
    """
    hub = cache_dir or read("HF_HUB_CACHE") or read("HUGGINGFACE_HUB_CACHE")
    home = read("HF_HOME") or _default_hf_home(needed=not hub)
    home_path = expand_user(os.path.expandvars(home)).absolute() if home else None
    hub_path = _hub_of(expand_user(os.path.expandvars(hub)).absolute()) if hub else None
    if hub_path is None:
        assert home_path is not None
        return CacheDirs(home_path / "hub", home_path)
    named_hub = cache_dir and not read("HF_HOME") and hub_path.name == "hub" and hub_path.parent != home_path
    if home_path is None or named_hub:
        return CacheDirs(hub_path, hub_path.parent, home_is_implied=True)
    return CacheDirs(hub_path, home_path)


def _hub_of(path: Path) -> Path:
    """The hub cache that a view belongs to; any other path itself."""
    cache, parts = path.parts[:-5], path.parts[-5:]
    return Path(*cache) if cache and parts[:2] == REGISTER and parts[3:] == VIEW else path


def _default_hf_home(*, needed: bool) -> str | None:
    """The default of HF_HOME; None, unless it is needed, for a user without a home directory."""
    if caches := read("XDG_CACHE_HOME"):
        return os.path.join(caches, "huggingface")
    if not needed and _home_or_none() is None:
        return None
    return str(home_directory("name the cache: HF_HOME, or --cache-dir") / ".cache" / "huggingface")


def user_directory(variable: str, default: str) -> Path | None:
    """The user's directory that `variable` names, else `default` below the home; None where neither is a path.

    A relative path counts as none (XDG Base Directory Specification): trusted keys at the default count all the same.
    """
    if os.path.isabs(named := read(variable)):
        return Path(named)
    home = _home_or_none()
    return home / default if home else None


def hub_endpoint() -> str:
    """The hub's address as messages may show it: HF_ENDPOINT without user, password, query and fragment."""
    given = read("HF_ENDPOINT") or "https://huggingface.co"
    scheme, _, rest = given.rpartition("://")
    address, *after = re.split(r"[?#]", rest, maxsplit=1)
    # An @ after # or ? may belong to a password with these characters: then the address cannot be told from the
    # secret, and nothing is shown.
    shown = "…" if "@" in "".join(after) else address.rpartition("@")[2]
    return f"{scheme}://{shown}" if scheme else shown


def without_secrets(text: str) -> str:
    """`text`, such as a client's error message, with HF_ENDPOINT and other URLs as messages may show them."""
    given = read("HF_ENDPOINT").rstrip("/")
    text = text.replace(given, hub_endpoint().rstrip("/")) if given else text
    return _USER.sub("://", text)


def home_directory(advice: str) -> Path:
    """The user's home directory; raises InputError with this advice for a user without one."""
    if home := _home_or_none():
        return home
    raise InputError(
        f"this user has no home directory (HOME is not set, and no user has the number {os.getuid()} on this machine): "
        f"{advice}"
    )


def _home_or_none() -> Path | None:
    """The directory that HOME or else the machine's list of users names; None in a container that has neither."""
    if given := read("HOME"):
        return Path(given)
    import pwd

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except (KeyError, OSError):
        return None
