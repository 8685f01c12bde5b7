"""What the variables and the profile say about S3, and that the clients listen to nothing else."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointVariantError
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from cas.bucket import Kind, open_bucket
from cas.bucket.s3.settings import read_settings
from cas.errors import AccessDenied, InputError, StoreError
from cas.local.variables import VARIABLES
from tests.bucket.recording import Environment, Recorder, asked, point_at
from tests.support.buckets import HURRIED
from tools.servers.habits import Habits, HabitServer

# What obstore reads of its own accord, each with a value that would change or break a request.
OF_OBSTORE = {
    "AWS_TOKEN": "another-token",
    "AWS_BUCKET": "another-bucket",
    "AWS_ENDPOINT": "http://127.0.0.1:9",
    "AWS_ALLOW_HTTP": "false",
    "AWS_TIMEOUT": "1ns",
    "AWS_PROXY_URL": "http://127.0.0.1:9",
    "AWS_USER_AGENT": "another",
    "AWS_HTTP2_ONLY": "true",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_CONDITIONAL_PUT": "nonsense",
    "AWS_COPY_IF_NOT_EXISTS": "nonsense",
    "AWS_DISABLE_TAGGING": "nonsense",
    "AWS_IMDSV1_FALLBACK": "nonsense",
    "AWS_ROLE_ARN": "another",
    "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
}
OF_BOTO3 = {
    "AWS_RETRY_MODE": "nonsense",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_PROFILE": "none",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "nonsense",
    "AWS_STS_REGIONAL_ENDPOINTS": "nonsense",
    "AWS_DEFAULTS_MODE": "nonsense",
    "AWS_METADATA_SERVICE_TIMEOUT": "soon",
}


@pytest.fixture
def habits(monkeypatch: Environment) -> Habits:
    """The habits of a server, to which the variables point."""
    with HabitServer() as server:
        point_at(server.url, monkeypatch)
        monkeypatch.setattr(Habits, "server", server, raising=False)
        yield server.habits


def server_of(habits: Habits) -> HabitServer:
    """Return the server with these habits."""
    server: HabitServer = habits.server  # type: ignore[attr-defined]
    return server


def headers_of_a_write(habits: Habits) -> dict[str, str]:
    """Write an object and return the headers of the request that succeeded."""
    open_bucket("s3://bucket/p", HURRIED).put("key", b"data", Kind.CHUNK)
    return server_of(habits).requests[-1].headers


class TestOneDoor:
    """Variables count with what they say, without blanks, and only those that we read."""

    def test_empty_ones_are_as_good_as_none(self, recorder: Recorder, monkeypatch: Environment) -> None:
        plain = asked(recorder)
        for blank in ("", " \n"):
            for name in {
                variable.name for variable in VARIABLES if variable.name.startswith("AWS_")
            } | OF_OBSTORE.keys():
                if name not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
                    monkeypatch.setenv(name, blank)
            request = asked(recorder)
            assert (request.target, request.region) == (plain.target, plain.region)
            assert request.headers.keys() == plain.headers.keys()

    def test_what_only_obstore_reads_changes_nothing(self, recorder: Recorder, monkeypatch: Environment) -> None:
        plain = asked(recorder)
        for name, value in OF_OBSTORE.items():
            monkeypatch.setenv(name, value)
        request = asked(recorder)
        assert (request.target, request.headers.keys()) == (plain.target, plain.headers.keys())
        assert request.headers["user-agent"] == plain.headers["user-agent"]
        assert request.headers["x-amz-content-sha256"] == plain.headers["x-amz-content-sha256"]

    def test_what_only_boto3_reads_changes_nothing(self, habits: Habits, monkeypatch: Environment) -> None:
        for name, value in OF_BOTO3.items():
            monkeypatch.setenv(name, value)
        assert open_bucket("s3://bucket", HURRIED).multipart_uploads() == []

    @pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"])
    def test_blanks_and_line_ends_do_not_count(self, recorder: Recorder, monkeypatch: Environment, name: str) -> None:
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        plain = asked(recorder)
        monkeypatch.setenv(name, f"  {plain_value(name, recorder)}\r\n")
        request = asked(recorder)
        assert request.region == plain.region
        assert (
            request.headers["authorization"].partition("Signature")[0]
            == plain.headers["authorization"].partition("Signature")[0]
        )

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("AWS_ACCESS_KEY_ID", "a\nb"),
            ("AWS_SECRET_ACCESS_KEY", "secret part"),
            ("AWS_SESSION_TOKEN", "t\u00f6ken"),
            ("AWS_REGION", "eu west"),
            ("AWS_REQUEST_PAYER", "maybe"),
            ("AWS_SKIP_SIGNATURE", "maybe"),
            ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "maybe"),
            ("AWS_CHECKSUM_ALGORITHM", "MD5"),
            ("AWS_SERVER_SIDE_ENCRYPTION", "rot13"),
            ("AWS_SERVER_SIDE_ENCRYPTION", "sse-c"),
            ("AWS_SSE_CUSTOMER_KEY_BASE64", "c2VjcmV0"),
            ("AWS_SSE_KMS_KEY_ID", "a-key-alone"),
            ("AWS_S3_EXPRESS", "true"),
            ("AWS_USE_FIPS_ENDPOINT", "maybe"),
        ],
    )
    def test_a_bad_value_is_blamed_on_its_variable(
        self, recorder: Recorder, monkeypatch: Environment, name: str, value: str
    ) -> None:
        if name == "AWS_USE_FIPS_ENDPOINT":
            monkeypatch.delenv("AWS_ENDPOINT_URL")
        monkeypatch.setenv(name, value)
        with pytest.raises(InputError, match=name) as error:
            open_bucket("s3://bucket", HURRIED)
        assert not {"secret", "c2VjcmV0", "part"} & set(str(error.value).split())

    def test_a_region_of_no_aws_wants_an_endpoint(self, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AWS_REGION", "auto")
        with pytest.raises(InputError, match=r"AWS_REGION is 'auto'.*no region of AWS.*set AWS_ENDPOINT_URL"):
            read_settings("bucket")


def plain_value(name: str, recorder: Recorder) -> str:
    """What a variable holds in these tests."""
    return {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret", "AWS_REGION": "us-east-1"}.get(
        name, recorder.url
    )


class TestAddresses:
    """Hosts of AWS, and where the bucket's name stands."""

    @pytest.mark.parametrize(("fips", "dualstack"), [(False, False), (True, False), (False, True)])
    def test_every_region_has_botocore_s_host(self, monkeypatch: Environment, fips: bool, dualstack: bool) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", str(fips))
        monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", str(dualstack))
        resolver = EndpointResolver(Loader().load_data("endpoints"))
        regions = [
            region
            for partition in (["aws"] if fips or dualstack else resolver.get_available_partitions())
            for region in resolver.get_available_endpoints("s3", partition)
        ]
        assert fips or dualstack or {"us-east-1", "cn-north-1", "us-gov-west-1", "us-isob-east-1"} < set(regions)
        compared = 0
        for region in regions:
            try:
                variant = {"use_fips_endpoint": fips, "use_dualstack_endpoint": dualstack}
                found = resolver.construct_endpoint("s3", region, **variant)
            except EndpointVariantError:
                continue
            if found is None:
                continue
            monkeypatch.setenv("AWS_REGION", region)
            assert read_settings("bucket").server == f"https://{found['hostname']}"
            compared += 1
        assert compared > 5

    @pytest.mark.parametrize(
        ("bucket", "variable", "target"),
        [
            ("bucket", "", "bucket.s3.eu-west-7.amazonaws.com:443"),
            ("my.bucket", "", "s3.eu-west-7.amazonaws.com:443"),
            ("Old_Bucket", "", "s3.eu-west-7.amazonaws.com:443"),
            ("bucket", "false", "s3.eu-west-7.amazonaws.com:443"),
            ("my.bucket", "true", "my.bucket.s3.eu-west-7.amazonaws.com:443"),
        ],
    )
    def test_at_amazon(
        self, recorder: Recorder, monkeypatch: Environment, bucket: str, variable: str, target: str
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        monkeypatch.setenv("AWS_REGION", "eu-west-7")
        monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", variable)
        monkeypatch.setenv("HTTPS_PROXY", recorder.url)
        with pytest.raises(StoreError):
            open_bucket(f"s3://{bucket}", HURRIED).get("key", limit=1)
        assert recorder.requests[-1].target == target

    @pytest.mark.parametrize("endpoint", ["http://oss.example", "http://bucket.oss.example"])
    def test_at_an_endpoint(self, recorder: Recorder, monkeypatch: Environment, endpoint: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
        monkeypatch.setenv("HTTP_PROXY", recorder.url)
        assert asked(recorder).target == "http://bucket.oss.example/prefix/key"


class TestHabits:
    """Buckets that want something of each request."""

    def test_a_public_bucket(self, habits: Habits, monkeypatch: Environment) -> None:
        habits.anonymous = True
        with pytest.raises(AccessDenied):
            open_bucket("s3://bucket/p", HURRIED).put("key", b"data", Kind.CHUNK)
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        bucket = open_bucket("s3://bucket/p q", HURRIED)
        bucket.put("a b", b"data", Kind.CHUNK)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_SKIP_SIGNATURE")
        monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "1")
        bucket = open_bucket("s3://bucket/p q", HURRIED)
        into = bytearray(4)
        monkeypatch.setattr(bucket, "get", None)  # the direct reader must succeed without obstore
        assert (bucket.get_into("a b", memoryview(into)), into) == (4, b"data")
        assert [entry.key for entry in bucket.list("")] == ["a b"]
        assert bucket.multipart_uploads() == []

    def test_requester_pays(self, habits: Habits, monkeypatch: Environment) -> None:
        habits.payer = True
        with pytest.raises(AccessDenied):
            headers_of_a_write(habits)
        monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
        assert headers_of_a_write(habits)["x-amz-request-payer"] == "requester"
        bucket = open_bucket("s3://bucket/p", HURRIED)
        assert bucket.multipart_uploads() == []
        assert "x-amz-request-payer=requester" in bucket.signed_url("key", 9)

    def test_object_lock(self, habits: Habits) -> None:
        habits.checksums = True
        bucket = open_bucket("s3://bucket/p", HURRIED)
        for key in ("one", "two"):
            assert bucket.put(key, b"data", Kind.CHUNK)
        writes = [seen.headers for seen in server_of(habits).requests if seen.method == "PUT"]
        assert ["x-amz-checksum-sha256" in headers for headers in writes] == [False, True, True]
        assert all("if-none-match" in headers for headers in writes)

    def test_a_checksum_from_the_start(self, habits: Habits, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AWS_CHECKSUM_ALGORITHM", "sha256")
        assert "x-amz-checksum-sha256" in headers_of_a_write(habits)

    @pytest.mark.parametrize("given", ["aws:kms", "sse:kms"])
    def test_encryption(self, habits: Habits, monkeypatch: Environment, given: str) -> None:
        monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", given)
        monkeypatch.setenv("AWS_SSE_KMS_KEY_ID", "arn:aws:kms:eu-west-1:1:key/2")
        monkeypatch.setenv("AWS_SSE_BUCKET_KEY_ENABLED", "true")
        headers = headers_of_a_write(habits)
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "arn:aws:kms:eu-west-1:1:key/2"
        assert headers["x-amz-server-side-encryption-bucket-key-enabled"] == "true"
