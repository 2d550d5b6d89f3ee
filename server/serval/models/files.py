"""The files of a version: the uploaded source, the frozen graph, and the rows on which a load is measured."""

import hashlib
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from serval.conversion.golden import Golden
from serval.data_plane.plane import LoadError
from serval.storage.disk import DiskStorage, Incoming, Limit


class Probe(msgspec.Struct):
    """Rows that a version is measured on when it is loaded."""

    numbers: bytes
    strings: list[str]


class VersionFiles:
    """Reads and writes the files of versions, each version in a folder of its own."""

    def __init__(self, storage: DiskStorage) -> None:
        self._storage = storage

    def receive(self, limit: Limit) -> Incoming:
        """Open a file for an upload. Raises DiskFull when the disk is nearly full."""
        return self._storage.receive(limit)

    def keep_source(self, version_id: str, incoming: Incoming) -> None:
        """Store an uploaded file, durably."""
        self._storage.keep(incoming, _source(version_id))

    def open_source(self, version_id: str) -> AbstractAsyncContextManager[Path]:
        """Yield a local file with the content of the upload, to be read inside the block."""
        return self._storage.open(_source(version_id))

    def store(self, version_id: str, onnx: bytes, probe: Probe, golden: Golden | None = None) -> str:
        """Write what a load needs, and the golden requests, durably. Returns the SHA-256 of the graph."""
        if golden is not None:
            self._storage.write(_golden(version_id), msgspec.json.encode(golden))
        self._storage.write(_onnx(version_id), onnx)
        self._storage.write(_probe(version_id), msgspec.msgpack.encode(probe))
        return hashlib.sha256(onnx).hexdigest()

    def read_onnx(self, version_id: str, onnx_sha256: str | None) -> bytes:
        """Return the frozen graph. Raises OSError, LoadError where it is not the one that was verified."""
        onnx = self._storage.read(_onnx(version_id))
        if hashlib.sha256(onnx).hexdigest() != onnx_sha256:
            raise LoadError("its file on disk is not the one that was verified.")
        return onnx

    def read_golden(self, version_id: str) -> Golden:
        """Return the golden requests of a version. Raises OSError, MsgspecError."""
        return msgspec.json.decode(self._storage.read(_golden(version_id)), type=Golden)

    def read(self, version_id: str, onnx_sha256: str | None) -> tuple[bytes, Probe]:
        """Return what was stored when the version was verified. Raises OSError, and LoadError where the graph is not
        the verified one or the rows are damaged."""
        onnx = self.read_onnx(version_id, onnx_sha256)
        try:
            return onnx, msgspec.msgpack.decode(self._storage.read(_probe(version_id)), type=Probe)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LoadError(f"its file `probe` on disk is damaged: {error}") from error

    def size_bytes(self, version_id: str) -> int:
        """Return what all files of a version take."""
        return self._storage.size_bytes(version_id)

    def delete(self, version_id: str) -> None:
        """Delete all files of a version."""
        self._storage.delete(version_id)


def _source(version_id: str) -> str:
    return f"{version_id}/source"


def _onnx(version_id: str) -> str:
    return f"{version_id}/model.onnx"


def _golden(version_id: str) -> str:
    return f"{version_id}/golden.json"


def _probe(version_id: str) -> str:
    return f"{version_id}/probe"
