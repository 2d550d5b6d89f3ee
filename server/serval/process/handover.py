"""What the parent hands to the serving process, and what it hears from it."""

from pathlib import Path

import msgspec

from serval.settings.settings import Settings

BEAT = b"."
"""The event loop of the serving process is alive."""
READY = b"+"
"""Requests are answered from now on."""

ALREADY_TOLD = 3
"""Exit code of a serving process that could not start and has said why on stderr."""


class ServeConfig(msgspec.Struct, frozen=True):
    """All that a serving process needs to know; it comes through its standard input, where no other process can read
    the secrets in it."""

    settings: Settings
    parent: int
    public_descriptor: int
    """Listening socket of the API."""
    metrics_descriptor: int
    """Listening socket of operators' metrics."""
    control_descriptor: int
    """Beats go up through it; its end tells that the parent has gone."""
    is_first: bool
    """The first serving process of this parent: it brings the embedded database up to date."""


def encode(orders: ServeConfig) -> bytes:
    return msgspec.json.encode(orders, enc_hook=str)


def decode(data: bytes) -> ServeConfig:
    return msgspec.json.decode(data, type=ServeConfig, dec_hook=lambda _, text: Path(text))
