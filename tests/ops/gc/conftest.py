"""Fixtures of the collector's tests: stores to publish to and to collect in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from cas.bucket import open_bucket
from cas.store.store import Store
from tests.support.collecting import Models
from tools.servers.seaweed import SeaweedFS


@pytest.fixture
def models(store: Store, tmp_path: Path) -> Models:
    """A store in a directory, then one on a real S3 server."""
    return Models(store, tmp_path)


@pytest.fixture
def local(directory_store: Store, tmp_path: Path) -> Models:
    """A store in a directory only."""
    return Models(directory_store, tmp_path)


@pytest.fixture
def client(seaweed: SeaweedFS) -> Any:
    """A plain S3 client of the real server."""
    access, secret = seaweed.credentials()
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    return boto3.client(
        "s3",
        endpoint_url=seaweed.endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=config,
    )


@pytest.fixture
def versioned(s3_url: str, client: Any, tmp_path: Path) -> Models:
    """A store in a bucket that keeps versions, as every bucket of Backblaze B2 does."""
    bucket = s3_url.split("/")[2]
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return Models(Store(open_bucket(s3_url)), tmp_path)
