"""Open a store to read from it: through a cache where CAS_READ_URL names one, and in a forked process, too."""

from __future__ import annotations

from cas import config, events
from cas.bucket.event_loop import is_forked
from cas.store.choice import store_url
from cas.store.store import Store, open_store


def open_to_read(store: Store | str | None = None, listen: events.Listener = events.ignore) -> Store:
    """Return the store that a caller means, for reading; makes no request.

    Args:
        store: an open store, a URL, or None for the default.
        listen: is told what CAS_READ_URL does.

    Raises:
        InputError: the URL has an unknown scheme, or CAS_READ_URL is no https URL.
        AccessDenied: credentials are missing.
    """
    if is_forked():
        from cas.bucket.forked import ForkedBucket

        # CAS_READ_URL would take a second program. What it spares is the bucket's traffic, not a wrong byte.
        forked = Store(ForkedBucket(store.url if isinstance(store, Store) else store_url(store)))
        if isinstance(store, Store):
            forked.sign_as(store)
        else:
            forked.configure_signing()
        return forked
    store = open_store(store)
    if read_url := config.read("CAS_READ_URL"):
        from cas.store.cdn import through_cdn

        store = through_cdn(store, read_url, listen)
    return store
