"""Where a store may be made: only where nothing else lies, so that a wrong URL mixes nothing."""

from __future__ import annotations

from cas.errors import StoreMissing, Unsupported
from cas.store.layout import FORMAT_KEY, is_ours
from cas.store.store import Store


def refuse_other_things(store: Store, *, but_ours: bool = False) -> None:
    """Raise StoreMissing if there is something else where a store would be made; one request.

    Empty objects, which consoles make for folders, and hidden files of a directory do not count.

    Args:
        store: one that is not there yet.
        but_ours: whether objects under a store's keys do not count either: they are what is left of one.
    """
    try:
        page = next((page for page in store.bucket.pages("") if page), [])
    except Unsupported:
        return  # a web server: the first write is refused with the reason
    for entry in page:
        if entry.size and not entry.key.startswith(".") and not (but_ours and is_ours(entry.key)):
            if store.bucket.exists(FORMAT_KEY):
                return  # somebody else has made the store since this publish looked for it
            raise StoreMissing(
                store.where,
                f"other things are there ({entry.key}): check the URL, or make one beside them with `cas init`",
            )
