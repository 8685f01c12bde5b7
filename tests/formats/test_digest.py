"""The written form of digests: `blake3:` and 64 lower-case hex digits, nothing less and nothing more."""

from __future__ import annotations

import pytest

from cas.errors import InputError
from cas.formats.digest import hex_of, named, parse, short

DIGITS = hex_of(b"content")


def test_what_is_written_is_read_again() -> None:
    assert parse(named(DIGITS)) == DIGITS
    # The empty input's digest, from the test vectors of BLAKE3.
    assert hex_of(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_people_see_twelve_digits() -> None:
    commit = "34a10eca0d666b9bd506d727d368d4c8058a6288"
    assert (
        short(f"m@{named(DIGITS)}, {DIGITS} of o/m@{commit}") == f"m@{DIGITS[:12]}, {DIGITS[:12]} of o/m@34a10eca0d66"
    )
    assert short(f"m@{DIGITS[:20]} {DIGITS}0") == f"m@{DIGITS[:20]} {DIGITS}0", "what is no whole digest stays"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blake3:",
        DIGITS,
        f"sha256:{DIGITS}",
        f"BLAKE3:{DIGITS}",
        f"blake3:{DIGITS[:-1]}",
        f"blake3:{DIGITS}0",
        f"blake3:{DIGITS}\n",
        f"blake3: {DIGITS}",
        f" blake3:{DIGITS}",
        f"blake3:blake3:{DIGITS}",
        f"blake3:{DIGITS.upper()}",
        f"blake3:{DIGITS[:-1]}g",
        f"blake3:{DIGITS[:-1]}\u0661",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a digest: write blake3: and 64 lower-case hex digits"):
        parse(text)
