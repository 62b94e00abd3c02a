from __future__ import annotations

import importlib.util
import io
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biso_tasks.api import placeholder
from biso_tasks.errors import BisoError, ConfigError
from biso_tasks.hooks.manager import PluginManager

Load = Callable[..., PluginManager]
ROOT = Path(__file__).parents[2]
NAME = b"Anna Muster"


def _module() -> ModuleType:
    file = ROOT / "plugins/attachment_scrub.py"
    spec = importlib.util.spec_from_file_location("attachment_scrub_under_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


plugin = _module()


# -- samples, each with the name where such files have it --


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


EXIF = segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0" + NAME)
ICC = segment(0xE2, b"ICC_PROFILE\0\x01\x01profile")
ADOBE = segment(0xEE, b"Adobe\0d\0\0\0\0\x01")


def jpeg(extra: bytes = EXIF, after: bytes = b"") -> bytes:
    plain = placeholder("x.jpg")
    comment = segment(0xFE, b"Placeholder")
    assert comment in plain
    return plain.replace(comment, extra) + after


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG_PLAIN = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + chunk(b"pHYs", bytes(9))
    + chunk(b"IDAT", zlib.compress(b"\0\x80"))
    + chunk(b"IEND", b"")
)


def png() -> bytes:
    named = chunk(b"tEXt", b"Author\0" + NAME) + chunk(b"iTXt", NAME) + chunk(b"eXIf", NAME)
    named += chunk(b"zTXt", NAME) + chunk(b"tIME", bytes(7)) + chunk(b"prVt", NAME)
    at = PNG_PLAIN.index(chunk(b"pHYs", bytes(9)))
    return PNG_PLAIN[:at] + named + PNG_PLAIN[at:] + NAME


