"""Reference audio from a URL that a stranger chose: https, public hosts only, limited in size and time.

No job may reach into the worker's own network. A host name is resolved once, all its addresses are checked, and the
connection goes to a checked address: so a name cannot mean one host when it is checked and another when it is used.
Each redirect is checked likewise.
"""

from __future__ import annotations

import http.client
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from worker.errors import BadRequest
from worker.jobs.audio_input import MAX_AUDIO

MAX_URL = 2048

FIELD = "ref_audio"
"""What every error of `fetch` calls the recording; it begins with that."""

_REDIRECTS = (301, 302, 303, 307, 308)
_BLOCK = 64 * 1024

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Networks that a worker must not reach, although Python 3.11's ipaddress calls them global, or not private.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # internal networks of carriers; Alibaba's metadata server
        "168.63.129.16/32",  # Azure's services for its machines
        "192.0.0.0/24",  # Oracle's metadata server
        "192.88.99.0/24",  # relays to IPv6, given up
        "2001::/23",  # Teredo and other tunnels, which carry an IPv4 address
        "2002::/16",  # 6to4, likewise
        "3fff::/20",  # documentation
    )
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Limits(NamedTuple):
    """What a download may take.

    Attributes:
        size: bytes of the audio.
        seconds: time from the first lookup to the last byte, redirects included.
        redirects: how many of them are followed.
    """

    size: int = MAX_AUDIO
    seconds: float = 20.0
    redirects: int = 3


def is_public(address: str) -> bool:
    """Whether an IP address is that of a host on the internet; False for text that is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    inner = _unwrapped(parsed)
    if isinstance(inner, ipaddress.IPv6Address) and inner not in _GLOBAL_UNICAST:
        return False
    if any(inner.version == network.version and inner in network for network in _NOT_PUBLIC):
        return False
    return inner.is_global and not (inner.is_multicast or inner.is_reserved or inner.is_unspecified)


def check_url(url: str, what: str = FIELD) -> SplitResult:
    """Return the components of `url` after a check of its text.

    Args:
        url: where the audio is.
        what: what to call it in the error.

    Raises:
        BadRequest: it is no https URL, or holds a user or password.
    """
    if len(url) > MAX_URL:
        raise BadRequest(f"{what} is a URL of {len(url)} characters: at most {MAX_URL} are allowed")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise BadRequest(f"{what} is not a URL: percent-encode what is not ASCII, blanks and backslashes")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise BadRequest(f"{what} is not a URL: write https://host/path") from None
    if parts.scheme != "https":
        raise BadRequest(f"{what} is a URL that does not begin with https://: only https is allowed")
    if parts.username is not None or parts.password is not None:
        raise BadRequest(f"{what} has a user or password in its URL: sign the URL instead, or send the audio in base64")
    if not parts.hostname:
        raise BadRequest(f"{what} is a URL without a host: write https://host/path")
    return parts


def fetch(
    url: str,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    *,
    allowed: Callable[[str], bool] = is_public,
    context: ssl.SSLContext | None = None,
) -> bytes:
    """Return the bytes at `url`.

    Args:
        url: where the audio is.
        limits: what the download may take.
        allowed: whether an IP address may be connected to.
        context: which certificates to trust; by default those of the system's authorities.

    Raises:
        BadRequest: the download failed, for whatever reason; the message shows no more of a URL than its host.
    """
    deadline = time.monotonic() + limits.seconds
    what = FIELD
    context = context or ssl.create_default_context()
    context.sslsocket_class = _Timed
    for _ in range(limits.redirects + 1):
        parts = check_url(url, what)
        try:
            found = _request(parts, deadline, limits.size, allowed, context)
        except TimeoutError:
            raise BadRequest(
                f"{FIELD} from {parts.hostname} took more than {limits.seconds:g} s and was cut: use a faster server"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise _failed(parts, f"its certificate is not valid ({error.verify_message})") from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise _failed(parts, f"the connection failed ({type(error).__name__})") from None
        if isinstance(found, bytes):
            return found
        what = f"{FIELD} at {parts.hostname} redirects to what"
        try:
            url = urljoin(url, found.to)
        except ValueError:
            raise BadRequest(f"{what} is not a URL: send the final URL") from None
    raise BadRequest(f"{FIELD} is redirected more than {limits.redirects} times: send the final URL")


class _Redirect(NamedTuple):
    to: str


def _request(
    parts: SplitResult, deadline: float, limit: int, allowed: Callable[[str], bool], context: ssl.SSLContext
) -> bytes | _Redirect:
    host, port = str(parts.hostname), parts.port or 443
    connection = http.client.HTTPSConnection(host, port, context=context)
    connection.sock = _connected(parts, host, port, deadline, allowed, context)
    try:
        headers = {"Accept": "audio/*, */*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "model-cas"}
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", headers=headers)
        with connection.getresponse() as answer:
            if answer.status in _REDIRECTS:
                return _Redirect(answer.headers.get("Location", ""))
            if answer.status != http.client.OK:
                raise _failed(parts, f"the server answered {answer.status}")
            return _body(parts, answer, limit)
    finally:
        connection.close()


def _body(parts: SplitResult, answer: http.client.HTTPResponse, limit: int) -> bytes:
    too_large = f"it has more than the {limit} bytes that are allowed"
    if answer.length is not None and answer.length > limit:
        raise _failed(parts, too_large)
    if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise _failed(parts, "the server compressed it, which was not asked for")
    body = bytearray()
    while block := answer.read(_BLOCK):
        body += block
        if len(body) > limit:
            raise _failed(parts, too_large)
    if answer.length:  # what is left of the announced length
        raise _failed(parts, f"it broke off {answer.length} bytes before its end")
    return bytes(body)


def _connected(
    parts: SplitResult,
    host: str,
    port: int,
    deadline: float,
    allowed: Callable[[str], bool],
    context: ssl.SSLContext,
) -> ssl.SSLSocket:
    """Connect to the first address of the host that accepts a connection, once all of them are checked."""
    addresses = _resolved(parts, host, port, deadline)
    if not addresses or not all(allowed(address) for address in addresses):
        raise _failed(parts, "its address is not a public one")
    for last in addresses:
        try:
            unsecured = socket.create_connection((last, port), timeout=_left(deadline))
        except TimeoutError:
            raise
        except OSError:
            if last == addresses[-1]:
                raise
            continue
        try:
            secured = context.wrap_socket(unsecured, server_hostname=host, do_handshake_on_connect=False)
        except BaseException:
            unsecured.close()
            raise
        assert isinstance(secured, _Timed)
        try:
            secured.deadline = deadline
            secured.settimeout(_left(deadline))
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        return secured
    raise AssertionError("unreachable: there is an address")


def _resolved(parts: SplitResult, host: str, port: int, deadline: float) -> list[str]:
    """Return the host's addresses. A thread waits for the system's resolver, which takes no deadline."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))
        except Exception as error:  # not OSError alone: a name can be too long to encode
            answers.put(error)

    threading.Thread(target=resolve, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=_left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise _failed(parts, "its name cannot be resolved") from None
    return answer


def _unwrapped(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address leads to, where it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class _Timed(ssl.SSLSocket):
    """A connection on which every read ends at one deadline, however slowly the bytes arrive.

    Attributes:
        deadline: seconds of the monotonic clock.
    """

    deadline: float

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left(self.deadline))
        return super().recv_into(*args, **kwargs)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _failed(parts: SplitResult, reason: str) -> BadRequest:
    return BadRequest(f"{FIELD} cannot be fetched from {parts.hostname}: {reason}; check the URL, or send base64")
