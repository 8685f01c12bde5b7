"""Which addresses a job may have fetched from: public ones, so that no job reaches into the worker's own network."""

from __future__ import annotations

import ipaddress

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What the ipaddress module of Python 3.11 calls global, or not private, and a worker must not reach all the same.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # carriers' own; Alibaba's metadata server
        "168.63.129.16/32",  # Azure's own services for a machine
        "192.0.0.0/24",  # Oracle's metadata server
        "192.88.99.0/24",  # relays to IPv6, given up
        "2001::/23",  # Teredo and other tunnels, which carry an IPv4 address
        "2002::/16",  # 6to4, likewise
        "3fff::/20",  # documentation
    )
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether `address`, an IP address, is one of a host on the internet; False for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    plain = _unwrapped(parsed)
    if isinstance(plain, ipaddress.IPv6Address) and plain not in _GLOBAL_UNICAST:
        return False
    if any(plain.version == network.version and plain in network for network in _NOT_PUBLIC):
        return False
    return plain.is_global and not (plain.is_multicast or plain.is_reserved or plain.is_unspecified)


def _unwrapped(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address leads to, where it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
