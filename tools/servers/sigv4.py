"""Send signed requests to an S3 server with the standard library alone, to set up and check servers."""

import datetime
import hashlib
import hmac
import http.client
from typing import NamedTuple
from urllib.parse import quote, urlsplit


class Answer(NamedTuple):
    """The status and body of an S3 server's answer."""

    status: int
    body: bytes


def signed_headers(method: str, host: str, target: str, access: str, secret: str, body: bytes = b"") -> dict[str, str]:
    """Return the headers that sign a request by AWS Signature Version 4, for region us-east-1.

    The steps are those of "Create a signed AWS API request" in AWS's IAM user guide.

    Args:
        method: the HTTP method.
        host: the value of the Host header.
        target: percent-encoded path, with a query if there is one.
        access: access key id.
        secret: secret access key.
        body: the body of the request.
    """
    path, _, query = target.partition("?")
    time = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": host, "x-amz-content-sha256": hashlib.sha256(body).hexdigest(), "x-amz-date": time}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    query = "&".join(sorted(query.split("&")))
    request = "\n".join((method, path, query, lines, names, headers["x-amz-content-sha256"]))
    scope = f"{time[:8]}/us-east-1/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", time, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    proof = f"Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers | {"authorization": f"AWS4-HMAC-SHA256 {proof}"}


def s3_request(
    method: str, endpoint: str, path: str, access: str, secret: str, body: bytes = b"", timeout: float = 30
) -> Answer:
    """Send one signed request and wait for the answer.

    Args:
        method: GET, PUT, HEAD or DELETE.
        endpoint: `http://host:port` of the server.
        path: `/bucket` or `/bucket/key`, not yet percent-encoded.
        access: access key id.
        secret: secret access key.
        body: the body of the request.
        timeout: seconds that any step on the connection may take.

    Raises:
        OSError: there is no connection, or it broke.
        http.client.HTTPException: the answer is not HTTP.
    """
    host = urlsplit(endpoint).netloc
    path = quote(path)
    connection = http.client.HTTPConnection(host, timeout=timeout)
    try:
        connection.request(method, path, body, signed_headers(method, host, path, access, secret, body))
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()
