"""Addresses of clients: what of them stands for one client."""

from ipaddress import IPv6Address, ip_address


def subject_of(address: str) -> str:
    """Return what the attempts of a client are counted by: an IPv4 address, the /64 of an IPv6 address; other text as it is."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> 64 << 64)) + "/64"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
