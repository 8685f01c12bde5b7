"""The signed store, made once, and as it was made at the beginning of each test."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.attacks.shop import Intruder, Reader, Shop
from tools.servers.seaweed import SeaweedFS


@pytest.fixture(scope="session")
def _shop(seaweed: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(seaweed, f"test-{secrets.token_hex(6)}", tmp_path_factory.mktemp("keys"))


@pytest.fixture
def shop(_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The store, with the variables of its operator, who signs and trusts the release key."""
    _shop.reset()
    for name, value in _shop.variables(signs=True).items():
        monkeypatch.setenv(name, value)
    return _shop


@pytest.fixture
def intruder(shop: Shop) -> Intruder:
    """Somebody with a publisher's key to the bucket, which may not delete."""
    return shop.intruder()


@pytest.fixture
def reader(shop: Shop, tmp_path: Path) -> Reader:
    """Somebody who restores with a reader's key."""
    return Reader(shop, tmp_path)
