"""What errors may show of the texts of S3 clients and operating systems: found by patterns, without any secret.

The patterns are texts: re compiles and keeps them at the first error.
"""

from __future__ import annotations

import re


def first_group(pattern: str, text: str) -> str:
    """Return the first group of the first match of `pattern` in `text`; empty where there is none."""
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def os_reason(text: str) -> str:
    """Return the operating system's words in a text of obstore's, or else the text as errors may show it."""
    return first_group(r": ([^:\n]+) \(os error \d+\)", text) or without_query(text)


def without_query(text: str) -> str:
    """Return the first line without any query string, which may be a signature: what an error may show."""
    first = text.split("\n", 1)[0]
    return re.sub(r"^Generic \w+ error: |\?\S*", "", first)[:300]
