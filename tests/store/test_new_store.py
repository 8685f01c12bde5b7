"""The store that a first publish makes, while others do the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cas.bucket import Entry
from cas.store.new_store import refuse_other_things
from cas.store.store import Store, open_store


def test_a_store_that_somebody_makes_meanwhile_is_no_other_thing(
    directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = directory_store.bucket.pages

    def made_meanwhile(prefix: str) -> Iterator[list[Entry]]:
        open_store(directory_store.url).create()
        return pages(prefix)

    monkeypatch.setattr(directory_store.bucket, "pages", made_meanwhile)
    refuse_other_things(directory_store)
