"""Whether a hub can be reached: one request without a token, by the standard library."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from typing import NamedTuple

from cas import config

_TIMEOUT = 5.0  # seconds


class Answer(NamedTuple):
    """What came of one request.

    Attributes:
        status: the HTTP status; 0 where nothing answered.
        seconds: until the answer's headers.
        problem: why nothing answered; empty where something did.
    """

    status: int
    seconds: float
    problem: str = ""


def first_answer(url: str) -> Answer:
    """Send one HEAD request, through the proxies that the variables name, and return what came of it.

    Args:
        url: of the hub; a user and password in it are not sent.
    """
    begun = time.monotonic()
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "model-cas"})  # noqa: S310 (a hub's URL)
    handlers = [urllib.request.HTTPSHandler(context=context)] if (context := _context()) else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT) as answer:
            return Answer(answer.status, time.monotonic() - begun)
    except urllib.error.HTTPError as error:
        error.close()
        return Answer(error.code, time.monotonic() - begun)
    except urllib.error.URLError as error:
        return Answer(0, 0.0, _words(error.reason))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Answer(0, 0.0, _words(error))


def _context() -> ssl.SSLContext | None:
    """The certificates that huggingface_hub's clients believe in beside the system's; None for the default."""
    bundle = config.first("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE").value
    if not bundle:
        return None
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError:
        return None


def _words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {_TIMEOUT:g} s"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
