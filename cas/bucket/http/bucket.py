"""A store behind https, read only: any valid answer of a web server is read, and a web page is taken for no object.

A private one gets the header in CAS_HTTP_HEADER, or the user and password that ~/.netrc has for its host. Neither goes
to another host: a store with either follows no redirect there.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from cas import config
from cas.bucket.object_store import ObjectBucket
from cas.errors import AccessDenied, AnswerUnusable, InputError, StoreError
from cas.formats.digest import Buffer

if TYPE_CHECKING:
    from cas.bucket.body import Body
    from cas.bucket.http.reader import DirectReader

HEADER = "CAS_HTTP_HEADER"
"""The variable that holds a header for a private store, as `Authorization: Bearer …`."""

_PAGES = (b"<!doctype html", b"<html")


class Login(NamedTuple):
    """What a private store is shown.

    Attributes:
        headers: to send with each request; empty for none.
        source: where they come from, in words.
    """

    headers: dict[str, str]
    source: str


class WebBucket(ObjectBucket):
    """The objects that a web server shows."""

    def __init__(self, *arguments: Any, login: Login, **options: Any) -> None:
        """Make no request yet; login: what the server is shown. The rest is that of ObjectBucket."""
        super().__init__(*arguments, writable=False, **options)
        self._login = login

    def get(self, key: str, limit: int) -> Buffer:
        try:
            data = super().get(key, limit)
        except AnswerUnusable:
            # obstore wants a length; a body may also come in chunks, or end with the connection.
            into = memoryview(bytearray(limit))
            reader = self._direct_reader()
            size = reader.read(key, into) if reader else None
            if size is None:
                raise
            data = into[:size]
        except AccessDenied as error:
            raise self._denied(key, error) from error
        self._must_be_no_page(key, data)
        return data

    def get_into(self, key: str, into: memoryview, body: Body | None = None) -> int:
        size = super().get_into(key, into, body)
        self._must_be_no_page(key, into[:size])
        return size

    def _direct_reader(self) -> DirectReader | None:
        reader = super()._direct_reader()
        if reader:
            reader.headers = self._login.headers
        return reader

    def _must_be_no_page(self, key: str, data: Buffer) -> None:
        if bytes(memoryview(data)[:64]).lstrip().lower().startswith(_PAGES):
            raise StoreError(
                f"get {key} in {self.url}: a web page came instead of the object: check the URL, and whether a login "
                "or a proxy stands before it"
            )

    def _denied(self, key: str, error: AccessDenied) -> AccessDenied:
        host = urlsplit(self.url).hostname
        advice = (
            f"{self._login.source} does not open it: check it"
            if self._login.headers
            else f"the store is private: set {HEADER} (`Authorization: Bearer …`), or an entry for {host} in ~/.netrc"
        )
        denied = AccessDenied(f"get {key} in {self.url}: access denied ({error.code}): {advice}")
        denied.code = error.code
        return denied


def read_login(url: str) -> Login:
    """Return what the store at `url` is shown: the header in CAS_HTTP_HEADER, or what the netrc file has for its host.

    Raises:
        InputError: the variable holds no header, or the file cannot be read.
    """
    if given := config.read(HEADER):
        name, colon, value = given.partition(":")
        if not colon or not name.strip() or not value.strip() or not given.isprintable():
            raise InputError(f"{HEADER} holds no header: write it as `Authorization: Bearer …`, in one line")
        return Login({name.strip(): value.strip()}, HEADER)
    path = config.read("NETRC") or os.path.join(config.read("HOME"), ".netrc")
    if not os.path.isabs(path) or not os.path.isfile(path):  # unlike Path.is_file, this raises for no path
        return Login({}, "")
    import netrc

    try:
        entry = netrc.netrc(path).hosts.get(urlsplit(url).hostname or "")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from None
    except netrc.NetrcParseError as error:
        raise InputError(f"{path} is no netrc file ({error.msg}, line {error.lineno}): mend it") from None
    if not entry:
        return Login({}, "")
    user_and_password = base64.b64encode(f"{entry[0]}:{entry[2]}".encode()).decode()
    return Login({"Authorization": f"Basic {user_and_password}"}, path)
