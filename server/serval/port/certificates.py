"""The certificate of the public port: read from its files, and read again when they change."""

import asyncio
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from serval.data_plane.plane import certificate_expiry
from serval.errors import CannotStart
from serval.log import Log
from serval.settings.settings import Settings

CHECK_SECONDS = 1.0
"""How often the files are checked. They are read once two checks agree, so that two files may be written in turn."""

Stamps = tuple[tuple[int, ...] | None, ...]
"""What changes when a file is written or replaced, also behind a symbolic link; None where it cannot be read."""


@dataclass(frozen=True)
class Certificate:
    """A certificate whose key fits it, as PEM."""

    chain_file: Path
    key_file: Path
    chain: bytes
    """The certificate with its chain behind it."""
    key: bytes = field(repr=False)
    expires_at: datetime | None
    """None where its dates are written in a way that is not understood."""


def read_certificate(settings: Settings) -> Certificate | None:
    """Return the certificate that the settings name, None without one. Raises CannotStart naming the file and the
    reason."""
    chain_file, key_file = settings.tls_cert_file, settings.tls_key_file
    if chain_file is None and key_file is None:
        return None
    if chain_file is None or key_file is None:
        raise CannotStart("`tls_cert_file` and `tls_key_file` belong together: set both, or neither")
    return read_files(chain_file, key_file)


def read_files(chain_file: Path, key_file: Path) -> Certificate:
    """Return what is in two PEM files. Raises CannotStart."""
    chain, key = _content(chain_file, "tls_cert_file"), _content(key_file, "tls_key_file")
    try:
        expiry = certificate_expiry(chain, key)
    except ValueError as error:
        raise CannotStart(f"`{chain_file}` (`tls_cert_file`) with `{key_file}` (`tls_key_file`): {error}") from error
    return Certificate(
        chain_file, key_file, chain, key, None if expiry is None else datetime.fromtimestamp(expiry, UTC)
    )


def _content(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotStart(f"`{path}` (`{setting}`) cannot be read: {error.strerror}") from error


def log_certificate(certificate: Certificate, log: Log, event: str = "tls_certificate_in_use") -> None:
    """Log which certificate is in use, and warn where it has expired or its key is world-readable."""
    expires_at = certificate.expires_at
    log.info(event, file=str(certificate.chain_file), expires_at=None if expires_at is None else expires_at.isoformat())
    if expires_at is not None and expires_at < datetime.now(UTC):
        log.warning("tls_certificate_expired", file=str(certificate.chain_file), expires_at=expires_at.isoformat())
    if certificate.key_file.stat().st_mode & stat.S_IROTH:
        log.warning("tls_key_world_readable", file=str(certificate.key_file))


class CertificateWatch:
    """Uses a new certificate when its files have changed; an invalid one is logged once and the current one stays."""

    def __init__(self, certificate: Certificate, use: Callable[[bytes, bytes], None], log: Log) -> None:
        """`use`: given the chain and the key as PEM; raises ValueError where they are invalid."""
        self._certificate = certificate
        self._use = use
        self._log = log

    async def run(self) -> None:
        """Check until cancelled."""
        read: Stamps | None = None  # the files may have changed since they were read
        before: Stamps | None = None
        while True:
            now = await asyncio.to_thread(self._stamps)
            if now == before and now != read:
                await asyncio.to_thread(self._reload)
                read = now
            before = now
            await asyncio.sleep(CHECK_SECONDS)

    def _stamps(self) -> Stamps:
        return tuple(_stamp(path) for path in (self._certificate.chain_file, self._certificate.key_file))

    def _reload(self) -> None:
        current = self._certificate
        try:
            renewed = read_files(current.chain_file, current.key_file)
            if (renewed.chain, renewed.key) == (current.chain, current.key):
                return
            self._use(renewed.chain, renewed.key)
        except (CannotStart, ValueError) as error:
            self._log.warning("tls_certificate_invalid", error=str(error))
            return
        self._certificate = renewed
        log_certificate(renewed, self._log, "tls_certificate_changed")


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        renewed = os.stat(path)  # noqa: PTH116 pathlib's twin gives no more
    except OSError:
        return None
    return renewed.st_dev, renewed.st_ino, renewed.st_mtime_ns, renewed.st_ctime_ns, renewed.st_size
