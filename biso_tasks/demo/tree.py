"""The data dir of a demo instance: attachments that hold names, awkward file names, letter
templates, fonts, logs; the same bytes, modes and times at every run.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from biso_tasks.demo.data import Attachment

__all__ = ["AWKWARD", "write_tree"]

_TIME = 1_735_728_000  # 2025-01-01 10:40 UTC
_FOP = '<?xml version="1.0"?>\n<fop version="1.0"><!-- Instanz {name} --></fop>\n'
_PHPDOCX = "[license]\ncode = demo-{name}\n"

AWKWARD = (
    unicodedata.normalize("NFC", "Übersicht Größe.txt"),
    unicodedata.normalize("NFD", "Übersicht Größe.txt"),
    "zwei  Leerzeichen am Ende .txt",
    "'einfach' und \"doppelt\".txt",
    "Zeile eins\nZeile zwei.txt",
    "$(x) `y` $HOME.txt",
    "-rf.txt",
    "a;b&c|d*e?[f]{g}.txt",
    "back\\slash.txt",
    "#5 %41 100%.txt",
)


def write_tree(
    datadir: Path, name: str, first: Sequence[str], attachments: Sequence[Attachment]
) -> None:
    """Fill a new data dir for the instance `name`; `first` is the first person of its records."""
    family, mail = first[0], first[1]
    files: dict[str, bytes] = {
        "brief_vorlagen/Erstgespräch.docx": _docx("Liebe/r ${vorname} ${nachname}"),
        "brief_vorlagen/Einladung.txt": b"Termin am ${datum} um ${zeit}\n",
        "brief_vorlagen/Mahnwesen/Bestätigung Härtefall.docx": _docx("Wir bestätigen ${fall}"),
        "hilfe/index.html": "<h1>Hilfe</h1><p>Fälle eröffnen</p>\n".encode(),
        "schriften/Kundenschrift.ttf": b"\x00\x01\x00\x00" + bytes(range(256)) * 120,
        "fop.xconf": _FOP.format(name=name).encode(),
        "phpdocxconfig.ini": _PHPDOCX.format(name=name).encode(),
        f"rechnungen/2024/RE-0001 {family}.pdf": _pdf(f"Rechnung an {family}, {mail}"),
        f"import/Scan {family}, Änne.pdf": _pdf(f"Eingang von {family}"),
        "tmp/halb-fertig.pdf": b"%PDF-1.4 abgebrochen",
        "anwendung.log": f"2025-01-01 Dossier {family} geöffnet\n".encode(),
        "import/cron.log": b"0 Dateien\n",
    }
    files |= {f"dateien/namen/{one}": f"Notiz zu {family}\n".encode() for one in AWKWARD}
    files |= {one.path: _KINDS[one.kind](one.text) for one in attachments}
    for path, content in files.items():
        target = datadir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o640)
        os.utime(target, (_TIME, _TIME))
    (datadir / "import/erledigt").mkdir()
    (datadir / "brief_vorlagen/aktuell.docx").symlink_to("Erstgespräch.docx")
    vorlage = datadir / "brief_vorlagen/Einladung.txt"
    vorlage.chmod(0o444)
    os.link(vorlage, datadir / "brief_vorlagen/Einladung (Kopie).txt")
    # a name that is not UTF-8, as old Windows shares leave them; some filesystems refuse it
    with contextlib.suppress(OSError):
        (datadir / os.fsdecode(b"dateien/namen/M\xfcller alt.txt")).write_bytes(b"alt\n")


def _pdf(text: str) -> bytes:
    """One page with the text, uncompressed, with a correct table of offsets."""
    shown = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    lines = "".join(f"({line}) Tj T* " for line in shown.splitlines())
    stream = f"BT /F1 12 Tf 50 780 Td 16 TL {lines}ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    out = bytearray(b"%PDF-1.4\n")
    table = b"0000000000 65535 f \n"
    for number, body in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    size = len(objects) + 1
    out += b"xref\n0 %d\n%strailer\n<< /Size %d /Root 1 0 R >>\n" % (size, table, size)
    out += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def _docx(text: str) -> bytes:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/'
        'content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-'
        'package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="applica'
        "tion/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
        '"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
        'relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/office'
        'Document/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": '<w:document xmlns:w="http://schemas.openxmlformats.org/'
        f'wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>{escaped}</w:t></w:r></w:p>'
        "</w:body></w:document>",
    }
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            entry = zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0))
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _jpg(text: str) -> bytes:
    """A grey pixel with the text in a comment segment."""
    comment = text.encode()
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return b"\xff\xd8" + segment + bytes.fromhex(_PIXEL)


def _txt(text: str) -> bytes:
    return text.encode()


_PIXEL = (
    "ffdb004300" + "01" * 64 + "ffc0000b080001000101011100"
    "ffc40014000100000000000000000000000000000009"
    "ffc40014100100000000000000000000000000000000"
    "ffda0008010100003f007fffd9"
)
_KINDS = {"pdf": _pdf, "docx": _docx, "jpg": _jpg, "txt": _txt}
