"""Fetching audio from an address that a stranger chose, from a real TLS server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.jobs.web import AUDIO, Web, answer, redirect, trickle
from worker.errors import BadRequest
from worker.jobs.audio_input import MAX_AUDIO
from worker.jobs.reference_url import MAX_URL, Limits, check_url, fetch, is_public

SECRET = "?signature=hush"
NOT_PUBLIC = """
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.8.8.8 168.63.129.16 169.254.169.254 169.254.170.2 172.16.0.1
172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 3fff::1 5f00::1
fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 nonsense
"""


def get(url: str, context: ssl.SSLContext, **limits: float) -> bytes:
    """Fetches although the server is on this machine."""
    return fetch(url, Limits(**limits), allowed=lambda _: True, context=context)  # type: ignore[arg-type]


def refused(url: str, context: ssl.SSLContext, **limits: float) -> str:
    """The error of a fetch that fails, which shows no query."""
    with pytest.raises(BadRequest) as error:
        get(url, context, **limits)
    assert "hush" not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


class TestAnswers:
    """What servers send."""

    def test_a_file_arrives_whole(self, web: Web, trusting: ssl.SSLContext) -> None:
        assert get(f"{web.url}/audio{SECRET}", trusting) == AUDIO
        assert web.asked == [f"/audio{SECRET}"]

    def test_a_file_in_chunks_arrives_whole(self, web: Web, trusting: ssl.SSLContext) -> None:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(AUDIO), AUDIO)
        web.answers["/chunked"] = answer(body, Transfer_Encoding="chunked")
        assert get(f"{web.url}/chunked", trusting) == AUDIO

    def test_redirects_are_followed(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.answers |= {"/a": redirect("/b"), "/b": redirect(f"{web.url}/audio{SECRET}")}
        assert get(f"{web.url}/a", trusting) == AUDIO

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    def test_each_status_of_a_redirect_is_followed(self, web: Web, trusting: ssl.SSLContext, status: str) -> None:
        web.answers["/a"] = answer(b"", status, Location="/audio")
        assert get(f"{web.url}/a", trusting) == AUDIO

    def test_redirects_end(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.answers["/a"] = redirect(f"/a{SECRET}")
        assert "redirected more than 3 times" in refused(f"{web.url}/a", trusting)
        assert len(web.asked) == 4

    def test_a_redirect_to_no_url_is_refused(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.answers["/a"] = redirect("https://[::1")
        assert "not a URL" in refused(f"{web.url}/a", trusting)

    def test_a_redirect_to_plain_http_is_refused(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.answers["/a"] = redirect("http://localhost/hush")
        assert "only https" in refused(f"{web.url}/a", trusting)

    @pytest.mark.parametrize("status", ["404 Not Found", "500 Error", "204 No Content", "206 Partial Content"])
    def test_any_other_status_is_named(self, web: Web, trusting: ssl.SSLContext, status: str) -> None:
        web.answers["/a"] = answer(b"", status)
        assert f"the server answered {status[:3]}" in refused(f"{web.url}/a{SECRET}", trusting)

    def test_a_large_file_is_not_begun(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.answers["/a"] = trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        assert "more than the 4999 bytes" in refused(f"{web.url}/a", trusting, size=4999)

    def test_a_large_file_that_hides_its_size_is_cut(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.answers["/a"] = trickle(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(200_000))
        assert "more than the 5000 bytes" in refused(f"{web.url}/a", trusting, size=5000)

    def test_a_file_of_just_the_limit_is_taken(self, web: Web, trusting: ssl.SSLContext) -> None:
        assert get(f"{web.url}/audio", trusting, size=len(AUDIO)) == AUDIO

    def test_a_file_that_breaks_off_is_refused(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.answers["/a"] = answer(AUDIO, Content_Length=str(len(AUDIO) + 7))
        assert "broke off 7 bytes before its end" in refused(f"{web.url}/a", trusting)

    def test_a_compressed_body_is_refused(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.answers["/a"] = answer(AUDIO, Content_Encoding="gzip")
        assert "compressed" in refused(f"{web.url}/a", trusting)

    @pytest.mark.parametrize(
        "beginning",
        [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
        ids=["status", "header", "after continue", "body"],
    )
    def test_bytes_that_trickle_are_cut_at_the_deadline(
        self, web: Web, trusting: ssl.SSLContext, beginning: bytes
    ) -> None:
        web.answers["/a"] = trickle(beginning)
        assert "took more than 0.4 s" in refused(f"{web.url}/a", trusting, seconds=0.4)

    def test_all_redirects_together_have_one_deadline(
        self, web: Web, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock, passed = time.monotonic, [0.0]
        monkeypatch.setattr(time, "monotonic", lambda: clock() + passed[0])

        def redirect_late(wire: Any, stopping: threading.Event) -> None:
            passed[0] += 1500
            redirect("/a")(wire, stopping)

        web.answers["/a"] = redirect_late
        assert "took more than 2000 s" in refused(f"{web.url}/a", trusting, seconds=2000)
        assert len(web.asked) == 2

    def test_a_server_that_never_agrees_on_a_key_is_cut_at_the_deadline(self, trusting: ssl.SSLContext) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://localhost:{silent.getsockname()[1]}/audio"
            assert "took more than 0.2 s" in refused(url, trusting, seconds=0.2)

    def test_what_a_download_may_take_unless_somebody_says_otherwise(self) -> None:
        assert Limits() == (MAX_AUDIO, 20.0, 3)

    @pytest.mark.parametrize("data", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"])
    def test_no_http_at_all_is_refused(self, web: Web, trusting: ssl.SSLContext, data: bytes) -> None:
        web.answers["/a"] = lambda wire, _: wire.write(data) and None
        assert "connection failed" in refused(f"{web.url}/a", trusting)

    def test_an_unknown_authority_is_refused(self, web: Web) -> None:
        assert "certificate is not valid" in refused(f"{web.url}/audio", ssl.create_default_context())
        assert not web.asked

    def test_a_certificate_for_another_name_is_refused(self, web: Web, trusting: ssl.SSLContext) -> None:
        url = web.url.replace("localhost", "127.0.0.1")
        assert "certificate is not valid" in refused(f"{url}/audio", trusting)

    def test_a_closed_port_is_refused(self, web: Web, trusting: ssl.SSLContext) -> None:
        web.stop()
        assert "connection failed" in refused(f"{web.url}/audio", trusting)

    def test_a_name_without_address_is_refused(self, trusting: ssl.SSLContext) -> None:
        assert "cannot be resolved" in refused(f"https://{'a' * 70}.invalid/", trusting)


class TestAddresses:
    """Which hosts are asked at all."""

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"])
    def test_this_machine_is_never_asked(self, web: Web, trusting: ssl.SSLContext, host: str) -> None:
        with pytest.raises(BadRequest, match=r"not a public one|cannot be resolved"):
            fetch(f"{web.url.replace('localhost', host)}/audio", context=trusting)
        assert not web.asked

    def test_each_redirect_is_judged(self, web: Web, trusting: ssl.SSLContext) -> None:
        judged: list[str] = []

        def only_once(address: str) -> bool:
            judged.append(address)
            return len(judged) == 1

        web.answers["/a"] = redirect("https://127.0.0.1/metadata")
        with pytest.raises(BadRequest, match=r"from 127\.0\.0\.1: its address is not a public one"):
            fetch(f"{web.url}/a", allowed=lambda address: "::" in address or only_once(address), context=trusting)

    @pytest.mark.parametrize("address", NOT_PUBLIC.split())
    def test_these_are_not_public(self, address: str) -> None:
        assert not is_public(address)

    @pytest.mark.parametrize(
        "address",
        ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
    )
    def test_these_are_public(self, address: str) -> None:
        assert is_public(address)


class TestTexts:
    """What a URL's text tells."""

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("http://host/a", "only https"),
            ("ftp://host/a", "only https"),
            ("file:///etc/passwd", "only https"),
            ("https://user:hush@host/a", "user or password"),
            ("https://@host/a", "user or password"),
            ("https:///a", "without a host"),
            ("https://host:port/a", "not a URL"),
            ("https://host:99999/a", "not a URL"),
            ("https://[::1/a", "not a URL"),
            ("https://host/a b", "not a URL"),
            ("https://host/\r\nX: y", "not a URL"),
            ("https://höst/", "not a URL"),
            ("https://host\\@other/", "not a URL"),
            ("https://host/" + "a" * (MAX_URL + 1 - len("https://host/")), "a URL of 2049 characters: at most 2048"),
        ],
    )
    def test_these_are_refused(self, url: str, reason: str) -> None:
        with pytest.raises(BadRequest, match=reason) as error:
            check_url(url)
        assert "hush" not in str(error.value)

    def test_a_url_of_just_the_limit_is_taken(self) -> None:
        assert check_url("https://host/".ljust(MAX_URL, "a")).hostname == "host"

    @given(st.one_of(st.text(), st.text().map("https://".__add__)))
    def test_any_text_is_taken_or_refused(self, url: str) -> None:
        with contextlib.suppress(BadRequest):
            assert check_url(url).scheme == "https"
