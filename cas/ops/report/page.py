"""The page: one HTML file that holds its figures, its style and its programs, and asks the network for nothing.

What receipts say reaches the page as JSON inside of it, in which no character can end the element that it stands in.
The page's program puts it into the document as text. A policy in the page lets the browser run only the programs that
were put there, by their hashes, and load nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

import msgspec

from cas.ops.report.figures import Report

_SCRIPTS = ("chart.umd.min.js", "look.js", "charts.js", "page.js")
_encode = msgspec.json.Encoder().encode


def page(report: Report) -> bytes:
    """Return the page of a report: HTML, UTF-8."""
    scripts = [_read(name) for name in _SCRIPTS]
    style = _read("page.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(_hash(script) for script in scripts)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    parts = {
        "POLICY": policy,
        "STYLE": style,
        "FIGURES": _data(report),
        "SCRIPTS": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    before, *rest = _read("page.html").split("<!--")
    found = [before]
    for part in rest:  # one pass: what is put in is not looked at again
        name, _, after = part.partition("-->")
        found += [parts[name], after]
    return "".join(found).encode()


def _data(report: Report) -> str:
    """The figures as JSON that no HTML parser sees as anything but text."""
    text = _encode(report).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _read(name: str) -> str:
    return resources.files("cas.ops.report").joinpath("page", name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
