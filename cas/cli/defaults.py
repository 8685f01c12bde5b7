"""Values of options that neither the call nor a variable gives, from the user's configuration file."""

from __future__ import annotations

from collections.abc import Callable


class FileDefaults(dict[str, object]):
    """The defaults of each command, in the form that click asks for them; the file is read when one is needed.

    The group of commands looks for its own options with `in`, and finds none; a command's are asked for by `get`.
    """

    def get(self, key: str, default: object = None) -> object:
        """Return the defaults of a command."""
        return _OfOneCommand()


class _OfOneCommand(dict[str, object]):
    """Each value is read once: click asks for it several times."""

    def __contains__(self, key: object) -> bool:
        return key in _READERS and bool(self[str(key)])

    def __missing__(self, key: str) -> object:
        return self.setdefault(key, _READERS[key]())


def _cache_dir() -> object:
    from cas.local.config_file import default_cache_dir

    return default_cache_dir().value


def _seeds() -> object:
    from cas.local.config_file import default_seeds

    return default_seeds()


def _author() -> object:
    from cas.local.config_file import default_author

    return default_author()


_READERS: dict[str, Callable[[], object]] = {"cache_dir": _cache_dir, "seeds": _seeds, "by": _author}
