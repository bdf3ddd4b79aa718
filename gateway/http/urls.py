"""Addresses in a request: providers fetch some of them, and none may reach inside somebody's network.

Nothing is fetched and no name is resolved here, so a public name that leads inside is the provider's to refuse. What is
judged is the address as written, in every spelling that URL parsers take for an internal one.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.http.errors import ApiError, invalid

_INSIDE: Final = (".localhost", ".local", ".localdomain", ".internal", ".intranet", ".lan", ".home.arpa", ".corp")
# Parsers strip or reinterpret these (WHATWG reads a backslash as a slash), so that two of them read two hosts.
_AMBIGUOUS: Final = re.compile(r"[\x00-\x20\x7f\\]")
_NUMBER: Final = re.compile(r"(?:\d+|0x[0-9a-f]*)")
_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_SCHEME: Final = re.compile(
    r"\s*[A-Za-z][A-Za-z0-9+.\-]{1,31}:(?:/|\\)|\s*(?:file|ftp|gopher|jar|https?):", re.IGNORECASE
)
_SCHEME_WITHIN: Final = 64
_LONGEST: Final = 8192


def check_url(name: str, url: str) -> None:
    """Refuse a URL that is neither data nor public http(s); raises ApiError 400 about the field ``name``."""
    if url[:5].lower() == "data:":
        return
    host = _host(url)
    if host is None:
        msg = f"{name} must be a data: URL or a public http(s) URL"
        raise invalid(msg, name, "forbidden_url")
    if _is_inside(host):
        raise _inside(name)


def check_media(name: str, part: Mapping[str, Any]) -> None:
    """Refuse every address of a content part that is no text, wherever it stands in it."""
    waiting: list[tuple[str, Any]] = [(f"{name}.{key}", value) for key, value in part.items() if key != "type"]
    while waiting:
        where, value = waiting.pop()
        if type(value) is str:
            if _SCHEME.match(value, 0, _SCHEME_WITHIN) is not None and value[:5].lower() != "data:":
                check_url(where, value)
        elif type(value) is dict:
            waiting += [(f"{where}.{key[:64]}", inner) for key, inner in value.items()]
        elif type(value) is list:
            waiting += [(f"{where}[{index}]", inner) for index, inner in enumerate(value)]


def _inside(name: str) -> ApiError:
    return invalid(f"{name} points at a local network", name, "forbidden_url")


def _host(url: str) -> str | None:
    """Return the host of a plain http(s) URL in lower case, None for anything else."""
    if len(url) > _LONGEST or _AMBIGUOUS.search(url) is not None:
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises for what is no port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc or "%" in host:
        return None
    # As IDNA maps a name before it is looked up: other widths of letters and digits, other full stops.
    plain = unicodedata.normalize("NFKC", host).replace("\u3002", ".").rstrip(".").lower()
    return plain or None


def _is_inside(host: str) -> bool:
    if host == "localhost" or host.endswith(_INSIDE):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # 127.1, 0x7f000001, 2130706433, 0177.0.0.1: numbers that resolvers take for an address. A name without a
        # dot is one of somebody's own network.
        return "." not in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
    return not _is_public(address)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    teredo = address.teredo[1] if address.teredo is not None else None
    carried = address.ipv4_mapped or address.sixtofour or teredo
    if carried is None and any(address in network for network in _NAT64):
        carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if carried is not None:
        return _is_public(carried)
    return address.is_global and not address.is_multicast and not address.is_reserved
