"""Archives with one text in them, or with nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

from biso_tasks.files.placeholders.words import TEXT, text

__all__ = ["archive", "bzip2", "gz", "rar", "seven_zip", "tar", "xz", "zip_"]


def archive(*members: tuple[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o600 << 16
            # `mimetype` must be first and stored, or readers do not know the format
            info.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    return out.getvalue()


def zip_() -> bytes:
    return archive(("placeholder.txt", f"{TEXT}\n"))


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as packed:
        info = tarfile.TarInfo("placeholder.txt")
        info.size, info.mode = len(text()), 0o600
        packed.addfile(info, io.BytesIO(text()))
    return out.getvalue()


def gz(inner: bytes) -> bytes:
    return gzip.compress(inner, mtime=0)


def bzip2(inner: bytes) -> bytes:
    return bz2.compress(inner)


def xz(inner: bytes) -> bytes:
    return lzma.compress(inner)


def seven_zip() -> bytes:
    """With no member: the header says that none follows."""
    none = bytes(20)
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(none)) + none


def rar() -> bytes:
    """With no member: mark, header, end."""
    return bytes.fromhex("526172211a0700 cf907300000d00000000000000 c43d7b00400700")
