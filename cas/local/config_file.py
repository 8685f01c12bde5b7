"""The user's configuration file: stores by name, and defaults.

    store = "prod"                                  # a name below, a URL or a path
    cache-dir = "/data/hub"
    seeds = ["/data/weights"]
    by = "ann"

    [stores]
    prod = "s3://my-models/cas"
    lab = "~/store"

It is `model-cas/config.toml` in the user's directory for configuration ($XDG_CONFIG_HOME, else ~/.config), beside the
keys that `cas trust` adds, or the file that CAS_CONFIG names. What the call or a variable says goes first. No key and
no secret stands in it: what signs and whose signatures count is configured elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cas import config
from cas.config import NOT_SET, Setting
from cas.errors import InputError

VARIABLE = "CAS_CONFIG"
KEYS = ("store", "stores", "cache-dir", "seeds", "by")
"""What may stand in the file."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LARGEST = 1024 * 1024  # bytes


class ConfigFile(NamedTuple):
    """What a configuration file says.

    Attributes:
        path: the file.
        store: the default store, as it stands there; empty for none.
        stores: name -> URL or path.
        cache_dir: the hub cache; empty for none.
        seeds: folders to take bytes from.
        by: who moves refs; empty for none.
    """

    path: Path
    store: str = ""
    stores: Mapping[str, str] = {}
    cache_dir: str = ""
    seeds: tuple[str, ...] = ()
    by: str = ""


def config_path() -> Setting:
    """Return where the file is, or would be, and what says so; an empty path for a user without a home."""
    if named := config.read(VARIABLE):
        return Setting(str(config.expand_user(named).absolute()), VARIABLE)
    folder = config.user_directory("XDG_CONFIG_HOME", ".config")
    return Setting("" if folder is None else str(folder / "model-cas" / "config.toml"), "default")


def read_config() -> ConfigFile | None:
    """Return what the user's configuration file says; None where there is none.

    Raises:
        InputError: CAS_CONFIG names no file, or the file cannot be read, is not TOML, or has an unknown key or a value
            that cannot be used; the file, and the line or the key, are named.
    """
    found = config_path()
    if not found.value or not (found.source == VARIABLE or os.path.exists(found.value)):
        return None
    import tomllib

    path = Path(found.value)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise InputError(f"{path} is larger than {_LARGEST} bytes: name the file that holds the configuration")
        return _checked(path, tomllib.loads(text.decode()))
    except OSError as error:
        advice = f": unset {VARIABLE}, or name a file" if found.source == VARIABLE else ""
        raise InputError(f"{path} cannot be read: {error.strerror}{advice}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None


def is_store_name(text: str) -> bool:
    """Return whether a text may be a store's name: lower-case letters, digits and dashes; `./x` is a folder."""
    return _NAME.fullmatch(text) is not None


def named_store(text: str, where: str) -> str:
    """Return the URL or path of a store by its name in the file; `text` itself if it is no name.

    Args:
        text: a store as the caller, a variable or the file names it.
        where: what names it, for errors.

    Raises:
        InputError: as for `read_config`; or the file names stores, and none so, and there is no such folder.
    """
    if not is_store_name(text) or (found := read_config()) is None:
        return text
    if text in found.stores:
        return found.stores[text]
    if not found.stores or os.path.exists(text):
        return text
    raise InputError(
        f"{where}: {found.path} names no store {text!a}{_close(text, found.stores)}: its stores are "
        f"{', '.join(sorted(found.stores))}. Write ./{text} for a folder"
    )


def default_store() -> Setting:
    """Return the store that the file chooses, as a URL or path, and the file; empty if it chooses none."""
    if (found := read_config()) is None or not found.store:
        return NOT_SET
    return Setting(named_store(found.store, "store"), str(found.path))


def default_cache_dir() -> Setting:
    """Return the hub cache of the file, and the file; empty if it names none or a variable names one."""
    if config.first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME").value or (found := read_config()) is None:
        return NOT_SET
    return Setting(found.cache_dir, str(found.path)) if found.cache_dir else NOT_SET


def default_seeds() -> tuple[str, ...]:
    """Return the seeds of the file; none if CAS_SEEDS is set."""
    found = None if config.read("CAS_SEEDS") else read_config()
    return found.seeds if found else ()


def default_author() -> str:
    """Return who moves refs, as the file says; empty if it does not."""
    found = read_config()
    return found.by if found else ""


def _checked(path: Path, given: dict[str, Any]) -> ConfigFile:
    for key in given:
        if key not in KEYS:
            raise InputError(f"{path}: {key!a} is no key{_close(key, KEYS)}: the keys are {', '.join(KEYS)}")
    stores = given.get("stores", {})
    if not isinstance(stores, dict):
        raise InputError(f"{path}: stores is no table: write [stores] on a line, and a name = URL on each below")
    for name in stores:
        if not is_store_name(name):
            raise InputError(f"{path}: {name!a} below [stores] is no name: write lower-case letters, digits and dashes")
    seeds = given.get("seeds", [])
    if not isinstance(seeds, list):
        raise InputError(f"{path}: seeds is no list: write seeds = ['/folder']")
    return ConfigFile(
        path,
        store=_place(path, "store", given["store"]) if "store" in given else "",
        stores={name: _place(path, f"stores.{name}", value) for name, value in stores.items()},
        cache_dir=_place(path, "cache-dir", given["cache-dir"]) if "cache-dir" in given else "",
        seeds=tuple(_place(path, "seeds", each) for each in seeds),
        by=_text(path, "by", given["by"]) if "by" in given else "",
    )


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{path}: {key} is {value!a}: write a text in quotes, or leave the key out")
    return value.strip()


def _place(path: Path, key: str, value: object) -> str:
    """Return a URL, an absolute path or, for `store`, a name; a relative path would mean another folder elsewhere."""
    text = _text(path, key, value)
    is_name = key == "store" and is_store_name(text)
    if is_name or "://" in text or text.startswith(("/", "~", "$", "file:")):
        return text
    raise InputError(f"{path}: {key} is {text!a}: write a URL, or a path that begins with / or ~")


def _close(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""
