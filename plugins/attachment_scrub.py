"""Attachments: which of them travel, and what identifies a person inside those that were copied.

Photos lose everything but the picture (EXIF with place and time, IPTC, XMP, comments), office
documents the names of authors and companies and their titles, PDFs their author. The text that a
document shows is not touched: let such files be placeholders. Nothing else is cleaned, so other
kinds (video, old .doc, .tif) are better not copied.

    [plugins.attachment_scrub]
    leave = ["hilfe/**"]                # not looked at
    uncleanable = "placeholder"         # damaged, encrypted, too large: placeholder | keep | fail
    max_megabytes = 32
    [[plugins.attachment_scrub.folders]]  # the first answer counts, before [refresh.files]
    pattern = "anhaenge/**"
    copy = ["jpg", "png"]
    skip = ["mp4"]
    otherwise = "placeholder"           # left out: [refresh.files] decides
"""

from __future__ import annotations

import io
import lzma
import posixpath
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from biso_tasks.api import (
    Change,
    FilePolicy,
    Site,
    Stage,
    StepFailed,
    compile_pattern,
    hookimpl,
    placeholder,
)

KINDS: Final = frozenset(
    {"jpg", "jpeg", "png", "pdf"}
    | {"docx", "docm", "dotx", "dotm", "xlsx", "xlsm", "pptx", "pptm"}
    | {"odt", "ott", "ods", "ots", "odp", "otp", "odg"}
)
_BATCH: Final = 16 << 20  # bytes of files in one exchange with the host
_UNPACKED: Final = 256 << 20  # a small archive may hold very much


class Uncleanable(Exception):
    """Why a file cannot be cleaned."""


# -- settings --


@dataclass(frozen=True, slots=True)
class Folder:
    pattern: str
    copy: tuple[str, ...] = ()
    placeholder: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    otherwise: FilePolicy | None = None

    def policy(self, path: str) -> FilePolicy | None:
        if not compile_pattern(self.pattern).fullmatch(path):
            return None
        kind = _extension(path)
        answers: tuple[tuple[FilePolicy, tuple[str, ...]], ...] = (
            ("skip", self.skip),
            ("placeholder", self.placeholder),
            ("copy", self.copy),
        )
        for answer, kinds in answers:
            if kind in (one.lower().removeprefix(".") for one in kinds):
                return answer
        return self.otherwise


@dataclass(frozen=True, slots=True)
class Settings:
    folders: tuple[Folder, ...] = ()
    leave: tuple[str, ...] = ()
    uncleanable: Literal["placeholder", "keep", "fail"] = "placeholder"
    max_megabytes: int = 32

    def __post_init__(self) -> None:
        # The host's answer is held in memory, and limited to 64 MiB.
        if not 1 <= self.max_megabytes <= 48:
            raise ValueError(f"max_megabytes is between 1 and 48, got {self.max_megabytes}")


@hookimpl
def biso_config() -> type[Settings]:
    return Settings


# -- hooks --


@hookimpl
def biso_file_policy(path: str, site: Site, config: Settings) -> FilePolicy | None:
    answers = (folder.policy(path) for folder in config.folders)
    return next((answer for answer in answers if answer is not None), None)


@hookimpl
def biso_scrub(stage: Stage, config: Settings) -> Sequence[Change]:
    leave = [compile_pattern(pattern) for pattern in config.leave]
    paths = [
        path
        for path in stage.files()
        if _extension(path) in KINDS and not any(one.fullmatch(path) for one in leave)
    ]
    cleaned = stuck = 0
    limit = config.max_megabytes << 20
    sizes = dict(zip(paths, _sizes(stage, paths), strict=True))
    for batch in _batches([path for path in paths if sizes[path] <= limit], sizes):
        changed: list[tuple[tarfile.TarInfo, bytes]] = []
        for member, path, old in _read(stage, batch):
            if old == placeholder(path):
                continue
            new: bytes | None
            try:
                new = clean(old)
                cleaned += new != old
            except Uncleanable as error:
                new = _instead(path, str(error), config)
                stuck += 1
            if new is not None and new != old:
                changed.append((member, new))
        _write(stage, changed)
    for path in (path for path in paths if sizes[path] > limit):
        stand_in = _instead(path, f"it is larger than {config.max_megabytes} MB", config)
        stuck += 1
        if stand_in is not None:
            stage.host_run(("tee", "--", f"{stage.datadir}/{path}"), stdin=stand_in)
    became = "left as they were" if config.uncleanable == "keep" else "replaced by placeholders"
    return [
        Change("attachments rid of properties that name a person", cleaned),
        Change(f"attachments that cannot be cleaned, {became}", stuck),
    ]


