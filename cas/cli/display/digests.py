"""Digests as people read them."""

from __future__ import annotations

import re

SHORT_DIGEST = 12
"""Hex digits of a digest or commit that people see."""

_WHOLE = r"(?:blake3:)?(?<![0-9a-f])([0-9a-f]{64}|[0-9a-f]{40})(?![0-9a-f])"


def short(text: str, *, whole: bool = False) -> str:
    """A text whose digests and commits are cut to 12 digits, without `blake3:`; what stands around them stays.

    Args:
        text: digests, whole.
        whole: cut nothing, as with --no-trunc.
    """
    return text if whole else re.sub(_WHOLE, lambda match: match[1][:SHORT_DIGEST], text)
