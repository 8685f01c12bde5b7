"""What a store's URL or path means, and what is said about one that is rather a mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas.bucket.urls import is_url, parse
from cas.errors import InputError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, which is returned."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///a/b", "/a/b"),
        ("file:/a/b", "/a/b"),
        ("file://localhost/a/b", "/a/b"),
        ("FILE://LOCALHOST/a", "/a"),
        ("file:///a%20b/%25/caf%C3%A9", "/a b/%/café"),
        ("file:///a/café b", "/a/café b"),
        ("file:///caf%E9", os.fsdecode(b"/caf\xe9")),
        ("file:///a%3Fb%23c", "/a?b#c"),
        ("file:///", "/"),
        ("/a%20b", "/a%20b"),
        ("/a?b#c", "/a?b#c"),
        ("  /a/b\r\n", "/a/b"),
    ],
)
def test_file_urls_follow_rfc_8089_and_paths_are_taken_as_they_are(url: str, path: str) -> None:
    assert parse(url) == ("file", path, "", "")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("file://host/a", "host/a without file:// for a relative one"),
        ("file://~/a", "~/a without file://"),
        ("file:a/b", "write file:///path, or the path alone"),
        ("file:", "the path of a URL is absolute"),
        ("file:///a?b", "write ? in a path as %3F"),
        ("file:///a#b", "write # in a path as %23"),
        ("file:///100%", "write a percent sign as %25"),
        ("file:///a%zz", "write a percent sign as %25"),
        ("file:///a%2Fb", "%2F cannot be decoded"),
        ("file:///a%00b", "%00 cannot be decoded"),
    ],
)
def test_a_file_url_that_names_no_file(url: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        parse(url)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://b", ("s3", "s3://b", "b", "")),
        ("S3://b/cas/", ("s3", "s3://b/cas", "b", "cas")),
        (" s3://b/a b/c\n", ("s3", "s3://b/a b/c", "b", "a b/c")),
        ("s3://tenant:b/cas", ("s3", "s3://tenant:b/cas", "tenant:b", "cas")),  # Ceph's way to name a tenant
        ("AZ://con/cas/", ("az", "az://con/cas", "con", "cas")),
        ("gs://b", ("gs", "gs://b", "b", "")),
        ("HTTPS://host/x/", ("https", "https://host/x", "", "")),
        ("http://[::1]:80/x", ("http", "http://[::1]:80/x", "", "")),
        ("memory:", ("memory", "memory:", "", "")),
    ],
)
def test_other_schemes(url: str, expected: tuple[str, ...]) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3:/b/cas", "is no URL: write s3://b/cas"),
        ("s3:b/cas", "is no URL: write s3://b/cas"),
        ("s3//b/cas", "is no URL: write s3://b/cas"),
        ("S3:/b", "is no URL: write s3://b"),
        ("https:/host/x", "is no URL: write https://host/x"),
        ("https//host/x", "is no URL: write https://host/x"),
        ("file//a/b", "is no URL: write file:///a/b"),
        ("my-bucket/cas", "write s3://my-bucket/cas for a bucket, or ./my-bucket/cas for a new folder"),
        ("my-bucket/", "write s3://my-bucket/ for a bucket"),
        ("s3.example.com/b/cas", "https://s3.example.com/b/cas for a web server"),
        ("s3a://b/cas", "S3-compatible storage is s3://bucket/prefix"),
        ("az:/con/cas", "is no URL: write az://con/cas"),
        ("gs//b/cas", "is no URL: write gs://b/cas"),
        ("abfss://con/cas", "Azure Blob Storage is az://container/prefix"),
        ("gcs://b/cas", "Google Cloud Storage is gs://bucket/prefix"),
        ("az://", "write az://container/prefix and nothing else"),
        ("gs://b?x", "write gs://bucket/prefix and nothing else"),
        ("az://host:10000/con", "AZURE_STORAGE_ENDPOINT=https://host:10000"),
        ("s3://127.0.0.1:9000/b/cas", "AWS_ENDPOINT_URL=https://127.0.0.1:9000"),
        ("s3://my bucket/cas", "no bucket's name contains ' '"),
        ("s3://b/../cas", "a prefix cannot contain /../"),
        ("s3://b/./cas", "a prefix cannot contain /./"),
        ("hf://org/name", "use s3://, https://, file:// or a path, az:// or gs://"),
        ("", "is empty"),
        (" \n", "is empty"),
    ],
)
def test_a_mistake_is_told_with_what_was_likely_meant(url: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        parse(url)
    assert told in str(error.value)


@pytest.mark.parametrize("url", ["s3:/key:secret@b/cas", "key:secret@b/cas", "file://key:secret@b/cas", "s3//b?secret"])
def test_what_may_be_a_password_is_not_shown(url: str) -> None:
    with pytest.raises(InputError) as error:
        parse(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("path", ["name", "./name/x", "../name/x", "a:b"])
def test_a_path_that_can_be_nothing_else(here: Path, path: str) -> None:
    assert parse(path).url == str((here / path).absolute())


def test_a_relative_path_counts_where_its_folder_exists(here: Path) -> None:
    (here / "my-bucket").mkdir()
    assert parse("my-bucket/cas").url == str(here / "my-bucket/cas")
    (here / "s3:/b").mkdir(parents=True)
    assert parse("s3:/b").url == str(here / "s3:/b")


def test_a_home(tmp_path: Path) -> None:
    assert parse("~/store").url == str(tmp_path / "home/store")


def test_what_is_meant_as_a_url(here: Path) -> None:
    assert [
        text for text in ("s3://b", "file:/a", "s3:/b", "s3//b", "https:/h", "/a", "a/b", "hf") if is_url(text)
    ] == [
        "s3://b",
        "file:/a",
        "s3:/b",
        "s3//b",
        "https:/h",
    ]
    (here / "s3:").mkdir()
    assert not is_url("s3:")
