"""What the answers of stores and mirrors mean for the sources that come after them."""

from __future__ import annotations

import pytest

from cas.errors import CasError, NotFoundError, StoreError
from worker.boot.messages import Source
from worker.boot.settings import Settings
from worker.model.failed_sources import FailedSources
from worker.model.recorder import Recorder

WITH_STORE, MIRROR_ONLY = {"S3_BUCKET": "voices"}, {"CAS_MIRRORS": "https://mirror/x"}


@pytest.mark.parametrize(
    ("environ", "kind", "error", "resolved", "refused"),
    [
        (WITH_STORE, "store", NotFoundError("no"), False, True),
        (WITH_STORE, "mirror", NotFoundError("no"), False, False),
        (MIRROR_ONLY, "mirror", NotFoundError("no"), False, True),
        (WITH_STORE, "store", NotFoundError("no"), True, False),
        (WITH_STORE, "store", StoreError("away"), False, False),
    ],
)
def test_who_may_say_that_there_is_no_such_version(
    environ: dict[str, str], kind: Source, error: CasError, resolved: bool, refused: bool
) -> None:
    failed = FailedSources(Settings.read(environ), Recorder())
    failed.add(kind, "https://somewhere", error, None, resolved=resolved)
    assert failed.refused is refused
