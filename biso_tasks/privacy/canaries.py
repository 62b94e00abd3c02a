"""Synthetic originals, drawn anew in each run and planted where the scanner must see them: a proof
that finds nothing is worth something only if it would have found something."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

from biso_tasks.privacy.columns import Column, Type

__all__ = ["TABLE", "Canaries", "Planted", "draw"]

TABLE: Final = "biso_canary"

_RANDOM: Final = SystemRandom()
_TEXT: Final = Type("text", "pg_catalog", "text", "text")


@dataclass(frozen=True, slots=True, repr=False)
class Planted:
    """One cell of the canary table: column, value as `cells.expression` reads it, and in SQL."""

    column: Column
    raw: str
    value: object


@dataclass(frozen=True, slots=True, repr=False)
class Canaries:
    """One value of each kind that the proof looks for."""

    mail: str
    phone: str
    ahv: str
    iban: str
    given: str
    family: str
    text: str

    def kinds(self) -> dict[str, str]:
        """Kind → the text to plant."""
        return {
            "mail": self.mail,
            "phone": self.phone,
            "ahv": self.ahv,
            "iban": self.iban,
            "name": f"{self.given} {self.family}",
            "text": self.text,
        }

    def _all(self) -> str:
        return "; ".join(self.kinds().values())

    def cells(self) -> tuple[Planted, ...]:
        """What stands in the one row of the canary table, whose key is 1."""
        text = self._all()
        data = text.encode()
        types: dict[str, tuple[Type, str, object]] = {
            "plain": (_TEXT, text, text),
            "tree": (
                Type("jsonb", "pg_catalog", "jsonb", "jsonb"),
                json.dumps({"a": [1, {"b": text}]}, ensure_ascii=False),
                json.dumps({"a": [1, {"b": text}]}),
            ),
            "list": (
                Type("_text", "pg_catalog", "text[]", "array", element=_TEXT),
                json.dumps([text]),
                [text],
            ),
            "bytes": (
                Type("bytea", "pg_catalog", "bytea", "bytea"),
                f"{hashlib.sha256(data).hexdigest()}:{data.hex()}",
                data,
            ),
        }
        return tuple(
            Planted(Column("pg_temp", TABLE, name, kind), raw, value)
            for name, (kind, raw, value) in types.items()
        )

    @property
    def count(self) -> int:
        """How many are planted, over all places: each must be seen."""
        return len(self.kinds()) * (len(self.cells()) + len(self.files()) + 1)

    def files(self) -> dict[str, bytes]:
        """Kind of file → a file that holds every canary."""
        text = self._all()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            runs = text.replace(" ", "</w:t></w:r><w:r><w:t> ")
            archive.writestr("word/document.xml", f"<w:p><w:r><w:t>{runs}</w:t></w:r></w:p>")
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w") as archive:
            archive.writestr("inner.docx", packed.getvalue())
        page = b"BT (" + text.encode("cp1252") + b") Tj ET"
        pdf = b"%PDF-1.4\n1 0 obj <</Filter/FlateDecode>> stream\n"
        pdf += zlib.compress(page) + b"\nendstream endobj\n%%EOF\n"
        return {
            "text file": text.encode(),
            "document": packed.getvalue(),
            "archive": outer.getvalue(),
            "PDF": pdf,
        }


def _letters(count: int) -> str:
    # No vowels: no word of any language, so no file or row can hold it by chance.
    return "".join(_RANDOM.choices("bcdfghjklmnpqrstvwxz", k=count))


def _digits(count: int) -> str:
    return "".join(_RANDOM.choices("123456789", k=count))


def draw() -> Canaries:
    """New canaries, each valid of its kind."""
    twelve = "756" + _digits(9)
    total = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(twelve))
    account = _digits(17)
    check = 98 - int(account + "121700") % 97
    return Canaries(
        mail=f"{_letters(12)}@{_letters(8)}.ch",
        phone="0" + _digits(12),  # longer than any real one
        ahv=f"{twelve}{(10 - total % 10) % 10}",
        iban=f"CH{check:02d}{account}",
        given=_letters(9),
        family=_letters(9),
        text=" ".join(_letters(7) for _ in range(12)),
    )
