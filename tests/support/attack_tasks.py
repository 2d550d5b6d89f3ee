"""Tasks that trust their upload completely, so that the tests check the confinement alone."""

import gzip
import importlib
import io
import lzma
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable

from serval.errors import NotAModel, NotAPredictor


def load(upload: bytes, request: bytes) -> bytes:
    """Unpickle the upload and answer with its representation."""
    return repr(pickle.loads(upload)).encode()


def translate(upload: bytes, request: bytes) -> bytes:
    """Load like a careful task, which turns every exception into a report of its own."""
    try:
        return load(upload, request)
    except Exception as error:  # noqa: BLE001 - what a careless task does
        raise NotAModel(f"it does not load: {type(error).__name__}") from None


def inflate(upload: bytes, request: bytes) -> bytes:
    """Decompress without a limit, which no task of Serval does."""
    openers: dict[bytes, Callable[[bytes], bytes]] = {
        b"gzip": gzip.decompress,
        b"zlib": zlib.decompress,
        b"lzma": lzma.decompress,
        b"zip": lambda content: zipfile.ZipFile(io.BytesIO(content)).read("bomb"),
    }
    return b"%d" % len(openers[request](upload))


def refuse(upload: bytes, request: bytes) -> bytes:
    raise NotAPredictor("`KMeans` is a clusterer:\x1b[31m Serval serves \u202epredictors")


def echo(upload: bytes, request: bytes) -> bytes:
    return request + upload


def pid(upload: bytes, request: bytes) -> bytes:
    return b"%d" % os.getpid()


TASKS: dict[str, Callable[[bytes, bytes], bytes]] = {
    function.__name__: function for function in (load, translate, inflate, refuse, echo, pid)
}


TOOLS = (
    "concurrent.futures.thread ctypes fcntl glob json mmap multiprocessing.popen_fork multiprocessing.process select"
    " shutil signal socket subprocess tempfile threading"
)


def preload() -> None:
    """Import the attackers' tools, so that no attack fails for lack of an import."""
    for tool in TOOLS.split():
        importlib.import_module(tool)
