"""A name in the name of a file is seen by the proof and taken out by the renaming, however it is
spelled; and the proof never tells it."""

from __future__ import annotations

import io
import os
import unicodedata
import zipfile
from collections.abc import Callable
from urllib.parse import quote, quote_plus, unquote

import pytest

from biso_tasks.files.listing import Entry
from biso_tasks.privacy.detect import fold
from biso_tasks.privacy.filenames import Names, Tree
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.scanning import Scan

NAME, MAIL = "Änne Großkopf-Zürcher", "anna.mueller@posteo.example"
OTHER = ("Ünal Weißhaupt-Äbersold", "uenal.weisshaupt@posteo.example")

SPELLED: dict[str, Callable[[str, str], str]] = {
    "as it is": lambda name, mail: f"a/{name}.pdf",
    "accents apart": lambda name, mail: f"a/{unicodedata.normalize('NFD', name)}.pdf",
    "in capitals": lambda name, mail: f"a/{name.upper()}.PDF",
    "in small letters": lambda name, mail: f"a/{name.lower()}.pdf",
    "without umlauts": lambda name, mail: f"{fold(name).replace(' ', '_')}.pdf",
    "percent": lambda name, mail: f"a/{quote(name)}.pdf",
    "percent of accents": lambda name, mail: f"{quote(unicodedata.normalize('NFD', name))}.pdf",
    "percent, older": lambda name, mail: f"{quote(name.encode('cp1252'))}.pdf",
    "as a form sends it": lambda name, mail: f"{quote_plus(name)}.pdf",
    "run together": lambda name, mail: f"a/Brief{name.replace(' ', '')}.docx",
    "an older encoding": lambda name, mail: os.fsdecode(f"a/{name}.pdf".encode("cp1252")),
    "as unzip has it": lambda name, mail: "".join(
        letter if letter.isascii() else f"#U{ord(letter):04x}" for letter in name
    ),
    "entities": lambda name, mail: name.encode("ascii", "xmlcharrefreplace").decode(),
    "over folders": lambda name, mail: f"{name.replace(' ', '/')}/1.pdf",
    "mail": lambda name, mail: f"a/{mail}.pdf",
    "mail, two endings": lambda name, mail: f"a/{mail}.tar.gz",
    "mail, percent": lambda name, mail: f"a/{quote(mail, safe='')}.eml",
}


@pytest.fixture
def scan() -> Scan:
    originals = Originals()
    originals.distinctive.learn_name("Änne", "Großkopf-Zürcher")
    originals.distinctive.learn(MAIL)
    originals.distinctive.freeze()
    return Scan(originals)


def tells(text: str) -> bool:
    folded = fold(unquote(text))
    return "kopf" in folded or "mueller" in folded


@pytest.mark.parametrize("kind", SPELLED)
def test_the_proof_sees_it_and_does_not_say_it(scan: Scan, kind: str) -> None:
    scan.file(SPELLED[kind](*OTHER), b"Guten Tag")
    assert scan.leaks == set()
    scan.file(SPELLED[kind](NAME, MAIL), b"Guten Tag")
    assert {leak.kind for leak in scan.leaks} == {"mail" if kind.startswith("mail") else "name"}
    assert not any(tells(leak.place) for leak in scan.leaks)


@pytest.mark.parametrize("kind", SPELLED)
def test_within_an_archive_it_is_seen_and_not_said(scan: Scan, kind: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(SPELLED[kind](NAME, MAIL).encode("utf-8", "replace").decode(), b"x")
    scan.file("a.zip", packed.getvalue())
    # A ZIP has no names that are no text.
    assert bool(scan.leaks) == (kind != "an older encoding")
    assert not any(tells(leak.place) for leak in scan.leaks)


@pytest.mark.parametrize("kind", SPELLED)
def test_after_the_renaming_the_proof_has_nothing_to_see(scan: Scan, kind: str) -> None:
    path = SPELLED[kind](NAME, MAIL)
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts))]
    tree = Tree(
        Entry(one, kind, 1, 0, 0o640, "root", "root", 1, 1, 1, "", True)  # type: ignore[arg-type]
        for one, kind in (*((one, "dir") for one in above), (path, "file"))
    )
    names = Names(scan.originals.distinctive.find, tree)
    names.judge(path)
    new = names.of(parts)
    assert new != path
    scan.file(new, b"")
    assert scan.leaks == set()
