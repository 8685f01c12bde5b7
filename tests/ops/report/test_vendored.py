"""The charting library in the package is the file that its authors published."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

VERSION = "4.6.1"
# `npm view chart.js@4.6.1 dist.integrity` names the archive; this file is its package/dist/chart.umd.min.js.
ARCHIVE = "sha512-hJyniucsFmq//EvXYvJ6c6mahPoI3kaxdjVH8awTaJ/fDNWeSqqqArixMJWkWNN6fcYvPU3HneSANFNYtRi61g=="
FILE = "sha512-vMRyUfXe50uUhhDC+fk6UYBA/1VPj+I7Jn+wK0A3+wSVeUgT9OCz/xoF2M8KFvrmUOlb4Anv0FQUw8NafuzYPw=="
LICENSE = "sha512-RZScRlrGhEUvqjuNkBYvaVfjs1eO/tQ/dU7bBKsEFjUGEPxGMdkozY9i+cqolbBJZ2lqE+TOLvJl6hyutyhQMg=="


def integrity(name: str) -> str:
    data = resources.files("cas.ops.report").joinpath("page", name).read_bytes()
    return f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"


def test_the_library_and_its_licence_are_those_of_the_archive() -> None:
    assert integrity("chart.umd.min.js") == FILE
    assert integrity("chart.LICENSE.md") == LICENSE


def test_the_page_names_the_version_that_is_there() -> None:
    text = resources.files("cas.ops.report").joinpath("page", "chart.umd.min.js").read_text("utf-8")
    assert f"Chart.js v{VERSION}" in text
