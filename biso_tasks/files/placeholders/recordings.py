"""Recordings of silence, and films without a picture."""

from __future__ import annotations

import io
import struct
import wave

from biso_tasks.files.placeholders.words import TEXT

__all__ = ["film", "mp3", "wav"]


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 1, 8000, 0, "NONE", "NONE"))
        sound.writeframes(b"\x80" * 80)
    return out.getvalue()


def mp3() -> bytes:
    """Frames of silence, 128 kbit/s at 44.1 kHz, one channel; the title says what it is."""
    title = b"TIT2" + struct.pack(">IHB", len(TEXT) + 1, 0, 0) + TEXT.encode()
    tag = b"ID3\3\0\0" + bytes((0, 0, 0, len(title))) + title
    return tag + (b"\xff\xfb\x90\xc0" + bytes(413)) * 3


def film(brand: bytes) -> bytes:
    """A film or recording in MPEG-4 without a track."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", len(body) + 8, kind) + body

    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    head = struct.pack(">IIIIIIHH8x", 0, 0, 0, 1000, 0, 0x10000, 0x0100, 0) + matrix + bytes(24)
    note = box(b"free", TEXT.encode())
    kinds = brand + struct.pack(">I", 0) + brand + b"isom"
    return box(b"ftyp", kinds) + box(b"moov", box(b"mvhd", head + struct.pack(">I", 1))) + note
