"""Short texts as input: options of the command line, what servers say, and addresses in a job."""

from __future__ import annotations

import datetime

import click
import obstore.exceptions

from cas.bucket.errors.clients import obstore_error
from cas.cli.fsck import fsck
from cas.cli.gc import gc
from cas.errors import CasError, InputError
from cas.hub import names
from tools.fuzz import refusals
from worker.jobs import reference_url

_EXCEPTIONS = (
    obstore.exceptions.GenericError,
    obstore.exceptions.NotFoundError,
    obstore.exceptions.PermissionDeniedError,
    obstore.exceptions.NotSupportedError,
    obstore.exceptions.AlreadyExistsError,
)


def read_options(data: bytes) -> None:
    """Parse options whose values are times, counts and shares: the lines of the input are their values.

    Raises:
        InputError: click refused one.
    """
    grace, wait, keep, sample, *_ = (*data.decode(errors="surrogateescape").split("\n"), "", "", "", "")
    try:
        given = gc.make_context("gc", ["--grace", grace, "--wait", wait, "--keep", keep]).params
        assert (
            datetime.datetime.now(datetime.UTC) - given["grace"] < datetime.datetime.now(datetime.UTC) + given["wait"]
        )
        share = fsck.make_context("fsck", ["--sample", sample]).params["sample"]
        assert 0 < share <= 1
    except click.UsageError as error:
        raise InputError(error.format_message()) from None


def read_server_error(data: bytes) -> None:
    """Turn what a store's client says into an error of ours, for each operation and class of exception."""
    text = data.decode(errors="replace")
    for operation in ("get", "head", "list", "delete", "put", "create"):
        for kind in _EXCEPTIONS:
            error = obstore_error(kind(text), "a/b", "s3://bucket", operation)
            assert isinstance(error, CasError)
            refusals.check(error)


def read_address(data: bytes) -> None:
    """Check the URL of a job's audio, an IP address, and the names that a hub sends.

    Raises:
        CasError: one is refused.
    """
    text = data.decode(errors="surrogateescape")
    reference_url.is_public(text)
    refusals.read_all(
        (
            lambda: reference_url.check_url(text),
            lambda: names.check_commit(text, text[:40]),
            lambda: names.check_etag(text),
            lambda: names.check_file_path(text),
        )
    )
