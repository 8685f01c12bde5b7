"""Dask as it is, reading a store in processes that it spawns."""

from __future__ import annotations

import dask.bag
import fsspec

from cas.ops.read.filesystem import CasFileSystem
from cas.store.store import Store
from tests.support.models import put_model

FILES = {f"data/{part}.csv": b"".join(b"%d,%d\n" % (part, line) for line in range(100)) for part in range(3)}


def test_its_processes_read_the_version_that_the_job_began_with(directory_store: Store) -> None:
    put_model(directory_store, {"org/model": FILES}, chunk=256)
    fsspec.register_implementation("cas", CasFileSystem, clobber=True)  # as the entry point does where it is installed
    lines = dask.bag.read_text("cas://m:latest/data/*.csv", storage_options={"store": directory_store.url})
    put_model(directory_store, {"org/model": dict.fromkeys(FILES, b"new\n")})
    found = lines.map(str.strip).compute(scheduler="processes", num_workers=1)
    assert "\n".join(found) + "\n" == b"".join(FILES.values()).decode()
