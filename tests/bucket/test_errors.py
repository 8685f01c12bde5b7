"""Answers of a server that reach boto3 mean what they mean when they reach obstore."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from obstore.exceptions import GenericError

from cas.bucket.errors.clients import boto3_error, obstore_error
from cas.errors import AccessDenied, BucketMissing, StoreError, Transient, Unreachable, Unsupported


def by_boto3(status: int, code: str) -> StoreError | None:
    response = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto3_error(ClientError(response, "PutObject"), "put key", "s3://bucket", "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", AccessDenied),
        (403, "RequestTimeTooSkewed", AccessDenied),
        (403, "SignatureDoesNotMatch", AccessDenied),
        (400, "ExpiredToken", AccessDenied),
        (404, "NoSuchBucket", BucketMissing),
        (501, "NotImplemented", Unsupported),
        (405, "MethodNotAllowed", Unsupported),
        (503, "SlowDown", Transient),
        (400, "RequestTimeout", Transient),
        (400, "InvalidArgument", StoreError),
    ],
)
def test_one_table_for_both_clients(status: int, code: str, error: type[StoreError]) -> None:
    text = f"status code: {status} x: <Error><Code>{code}</Code><Message>said</Message></Error>"
    one, other = by_boto3(status, code), obstore_error(GenericError(text), "key", "s3://bucket", "put")
    assert isinstance(other, StoreError)
    assert type(one) is type(other) is error
    assert (str(one), one.code) == (str(other), other.code)
    assert one.code == code


@pytest.mark.parametrize("code", ["NoSuchVersion", "NoSuchUpload", "NoSuchKey", "404"])
def test_what_is_gone_is_no_error_of_boto3(code: str) -> None:
    assert by_boto3(404, code) is None


def test_failures_before_any_answer() -> None:
    gone = boto3_error(EndpointConnectionError(endpoint_url="http://x"), "put key", "s3://bucket", "PutObject")
    keyless = boto3_error(NoCredentialsError(), "put key", "s3://bucket", "PutObject")
    assert (type(gone), type(keyless)) == (Unreachable, StoreError)
    assert gone is not None
    assert gone.code == ""
    assert "no answer (EndpointConnectionError): check the network" in str(gone)


def test_a_number_of_an_error_that_no_system_has_is_no_number() -> None:
    error = obstore_error(GenericError("Generic error: x (os error " + "9" * 5000 + ")"), "key", "s3://bucket", "get")
    assert type(error) is Transient
    assert "os error" in str(error)
