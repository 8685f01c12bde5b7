"""Change documents as documents: bytes that are changed at random are seldom JSON any more.

A mutator takes bytes and a random generator, and returns other bytes of about the same form; None when the bytes are
not of its form, and must be changed as bytes. JSON is parsed with repeated keys, so that they can be changed again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, TypeAlias

Mutator: TypeAlias = Callable[[bytes, random.Random], bytes | None]


class Raw(str):
    """The text of a JSON value, written as it stands; Python could not make some of them."""

    __slots__ = ()


class Pairs(list[Any]):
    """An object as a list of [key, value], which may name a key twice."""


_VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 0.5, -0.0, 1e308, 2**31, 2**53 - 1, 2**53, 2**63, 2**64, 10**20,
    Raw("1" + "0" * 400), Raw("1" + "0" * 5000), Raw("1e999"), Raw("-1e999"), Raw("NaN"), Raw("01"), Raw('"\\ud800"'),
    Raw('"\\ud83d\\ude00"'), Raw("[" * 3000), Raw("[" * 3000 + "]" * 3000), Raw('{"a":' * 1500 + "0" + "}" * 1500),
    "", "a", "main", "a" * 40, "a" * 64, "blake3:" + "a" * 64, "blake3:" + "A" * 64, "a" * 97, "a" * 5000,
    "../x", "/etc/passwd", "a/../b", "torch/.x", "torch/a", "C:x", "a\\b", "con", "x ", "\x00", "\n", "\u2028",
    "\u202e", "\u00e9", "e\u0301", "\u017f", "2026-01-01T00:00:00Z", "https://[", "https://a/b", "vocos", [], Pairs(),
)  # fmt: skip


def json_document(data: bytes, rng: random.Random) -> bytes | None:
    """Change one to four places of a JSON document."""
    try:
        root = [json.loads(data, object_pairs_hook=lambda pairs: Pairs([key, value] for key, value in pairs))]
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _change(root, rng)
        return _rendered(root[0]).encode(errors="surrogatepass")
    except (ValueError, RecursionError):  # no JSON, or nested too deep for this program
        return None


def safetensors(data: bytes, rng: random.Random) -> bytes | None:
    """Change the header of a safetensors file, with a length that fits it."""
    size = int.from_bytes(data[:8], "little")
    changed = json_document(data[8 : 8 + size], rng) if size < len(data) else None
    return None if changed is None else len(changed).to_bytes(8, "little") + changed + data[8 + size :]


def after_nul(data: bytes, rng: random.Random) -> bytes | None:
    """Change the JSON document after the first NUL."""
    before, nul, document = data.partition(b"\0")
    changed = json_document(document, rng)
    return None if changed is None else before + nul + changed


def _change(root: list[Any], rng: random.Random) -> None:
    slots = list(_slots(root))
    holder, at = rng.choice(slots)
    match rng.randrange(8):
        case 0 | 1 | 2:
            holder[at] = rng.choice(_VALUES)
        case 3:
            other, where = rng.choice(slots)
            holder[at] = _copied(other[where])
        case 4 if holder is not root and not (len(holder) == 2 and at == 1):
            del holder[at]
        case 5 if holder is not root:
            holder.insert(at, _copied(holder[at]))
        case 6 if isinstance(holder[at], int):
            holder[at] += rng.choice((-1, 1, 8, -8, 2**32, holder[at]))
        case 6 if isinstance(holder[at], str) and not isinstance(holder[at], Raw):
            text, cut = holder[at], rng.randrange(len(holder[at]) + 1)
            holder[at] = (
                text[:cut] + rng.choice(("", ".", "/", "\n", "\0", "A", "\u0301", "\U0001f600")) + text[cut + 1 :]
            )
        case _:
            holder[at] = [holder[at]] if rng.random() < 0.5 else Pairs([[rng.choice(("", "a", "version")), holder[at]]])


def _slots(container: list[Any]) -> list[tuple[list[Any], int]]:
    """Every place of a value or a key below a container, as the list that holds it and its index there."""
    found = [(container, index) for index in range(len(container))]
    for item in container:
        if isinstance(item, list):
            found += _slots(item)
    return found


def _copied(value: Any) -> Any:
    return type(value)(_copied(item) for item in value) if isinstance(value, list) else value


def _rendered(value: Any) -> str:
    if isinstance(value, Raw):
        return value
    if isinstance(value, Pairs):
        pairs = (pair if isinstance(pair, list) and len(pair) == 2 else ["", pair] for pair in value)
        return "{" + ",".join(f"{_key(key)}:{_rendered(item)}" for key, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_rendered, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**4000:
        return "1" + "0" * 4000  # Python refuses to write out more digits
    return json.dumps(value, ensure_ascii=False)


def _key(key: Any) -> str:
    return _rendered(key) if isinstance(key, str) else '"a"'
