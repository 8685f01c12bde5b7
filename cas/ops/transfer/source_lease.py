"""A lease in the store that is copied from, where this key may write one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cas import events
from cas.errors import AccessDenied, CacheError, Unsupported
from cas.store.leases import hold_lease
from cas.store.store import Store


@contextlib.contextmanager
def source_lease(store: Store, purpose: str, listen: events.Listener) -> Iterator[None]:
    """Hold a lease in a source while the context lasts, so that no collector there sweeps what is being read.

    A store that cannot be written to is read without one. What a collector then sweeps is missed at once, and nothing
    incomplete is named; a version that a ref names is never swept.

    Args:
        store: that is read.
        purpose: what the lease is for, to be shown to a collector's user.
        listen: is told that there is no lease, and why.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lease(store, purpose, listen))
        except (AccessDenied, Unsupported, CacheError) as error:
            listen(events.Noted(f"no lease in {store.url}, where a collector may sweep what no ref names ({error})"))
        yield
