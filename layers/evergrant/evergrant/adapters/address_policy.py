"""Refuse private addresses: metadata services, private networks and everything else that is not public.

The adapter for HTTP checks each address just before it connects, so that no answer of a name server gets past.
"""

from __future__ import annotations

import ipaddress

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: Not public by IANA's registries of special-purpose addresses (2026-10), and public to some releases of Python.
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"),
        *("::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32"),
        *("3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10"),
    )
)


def require_public_address(address: str, *, plain: bool, allow_loopback: bool) -> None:
    """Refuse an address that is not public, and a public one in plain HTTP.

    Parameters
    ----------
    plain
        Whether plain HTTP is about to be spoken, which only loopback may be.
    allow_loopback
        The local run's switch: loopback addresses pass.

    Raises
    ------
    PermissionError
    """
    ip = _find_destination(ipaddress.ip_address(address.partition("%")[0]))
    is_special = any(ip.version == network.version and ip in network for network in _SPECIAL)
    public = ip.is_global and not (ip.is_multicast or ip.is_reserved or is_special)
    if public and not plain:
        return
    if not (allow_loopback and ip.is_loopback):
        raise PermissionError(
            "only loopback is spoken to in plain http"
            if public
            else "the host resolves to an address that is not public"
        )


def _find_destination(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return where an address leads: the IPv4 one inside a mapped, 6to4 or NAT64 one (RFC 4291, RFC 3056, RFC 6052)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
