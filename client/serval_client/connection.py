"""Where a server is, and the key for it."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from typing import Any, NamedTuple
from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8080"


class Address(NamedTuple):
    """The address of a server, and a key or an access token that its `repr` does not show; both None: neither is
    sent."""

    url: str
    key: str | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    @classmethod
    def of(cls, url: str | None, key: str | None, token: str | None = None) -> Address:
        """As given, or of the environment: `SERVAL_URL`, or else the default port of this machine; `SERVAL_KEY`, unless
        there is an access token.

        Raises ValueError for what is no address of a server, and without a key.
        """
        url = given("url", "SERVAL_URL", url)
        if token is not None:
            return cls(base_url(url or DEFAULT_URL), token=token)
        key = given("key", "SERVAL_KEY", key)
        if key is None:
            raise ValueError("no API key: give `key`, or set `SERVAL_KEY`")
        if not re.fullmatch(r"[!-~]+", key.strip()):
            raise ValueError("the API key has spaces or letters that no key has")
        return cls(base_url(url or DEFAULT_URL), key.strip())

    def options(self, timeout_seconds: float) -> dict[str, Any]:
        """Arguments of `httpx2.Client` and `httpx2.AsyncClient`."""
        from serval_client import __version__

        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        sent = {"X-API-Key": self.key, "Authorization": self.token and f"Bearer {self.token}"}
        headers = {name: value for name, value in sent.items() if value is not None}
        return {
            "base_url": self.url,
            "headers": {**headers, "User-Agent": f"serval-client/{__version__} python/{python}"},
            "timeout": timeout_seconds,
            # A proxy of the environment would get the key of a server that nobody else can reach.
            "trust_env": not is_loopback(urlsplit(self.url).hostname or ""),
        }


def given(argument: str, variable: str, value: str | None) -> str | None:
    """An argument, or else a variable of the environment. Raises ValueError for one that is set to nothing."""
    if value is None:
        argument, value = variable, os.environ.get(variable)
    if value is not None and not value.strip():
        raise ValueError(f"`{argument}` is empty")
    return value


def base_url(url: str) -> str:
    """An address without a trailing slash; without a scheme it is HTTP. Raises ValueError for what is none."""
    complete = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(complete)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if is_address and (parts.username or parts.password):
        raise ValueError("`url` holds a username or password; a server takes a key")
    if not is_address or parts.query or parts.fragment:
        raise ValueError(f"`{url}` is no address of a server: expected one such as {DEFAULT_URL}")
    return complete.rstrip("/")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
