"""From the user's standard variables to signed requests: what a server really receives."""

from __future__ import annotations

import pytest

from cas.bucket import Kind, open_bucket
from cas.errors import InputError, StoreError
from tests.bucket.recording import Environment, Recorder, asked
from tests.support.buckets import HURRIED


class TestVariables:
    """The variables that every S3 client knows."""

    def test_plain_keys(self, recorder: Recorder) -> None:
        request = asked(recorder)
        assert request.target == "/bucket/prefix/key"  # path style: a custom endpoint has no name per bucket
        assert "Credential=the-key/" in request.headers["authorization"]
        assert request.region == "us-east-1"
        assert "x-amz-security-token" not in request.headers

    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("s3://bucket", "/bucket/key"),
            ("s3://bucket/", "/bucket/key"),
            ("s3://bucket/a/b/", "/bucket/a/b/key"),
            ("s3://bucket//a", "/bucket/a/key"),
        ],
    )
    def test_prefixes(self, recorder: Recorder, url: str, target: str) -> None:
        assert asked(recorder, url).target == target

    @pytest.mark.parametrize(
        "url", ["s3://", "s3:///prefix", "s3://key:secret@bucket/x", "s3://bucket/x?token=secret", "s3://["]
    )
    def test_urls_that_say_more_or_less(self, recorder: Recorder, url: str) -> None:
        with pytest.raises(InputError, match="write s3://bucket/prefix and nothing else") as error:
            open_bucket(url)
        assert "secret" not in str(error.value)

    def test_a_session_token_is_sent(self, recorder: Recorder, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", "the-token")
        assert asked(recorder).headers["x-amz-security-token"] == "the-token"

    def test_the_service_s_own_endpoint_wins(self, recorder: Recorder, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", recorder.url + "/")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert asked(recorder).target == "/bucket/prefix/key"

    @pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_PROFILE"])
    def test_empty_variables_are_as_good_as_none(self, recorder: Recorder, monkeypatch: Environment, name: str) -> None:
        monkeypatch.setenv(name, "")
        assert asked(recorder).region == "us-east-1"

    @pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
    def test_a_region(self, recorder: Recorder, monkeypatch: Environment, name: str) -> None:
        monkeypatch.setenv(name, "eu-west-7")
        assert asked(recorder).region == "eu-west-7"

    @pytest.mark.parametrize(
        ("host", "region"),
        [
            ("s3.us-west-004.backblazeb2.com", "us-west-004"),
            ("s3.eu-central-1.amazonaws.com", "eu-central-1"),
            ("s3-eu-central-1.amazonaws.com", "eu-central-1"),
            ("s3.dualstack.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("s3-fips.us-east-2.amazonaws.com", "us-east-2"),
            ("account.r2.cloudflarestorage.com", "auto"),
            ("s3.ap-northeast-1.wasabisys.com", "ap-northeast-1"),
            ("s3.wasabisys.com", "us-east-1"),
            ("fra1.digitaloceanspaces.com", "fra1"),
            ("s3.my-company.example", "us-east-1"),
            ("minio", "us-east-1"),
        ],
    )
    def test_a_region_in_the_host_s_name(
        self, recorder: Recorder, monkeypatch: Environment, host: str, region: str
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
        monkeypatch.setenv("HTTP_PROXY", recorder.url)
        request = asked(recorder)
        assert request.target == f"http://{host}/bucket/prefix/key"
        assert request.region == region

    def test_backblaze_is_never_asked_for_a_conditional_write(
        self, recorder: Recorder, monkeypatch: Environment
    ) -> None:
        for host, methods in (("s3.us-west-004.backblazeb2.com", ["GET", "PUT"]), ("minio", ["PUT"])):
            recorder.requests.clear()
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
            monkeypatch.setenv("HTTP_PROXY", recorder.url)
            open_bucket("s3://bucket", HURRIED).put("key", b"", Kind.DOCUMENT)
            assert [request.method for request in recorder.requests] == methods
            assert ("if-none-match" in recorder.requests[-1].headers) == (methods == ["PUT"])

    @pytest.mark.parametrize("endpoint", [None, ""])
    def test_without_an_endpoint_it_is_amazon_s(
        self, recorder: Recorder, monkeypatch: Environment, endpoint: str | None
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        if endpoint is not None:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        monkeypatch.setenv("AWS_REGION", "eu-west-7")
        monkeypatch.setenv("HTTPS_PROXY", recorder.url)
        with pytest.raises(StoreError):
            open_bucket("s3://bucket/prefix", HURRIED).get("key", limit=1)
        assert recorder.requests[-1].method == "CONNECT"
        assert recorder.requests[-1].target == "bucket.s3.eu-west-7.amazonaws.com:443"

    def test_hosts_that_need_no_proxy(self, recorder: Recorder, monkeypatch: Environment) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert asked(recorder).target == "/bucket/prefix/key"

    @pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
    @pytest.mark.parametrize("endpoint", ["s3.example.com", "s3.example.com:9000", "ftp://host", "https://"])
    def test_an_endpoint_without_its_scheme(
        self, recorder: Recorder, monkeypatch: Environment, name: str, endpoint: str
    ) -> None:
        monkeypatch.setenv(name, endpoint)
        with pytest.raises(InputError, match=f"{name}: write https:// and the host"):
            open_bucket("s3://bucket")

    @pytest.mark.parametrize(
        "endpoint", ["http://host:99999", "http://host:0", "http://host:x", "http://a b", "http://a\tb/c"]
    )
    def test_an_endpoint_that_cannot_be(self, recorder: Recorder, monkeypatch: Environment, endpoint: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(
            InputError, match=r"AWS_ENDPOINT_URL .*: the host has a blank in it, or a port that is none from 1 to 65535"
        ):
            open_bucket("s3://bucket")

    @pytest.mark.parametrize("url", ["http://user:secret@host/x", "http://host/x?token=secret", "http://host/#secret"])
    def test_addresses_carry_no_secrets(self, recorder: Recorder, monkeypatch: Environment, url: str) -> None:
        with pytest.raises(InputError, match="no user, password or query") as as_store:
            open_bucket(url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(
            InputError, match=r"AWS_ENDPOINT_URL http://host.*no user, password or query"
        ) as as_endpoint:
            open_bucket("s3://bucket")
        assert "secret" not in f"{as_store.value} {as_endpoint.value}"