def archive(base: bytes, parts: dict[str, bytes], comment: bytes = b"") -> bytes:
    """The archive `base` with these parts put in or replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(base)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            if member.filename not in parts:
                new.writestr(member, old.read(member))
        for name, data in parts.items():
            new.writestr(name, data, zipfile.ZIP_DEFLATED)
        new.comment = comment
    return out.getvalue()


CORE = (
    b'<cp:coreProperties xmlns:cp="urn:cp" xmlns:dc="urn:dc" xmlns:x="urn:x">'
    b'<dc:title>Brief an Anna Muster</dc:title><dc:creator x:type="a">Anna Muster</dc:creator>'
    b"<cp:lastModifiedBy>Anna Muster</cp:lastModifiedBy><cp:revision>3</cp:revision>"
    b"<cp:keywords/><cp:category>Anna Muster</cp:category></cp:coreProperties>"
)
APP = b"<Properties><Application>W</Application><Company>Anna Muster</Company></Properties>"
CUSTOM = (
    b'<Properties xmlns:vt="urn:vt"><vt:lpwstr>Anna Muster</vt:lpwstr><vt:i4>7</vt:i4></Properties>'
)
TRACKED = (
    b'<w:document xmlns:w="urn:w"><w:ins w:id="1" w:author="Anna Muster" '
    b"w:initials='Anna Muster'><w:t>Der Text bleibt</w:t></w:ins></w:document>"
)
META = (
    b'<office:document-meta xmlns:office="urn:o" xmlns:meta="urn:m" xmlns:dc="urn:d"><office:meta>'
    b"<meta:initial-creator>Anna Muster</meta:initial-creator><dc:creator>Anna Muster</dc:creator>"
    b'<meta:user-defined meta:name="x">Anna Muster</meta:user-defined><dc:date>2025-01-01</dc:date>'
    b"</office:meta></office:document-meta>"
)
COMMENTS = (
    b"<comments><authors><author>Anna Muster</author></authors><text>Der Text bleibt</text>"
    b"</comments>"
)


def docx() -> bytes:
    parts = {
        "docProps/core.xml": CORE,
        "docProps/app.xml": APP,
        "docProps/custom.xml": CUSTOM,
        "docProps/thumbnail.jpeg": jpeg(),
        "word/comments.xml": TRACKED,
        "word/media/image1.jpeg": jpeg(),
    }
    return archive(placeholder("x.docx"), parts, comment=NAME)


def xlsx() -> bytes:
    return archive(placeholder("x.xlsx"), {"docProps/core.xml": CORE, "xl/comments1.xml": COMMENTS})


def odt() -> bytes:
    return archive(placeholder("x.odt"), {"meta.xml": META})


def pdf(author: bytes = b"/Author (Anna Muster)") -> bytes:
    info = b"7 0 obj\n<< %s /Producer (x) >>\nendobj\n" % author
    return placeholder("x.pdf").replace(b"xref\n0", info + b"xref\n0", 1)


SAMPLES = {
    "foto.jpg": jpeg(),
    "bild.PNG": png(),
    "brief.docx": docx(),
    "liste.xlsx": xlsx(),
    "notiz.odt": odt(),
    "rechnung.pdf": pdf(),
}


def inside(data: bytes) -> bytes:
    """The bytes of a file, and of every part of an archive."""
    if data[:2] != b"PK":
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return data + b"".join(inside(opened.read(one)) for one in opened.infolist())


# -- what is inside --


@pytest.mark.parametrize("name", SAMPLES)
def test_a_cleaned_file_names_nobody_and_a_clean_one_stays_as_it_is(name: str) -> None:
    dirty = SAMPLES[name]
    assert NAME in inside(dirty)
    clean = plugin.clean(dirty)
    assert NAME not in inside(clean)
    assert plugin.clean(clean) == clean


def test_a_photo_keeps_its_picture_and_colours_and_loses_what_follows_it() -> None:
    kept = ICC + ADOBE
    names = EXIF + segment(0xED, b"Photoshop 3.0\0" + NAME) + segment(0xFE, NAME)
    names += segment(0xE2, b"MPF\0" + NAME)
    assert plugin.clean(jpeg(kept + names, after=jpeg())) == jpeg(kept)


def test_a_progressive_photo_keeps_its_later_scans() -> None:
    plain = jpeg(b"")
    scan = plain[plain.index(b"\xff\xda") : -2] + b"\xff\x00\xff\xd0\x11"
    progressive = plain[:-2] + scan + b"\xff\xd9"
    assert plugin.clean(progressive) == progressive
    assert plugin.clean(progressive[:-2] + segment(0xFE, NAME) + scan + b"\xff\xd9") == (
        progressive[:-2] + scan + b"\xff\xd9"
    )


def test_a_png_keeps_what_it_is_shown_with() -> None:
    assert plugin.clean(png()) == PNG_PLAIN


def test_an_office_document_keeps_its_text_its_parts_and_their_order() -> None:
    for dirty in (docx(), xlsx(), odt()):
        clean = plugin.clean(dirty)
        with (
            zipfile.ZipFile(io.BytesIO(dirty)) as before,
            zipfile.ZipFile(io.BytesIO(clean)) as after,
        ):
            assert after.testzip() is None
            assert after.namelist() == before.namelist()
            for old, new in zip(before.infolist(), after.infolist(), strict=True):
                assert new.compress_type == old.compress_type
            for name in after.namelist():
                if name.endswith(".xml"):
                    was, now = (ElementTree.fromstring(one.read(name)) for one in (before, after))
                    assert [one.tag for one in now.iter()] == [one.tag for one in was.iter()]
        text = inside(clean)
        assert (b"Der Text bleibt" in text) == (b"Der Text bleibt" in inside(dirty))
        assert (b"<cp:revision>3<" in text) == (b"<cp:revision>3<" in inside(dirty))


@pytest.mark.parametrize(
    "author",
    [
        b"/Author (Anna Muster)",
        b"/Author(Anna Muster \\(Sen.\\))",
        b"/Author <416E6E61204D7573746572>",
        b"/Title (Brief) /Author\n(\xfe\xff\0A\0n\0n\0a)",
    ],
)
def test_a_pdf_keeps_its_length_so_that_its_offsets_stay_true(author: bytes) -> None:
    clean = plugin.clean(pdf(author))
    assert len(clean) == len(pdf(author))
    assert NAME not in clean
    assert b"416E" not in clean
    assert b"\0A\0n" not in clean
    assert (b"/Title (Brief)" in clean) == (b"/Title" in author)
    assert clean[-40:] == pdf(author)[-40:]


def object_stream(inner: bytes, data: bytes | None = None) -> bytes:
    packed = zlib.compress(inner) if data is None else data
    head = b"9 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Length %d /Filter /FlateDecode >>" % len(
        packed
    )
    return pdf(b"") + head + b"\nstream\n" + packed + b"\nendstream\nendobj\n"


def encrypted_zip() -> bytes:
    data = bytearray(docx())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    return bytes(data)


UNCLEANABLE = {
    "truncated jpg": jpeg()[:30],
    "jpg without markers": b"\xff\xd8" + b"abcd" * 10,
    "truncated png": PNG_PLAIN[:-8],
    "png cut in a chunk": PNG_PLAIN[:40],
    "damaged docx": docx()[:-60],
    "docx with a damaged part": docx().replace(b"PK\x01\x02", b"PK\x09\x09", 1),
    "encrypted docx": encrypted_zip(),
    "utf-16 docx": archive(docx(), {"docProps/core.xml": CORE.decode().encode("utf-16")}),
    "encrypted pdf": pdf(b"/Encrypt 5 0 R"),
    "author in an object stream": object_stream(b"7 0 << /Author (Anna Muster) >>"),
    "object stream that is not readable": object_stream(b"", b"not zlib at all"),
    "author by reference": pdf(b"/Author 8 0 R"),
    "author with parentheses": pdf(b"/Author (Anna (Sen.) Muster)"),
    "docx with an impossible offset": xlsx()[:-6] + b"\xff\xff\xff\xfe\0\0",
    "another kind": b"GIF89a" + NAME,
}


@pytest.mark.parametrize("why", UNCLEANABLE)
def test_what_cannot_be_cleaned_is_said_to_be_so(why: str) -> None:
    with pytest.raises(plugin.Uncleanable):
        plugin.clean(UNCLEANABLE[why])


def test_an_object_stream_without_an_author_does_not_keep_a_pdf_from_being_clean() -> None:
    data = object_stream(b"7 0 << /Producer (x) >>")
    assert plugin.clean(data) == data


def test_an_empty_file_is_clean() -> None:
    assert plugin.clean(b"") == b""


def test_a_small_archive_that_unpacks_to_very_much_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugin, "_UNPACKED", 1 << 20)
    bomb = archive(docx(), {"word/media/null.bin": bytes(2 << 20)})
    assert len(bomb) < 20_000
    with pytest.raises(plugin.Uncleanable, match="too large"):
        plugin.clean(bomb)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_a_damaged_file_is_cleaned_or_refused_and_never_breaks_the_plugin(
    name: str, data: st.DataObject
) -> None:
    damaged = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(4, len(damaged)))
    try:
        clean = plugin.clean(bytes(damaged[:cut]))
    except plugin.Uncleanable:
        return
    assert isinstance(clean, bytes)


# -- in a stage --


def fill(stage: Any, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = Path(stage.datadir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def scrubbed(manager: PluginManager, stage: Any) -> list[int]:
    found = dict(manager.collect("biso_scrub", stage=stage))["attachment_scrub"]
    return [one.count for one in found]


def tree(stage: Any) -> dict[str, bytes]:
    return {name: Path(stage.datadir, name).read_bytes() for name in stage.files()}


@pytest.mark.real
def test_the_copied_attachments_of_a_stage_are_cleaned_and_the_rest_is_left(
    load: Load, stage: Any
) -> None:
    odd = {
        "-rf.jpg": jpeg(),
        "a b/ü $(x)\n'zwei'.jpg": jpeg(),
        os.fsdecode(b"M\xfcller.jpg"): jpeg(),
        "@liste.jpg": jpeg(),
        "[x]*?.jpg": jpeg(),
    }
    others = {"brief.txt": NAME, "leer.pdf": b"", "sauber.png": PNG_PLAIN}
    others |= {f"ersatz.{kind}": placeholder(f"x.{kind}") for kind in ("jpg", "png", "docx", "pdf")}
    fill(stage, SAMPLES | odd | others)
    assert scrubbed(load(), stage) == [len(SAMPLES) + len(odd), 0]
    after = tree(stage)
    assert {name: after[name] for name in others} == others
    assert not [name for name in {*SAMPLES, *odd} if NAME in inside(after[name])]
    assert len(stage.commands) == 3  # whatever the number of files: sizes, out, back
    assert scrubbed(load(), stage) == [0, 0]


@pytest.mark.real
def test_it_writes_in_place_so_a_stage_that_shared_an_inode_would_change_the_live_file(
    load: Load, stage: Any, tmp_path: Path
) -> None:
    """The defence is the stage's: it is a copy. This plugin shows that the defence is needed."""
    fill(stage, {"foto.jpg": jpeg()})
    inside_stage = Path(stage.datadir, "foto.jpg")
    inside_stage.chmod(0o640)
    os.utime(inside_stage, (1_700_000_000, 1_700_000_000))
    live = tmp_path / "live.jpg"
    os.link(inside_stage, live)
    before = inside_stage.stat()
    assert scrubbed(load(), stage) == [1, 0]
    after = inside_stage.stat()
    assert (after.st_ino, after.st_mode, after.st_uid) == (
        before.st_ino,
        before.st_mode,
        before.st_uid,
    )
    assert NAME not in live.read_bytes()
    assert after.st_mtime != before.st_mtime  # never taken for production's file by its time


