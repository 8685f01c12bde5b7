"""What storing bytes costs a month, by the price lists of providers."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

READ = "2026-11-28"
"""When the prices were gathered: Cloudflare's and RunPod's from their documentation, the others as third parties quote
the providers' pages."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """One price list.

    Attributes:
        provider: whose.
        storage: dollars for a GB (10^9 bytes) a month.
        egress: dollars for a GB that leaves to the internet; None where it is not told.
        source: where the provider publishes it.
        read: the day on which it was gathered; empty for a price that the caller gave.
        applies: whether this is the price of the store of the report.
    """

    provider: str
    storage: float
    egress: float | None
    source: str
    read: str = READ
    applies: bool = False


# First steps of each price list: what the first terabytes cost in the provider's cheapest region of its kind.
PRICES = (
    Price(provider="Amazon S3 Standard", storage=0.023, egress=0.09, source="https://aws.amazon.com/s3/pricing/"),
    Price(
        provider="Google Cloud Storage Standard",
        storage=0.02,
        egress=0.12,
        source="https://cloud.google.com/storage/pricing",
    ),
    Price(provider="Cloudflare R2", storage=0.015, egress=0.0, source="https://developers.cloudflare.com/r2/pricing/"),
    Price(
        provider="Backblaze B2",
        storage=0.006,
        egress=0.01,
        source="https://www.backblaze.com/cloud-storage/pricing",
    ),
    Price(provider="RunPod network volume", storage=0.07, egress=0.0, source="https://docs.runpod.io/pods/storage"),
)
"""Known price lists."""

_HOSTS = {
    "Amazon S3 Standard": r"(.+\.)?amazonaws\.com(\.cn)?",
    "Google Cloud Storage Standard": r"(.+\.)?storage\.googleapis\.com",
    "Cloudflare R2": r".+\.r2\.cloudflarestorage\.com",
    "Backblaze B2": r".+\.backblazeb2\.com",
    "RunPod network volume": r"s3api-.+\.runpod\.io",
}


def price_list(where: str, price: float | None = None) -> tuple[Price, ...]:
    """Return the known price lists; that of a store is marked, or the caller's own price stands first.

    Args:
        where: the store with its endpoint, as `Store.where` tells it.
        price: dollars for a GB a month that the caller pays; None where only the lists are known.
    """
    if price is not None:
        own = Price(provider="your price", storage=price, egress=None, source="--price", read="", applies=True)
        return (own, *PRICES)
    ours = _provider(where)
    return tuple(msgspec.structs.replace(known, applies=known.provider == ours) for known in PRICES)


def _provider(where: str) -> str:
    """The provider of a store; empty for an unknown endpoint, and for a directory."""
    if where.startswith("gs://"):
        return "Google Cloud Storage Standard"
    if not where.startswith(("s3://", "http://", "https://")):
        return ""
    endpoint = re.search(r"https?://\S+", where)
    host = urlsplit(endpoint[0].rstrip("),")).hostname or "" if endpoint else ""
    if not host:
        return "Amazon S3 Standard"  # without an endpoint, s3:// is AWS
    return next((name for name, pattern in _HOSTS.items() if re.fullmatch(pattern, host)), "")