def _instead(path: str, why: str, config: Settings) -> bytes | None:
    """What stands for a file that cannot be cleaned; None: it stays."""
    if config.uncleanable == "fail":
        raise StepFailed(
            f"{path!r} cannot be rid of what names a person: {why}",
            hint="skip it in [refresh.files], or set plugins.attachment_scrub.uncleanable",
        )
    return placeholder(path) if config.uncleanable == "placeholder" else None


# -- the host: a few exchanges, whatever the number of files --


def _sizes(stage: Stage, paths: Sequence[str]) -> list[int]:
    names = b"".join(_raw(f"{stage.datadir}/{path}") + b"\0" for path in paths)
    said = stage.host_run(("xargs", "-0", "-r", "stat", "--printf=%s\\n", "--"), stdin=names)
    return [int(line) for line in said.split()]


def _batches(paths: Iterable[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    batch: list[str] = []
    held = 0
    for path in paths:
        if batch and held + sizes[path] > _BATCH:
            yield batch
            batch, held = [], 0
        batch.append(path)
        held += sizes[path] + 2048  # what tar adds
    if batch:
        yield batch


def _read(stage: Stage, paths: Sequence[str]) -> Iterator[tuple[tarfile.TarInfo, str, bytes]]:
    names = b"".join(_raw(f"./{path}") + b"\0" for path in paths)
    words = ("tar", "-C", stage.datadir, "--numeric-owner", "--hard-dereference", "--no-recursion",
             "--null", "--files-from=-", "-cf", "-")  # fmt: skip
    packed = io.BytesIO(stage.host_run(words, stdin=names))
    with tarfile.open(fileobj=packed, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.isreg() else None
            if handle is not None:
                yield member, member.name.removeprefix("./"), handle.read()


def _write(stage: Stage, files: Sequence[tuple[tarfile.TarInfo, bytes]]) -> None:
    """In place: owner, mode and hard links within the data dir stay. The time does not (-m): by
    size and time a cleaned file must never be taken for production's."""
    if not files:
        return
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for member, data in files:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    words = ("tar", "-C", stage.datadir, "--numeric-owner", "--overwrite", "-p", "-m", "-xf", "-")
    stage.host_run(words, stdin=out.getvalue())


def _raw(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _extension(path: str) -> str:
    return posixpath.splitext(path)[1].lower().removeprefix(".")


# -- what is inside --


def clean(data: bytes) -> bytes:
    """The same picture or document without what identifies a person; the same bytes where there is
    nothing to take away. By content, since an extension promises nothing. Raises Uncleanable."""
    if not data:
        return data
    for start, cleaner in _CLEANERS:
        if data.startswith(start):
            return cleaner(data)
    raise Uncleanable("its content is not of the kind that its name says")


def _jpeg(data: bytes) -> bytes:
    """Kept: JFIF, colour profiles, Adobe's colour transform, the picture. What follows the picture
    (more pictures, with EXIF of their own) goes as well."""
    out, at = bytearray(data[:2]), 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise Uncleanable("a damaged JPEG")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if end > len(data) or end < at + 4:
            raise Uncleanable("a damaged JPEG")
        body = data[at + 4 : end]
        if marker == 0xDA:  # the compressed picture, up to a marker that is no restart
            found = _SCAN_END.search(data, end)
            end = found.start() if found else len(data)
        application = 0xE1 <= marker <= 0xEF or marker == 0xFE
        if not application or (marker, body[:5]) in _JPEG_KEPT or body[:12] == b"ICC_PROFILE\0":
            out += data[at:end]
        at = end
    return bytes(out + b"\xff\xd9")


def _png(data: bytes) -> bytes:
    out, at, kind = bytearray(data[:8]), 8, b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise Uncleanable("a damaged PNG")
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        if end > len(data):
            raise Uncleanable("a damaged PNG")
        # An upper-case first letter means: the picture cannot be shown without it.
        if kind[:1].isupper() or kind in _PNG_KEPT:
            out += data[at:end]
        at = end
    return bytes(out)


def _office(data: bytes) -> bytes:
    out, changed = io.BytesIO(), False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            members = old.infolist()
            if any(member.flag_bits & 1 for member in members):
                raise Uncleanable("encrypted")
            if len(set(old.namelist())) < len(members):
                raise Uncleanable("an archive with two parts of one name")
            if sum(member.file_size for member in members) > _UNPACKED:
                raise Uncleanable("too large when unpacked")
            changed = bool(old.comment)
            for member in members:
                before = old.read(member)
                after = _part(member.filename, before)
                changed |= after != before
                info = zipfile.ZipInfo(member.filename, member.date_time)
                # ODF wants `mimetype` first and stored: order and method stay.
                info.compress_type = member.compress_type
                info.external_attr = member.external_attr
                new.writestr(info, after)
    except _DAMAGED as error:
        raise Uncleanable("a damaged archive") from error
    return out.getvalue() if changed else data


def _part(name: str, data: bytes) -> bytes:
    lower = name.lower()
    if "thumbnail" in lower:
        # It shows the first page. It stays a picture: the package's relations name it.
        return placeholder(lower)
    if lower.endswith((".jpg", ".jpeg", ".png")):
        return clean(data)
    if not lower.endswith(".xml"):
        return data
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Uncleanable("XML in UTF-16")
    data = _ATTRIBUTE.sub(rb"\1\2\2", data)
    data = _ELEMENT.sub(rb"<\1\2></\1>", data)
    if lower in ("docprops/core.xml", "meta.xml"):
        data = _TITLE.sub(rb"<\1\2></\1>", data)
    if lower == "docprops/custom.xml":
        data = _CUSTOM.sub(rb"<\1></\1>", data)
    return data


def _pdf(data: bytes) -> bytes:
    """What is blanked keeps its length: a PDF finds its objects by their offsets."""
    if re.search(rb"/Encrypt\s+\d+\s+\d+\s+R|/Encrypt\s*<<", data):
        raise Uncleanable("encrypted")
    for stream in _OBJECTS.finditer(data):
        inflater = zlib.decompressobj()
        try:
            inner = inflater.decompress(stream[1], _UNPACKED)
        except zlib.error as error:
            raise Uncleanable("a PDF whose objects cannot be read") from error
        if b"/Author" in inner:
            raise Uncleanable("a PDF that names its author where it is compressed")
    for pattern in (_AUTHOR, _AUTHOR_HEX, _XMP):
        data = pattern.sub(lambda found: found[1] + b" " * len(found[2]) + found[3], data)
    if _AUTHOR_LEFT.search(data):
        raise Uncleanable("a PDF that names its author in an unusual way")
    return data


# All that zipfile was seen to raise for damaged archives.
_DAMAGED: Final = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, NotImplementedError),
)
_SCAN_END: Final = re.compile(rb"\xff+[^\xff\x00\xd0-\xd7]")
_JPEG_KEPT: Final = frozenset({(0xEE, b"Adobe")})
_PNG_KEPT: Final = frozenset(
    b"tRNS gAMA cHRM sRGB iCCP bKGD pHYs sBIT sPLT hIST acTL fcTL fdAT cICP".split()
)
_NAMES: Final = rb"creator|lastModifiedBy|initial-creator|printed-by|Manager|Company|author"
_ELEMENT: Final = re.compile(rb"<((?:[\w-]+:)?(?:" + _NAMES + rb"))((?:\s[^>]*)?)(?<!/)>[^<]+</\1>")
_TITLE: Final = re.compile(
    rb"<((?:dc|cp|meta):(?:title|subject|description|keywords?|category|contentStatus|user-defined))"
    rb"((?:\s[^>]*)?)(?<!/)>[^<]+</\1>"
)
_CUSTOM: Final = re.compile(rb"<(vt:(?:lpw?str|bstr))>[^<]+</\1>")
_ATTRIBUTE: Final = re.compile(
    rb"(\s(?:\w+:(?:author|initials|userId)|(?:\w+:)?lastModifiedBy|(?:\w+:)?absPath url)=)"
    rb"""(["'])[^"']+\2"""
)
_OBJECTS: Final = re.compile(rb"/ObjStm\b[^>]*>>.{0,40}?stream\r?\n(.*?)endstream", re.DOTALL)
_AUTHOR: Final = re.compile(rb"(/Author\s*\()((?:[^()\\]|\\.)+)(\))", re.DOTALL)
_AUTHOR_HEX: Final = re.compile(rb"(/Author\s*<)([0-9A-Fa-f\s]+)(>)")
_AUTHOR_LEFT: Final = re.compile(rb"/Author(?!\s*(?:\(\s*\)|<\s*>))")
_XMP: Final = re.compile(
    rb"(<(?:dc:creator|pdf:Author)>)(.*?)(</(?:dc:creator|pdf:Author)>)", re.DOTALL
)
_CLEANERS: Final = (
    (b"\xff\xd8", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"PK\x03\x04", _office),
    (b"%PDF-", _pdf),
)
