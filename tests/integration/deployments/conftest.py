"""Releases are tested on servers that other folders use too."""

import pytest

from support.http_client import Client


@pytest.fixture(scope="module")
def backend(shared_backend: dict[str, str]) -> dict[str, str]:
    return shared_backend


@pytest.fixture(scope="module")
def server(shared_server: Client) -> Client:
    return shared_server
