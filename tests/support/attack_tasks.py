"""Tasks that trust their upload completely, so that the tests see what the confinement alone holds."""

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
    """Unpickle the upload and answer with what came out."""
    return repr(pickle.loads(upload)).encode()


def translate(upload: bytes, request: bytes) -> bytes:
    """Load like a careful task, that turns whatever happens into a report of its own."""
    try:
        return load(upload, request)
    except Exception as error:  # noqa: BLE001 - what a careless task does
        raise NotAModel(f"it does not load: {type(error).__name__}") from None


def inflate(upload: bytes, request: bytes) -> bytes:
    """Decompress without any bound, as no task of ours does."""
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
    """The attackers' tools, so that no attack fails for want of an import."""
    for tool in TOOLS.split():
        importlib.import_module(tool)