@pytest.mark.real
@pytest.mark.parametrize("setting", ["placeholder", "keep", "fail"])
def test_what_cannot_be_cleaned_becomes_what_the_site_says(
    load: Load, stage: Any, setting: str
) -> None:
    large = jpeg(after=bytes(1 << 20))
    files = {"a.pdf": pdf(b"/Encrypt 5 0 R /Author (x)"), "b.jpg": large, "c.jpg": jpeg()}
    fill(stage, files)
    manager = load(attachment_scrub={"uncleanable": setting, "max_megabytes": 1})
    if setting == "fail":
        with pytest.raises(BisoError, match=r"'a.pdf' cannot be rid .* encrypted"):
            scrubbed(manager, stage)
        return
    assert scrubbed(manager, stage) == [1, 2]
    after = tree(stage)
    expected = {name: placeholder(name) for name in ("a.pdf", "b.jpg")}
    assert {name: after[name] for name in expected} == (
        expected if setting == "placeholder" else {name: files[name] for name in expected}
    )
    assert NAME not in after["c.jpg"]


@pytest.mark.real
def test_many_files_travel_in_batches(
    load: Load, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(
        stage, {f"{number}.jpg": jpeg(EXIF + segment(0xE5, bytes(60_000))) for number in range(900)}
    )
    assert scrubbed(load(), stage) == [900, 0]
    assert len(stage.commands) == 1 + 2 * 4
    assert not [name for name, data in tree(stage).items() if NAME in data]


@pytest.mark.real
def test_a_folder_that_is_to_be_left_is_not_touched(load: Load, stage: Any) -> None:
    fill(stage, {"hilfe/a/b.jpg": jpeg(), "anhaenge/b.jpg": jpeg()})
    assert scrubbed(load(attachment_scrub={"leave": ["hilfe/**"]}), stage) == [1, 0]
    assert NAME in tree(stage)["hilfe/a/b.jpg"]


# -- before files travel --


def test_the_site_says_by_folder_and_extension_what_travels(load: Load) -> None:
    folders = [
        {"pattern": "anhaenge/privat/**", "otherwise": "skip"},
        {
            "pattern": "anhaenge/**",
            "copy": ["jpg", ".PNG"],
            "placeholder": ["pdf"],
            "skip": ["mp4", "jpg2"],
        },
        {"pattern": "**", "skip": ["mp4"]},
    ]
    manager = load(attachment_scrub={"folders": folders})
    expected = {
        "anhaenge/privat/a.jpg": "skip",
        "anhaenge/2024/a.JPG": "copy",
        "anhaenge/a.png": "copy",
        "anhaenge/a.pdf": "placeholder",
        "anhaenge/a.mp4": "skip",
        "anhaenge/a.txt": None,
        "anhaenge/ohne": None,
        "film.mp4": "skip",
        "anhaenge.jpg": None,
    }
    answers = {path: manager.first("biso_file_policy", path=path, site=None) for path in expected}
    assert answers == expected


def test_without_a_section_others_decide_what_travels(load: Load) -> None:
    assert load().first("biso_file_policy", path="anhaenge/a.jpg", site=None) is None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"max_megabytes": 64}, "between 1 and 48"),
        ({"uncleanable": "ignore"}, "expected 'placeholder' or 'keep' or 'fail'"),
        ({"folders": [{"copy": ["jpg"]}]}, "folders[0].pattern: is missing"),
        ({"folders": [{"pattern": "x", "otherwise": "move"}]}, "folders[0].otherwise"),
    ],
)
def test_a_section_that_cannot_be_is_refused(
    load: Load, section: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(attachment_scrub=section)
    assert message in raised.value.message
