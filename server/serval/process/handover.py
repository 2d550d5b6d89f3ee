"""What the parent passes to the serving process, and the heartbeats that come back."""

from pathlib import Path

import msgspec

from serval.settings.settings import Settings

BEAT = b"."
"""The event loop of the serving process is alive."""
READY = b"+"
"""Requests are answered from now on."""

ALREADY_REPORTED = 3
"""Exit code of a serving process that could not start and has reported why on stderr."""


class ServeConfig(msgspec.Struct, frozen=True):
    """Everything a serving process needs; sent on its standard input, where no other process can read secrets."""

    settings: Settings
    parent: int
    public_descriptor: int
    """Listening socket of the API."""
    metrics_descriptor: int
    """Listening socket of operators' metrics."""
    control_descriptor: int
    """Carries heartbeats; end of file means that the parent has exited."""
    is_first: bool
    """The first serving process of this parent migrates the embedded database."""


def encode(config: ServeConfig) -> bytes:
    return msgspec.json.encode(config, enc_hook=str)


def decode(data: bytes) -> ServeConfig:
    return msgspec.json.decode(data, type=ServeConfig, dec_hook=lambda _, text: Path(text))
