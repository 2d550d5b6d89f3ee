"""Which kind of file an upload is, by its first bytes, and the content of a compressed one."""

import bz2
import io
import lzma
import zipfile
import zlib
from typing import Protocol

from serval.conversion.refusals import of_files

CHUNK_BYTES = 1 << 20

MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF\r\n", "an HDF5 file (Keras saves models so)"),
    (b"PAR1", "a Parquet table"),
    (b"\x7fELF", "a Linux program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x93NUMPY", "a NumPy array (`.npy`)"),
    (b"CBM1", "a CatBoost model"),
    (b"GGUF", "a GGUF language model"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"ARROW1", "an Arrow table"),
    (b"tree\nversion=", "a LightGBM model in text"),
    (b"{L\x00\x00", "an XGBoost model in UBJSON"),
    (b"binf", "an XGBoost model in its old binary form"),
)
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"]\x00\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class Decompressor(Protocol):
    """The interface of zlib, bz2 and lzma objects."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def compression_of(content: bytes) -> str | None:
    """The name of the compression that a file begins with, if any."""
    for magic, name in COMPRESSED.items():
        if content.startswith(magic):
            return name
    is_zlib = len(content) > 2 and content[0] == 0x78 and (content[0] * 256 + content[1]) % 31 == 0
    return "zlib" if is_zlib else None


def unpacked(content: bytes, limit_bytes: int) -> tuple[bytes, str | None]:
    """The content, decompressed if necessary, and the name of the compression.

    Raises NotAModel if it is damaged, or longer than `limit_bytes`.
    """
    name = compression_of(content)
    if name is None:
        return content, None
    if name in {"lz4", "zstd"}:
        raise of_files.UNKNOWN_COMPRESSION(name=name)
    try:
        return _decompressed(content, name, limit_bytes), name
    except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
        raise of_files.DAMAGED_COMPRESSION(name=name) from error


def _decompressed(content: bytes, name: str, limit_bytes: int) -> bytes:
    out = bytearray()
    while content:
        decompressor = _decompressor(name, limit_bytes)
        content = _one_stream(decompressor, content, out, limit_bytes)
    return bytes(out)


def _decompressor(name: str, limit_bytes: int) -> Decompressor:
    if name == "bzip2":
        return bz2.BZ2Decompressor()
    if name in {"xz", "lzma"}:
        return lzma.LZMADecompressor(memlimit=max(limit_bytes, 128 << 20))
    return zlib.decompressobj(wbits=31 if name == "gzip" else 15)


def _one_stream(decompressor: Decompressor, content: bytes, out: bytearray, limit_bytes: int) -> bytes:
    """Decompress one stream onto `out`; return what follows it. Raises EOFError if it is cut short."""
    pending = content
    while not decompressor.eof:
        chunk = decompressor.decompress(pending, CHUNK_BYTES)
        out += chunk
        if len(out) > limit_bytes:
            raise of_files.UNPACKS_TO_TOO_MUCH(limit=limit_bytes >> 20)
        pending = getattr(decompressor, "unconsumed_tail", b"")
        if not chunk and not pending and not decompressor.eof:
            raise EOFError
    return decompressor.unused_data


def foreign_kind(content: bytes) -> str | None:
    """What the file is, if it is neither a pickle nor a zip."""
    if not content:
        return "empty"
    for magic, name in MAGIC:
        if content.startswith(magic):
            return name
    if content[:1] == b"\x08" and (b"onnx" in content[:4096] or content[2:3] in {b"\x12", b"\x3a", b"B"}):
        return "an ONNX model"
    if content[8:9] == b"{" and content[1:8].count(0) >= 3:
        return "a safetensors file"
    return _text_kind(content[:4096])


def _text_kind(head: bytes) -> str | None:
    """The kind of a text; pickles of protocol 0 are ASCII too, so only texts that no pickle begins with."""
    try:
        text = head.decode("utf-8", "strict" if len(head) < 4096 else "ignore").lstrip("\ufeff \r\n\t")
    except UnicodeDecodeError:
        return None
    if any(ord(character) < 32 and character not in "\r\n\t" for character in text):
        return None
    lowered = text[:200].lower()
    if lowered.startswith(("<!doctype html", "<html")):
        return "an HTML page (was it saved instead of the download?)"
    if lowered.startswith("<"):
        return "an XML document"
    if lowered.startswith("version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: run `git lfs pull`"
    if lowered.startswith(('{"', "{\n", "[{", "[[", "[\n", "{ ")):
        return "a JSON document"
    if lowered.startswith(("import ", "from ", "#!", "# ", "def ", '"""')):
        return "a Python script: run it, and upload the file that it saves"
    return _table_or_text(text)


def _table_or_text(text: str) -> str | None:
    lines = text.splitlines()
    if len(lines) > 1 and lines[0].count(",") >= 1 and lines[0].count(",") == lines[1].count(","):
        return "a CSV table"
    is_pickle_like = text[:1] in "(cdl]}iIFSVLKN" and "\n" in text[:400]
    return None if is_pickle_like else "a text"


def zip_kind(content: bytes, limit_bytes: int) -> str:
    """`skops`, or what else the archive is. Raises NotAModel for a damaged one and one that unpacks past
    `limit_bytes`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise of_files.DAMAGED_COMPRESSION(name="a zip archive") from error
    if sum(entry.file_size for entry in entries) > limit_bytes:
        raise of_files.UNPACKS_TO_TOO_MUCH(limit=limit_bytes >> 20)
    names = {entry.filename for entry in entries}
    if "schema.json" in names:
        return "skops"
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch model"
    if {"config.json", "metadata.json"} <= names:
        return "a Keras model"
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays (`.npz`)"
    if "[Content_Types].xml" in names:
        return "an Office document"
    return "a zip archive"
