"""Letters, sheets and slides that Word, Excel, PowerPoint and LibreOffice open."""

from __future__ import annotations

import struct
from typing import Final

from biso_tasks.files.placeholders.archives import archive
from biso_tasks.files.placeholders.words import TEXT

__all__ = ["excel_4", "open_drawing", "open_sheet", "open_slides", "open_text", "sheet", "slides",
           "word"]  # fmt: skip

_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_OPENXML: Final = "http://schemas.openxmlformats.org"
_PARTS: Final = "vnd.openxmlformats-officedocument"
_OFFICE: Final = "urn:oasis:names:tc:opendocument:xmlns"


def _types(part: str, kind: str, *more: tuple[str, str]) -> tuple[str, str]:
    overrides = "".join(
        f'<Override PartName="{name}" ContentType="application/{content}+xml"/>'
        for name, content in ((part, kind), *more)
    )
    return (
        "[Content_Types].xml",
        f'{_XML}<Types xmlns="{_OPENXML}/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
    )


def _relations(file: str, *targets: tuple[str, str]) -> tuple[str, str]:
    kinds = f"{_OPENXML}/officeDocument/2006/relationships"
    each = "".join(
        f'<Relationship Id="rId{number}" Type="{kinds}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, 1)
    )
    return (
        file,
        f'{_XML}<Relationships xmlns="{_OPENXML}/package/2006/relationships">{each}'
        "</Relationships>",
    )


def word(kind: str) -> bytes:
    return archive(
        _types("/word/document.xml", kind),
        _relations("_rels/.rels", ("officeDocument", "word/document.xml")),
        (
            "word/document.xml",
            f'{_XML}<w:document xmlns:w="{_OPENXML}/wordprocessingml/2006/main"><w:body><w:p>'
            f"<w:r><w:t>{TEXT}</w:t></w:r></w:p></w:body></w:document>",
        ),
    )


def sheet(kind: str) -> bytes:
    main = f"{_OPENXML}/spreadsheetml/2006/main"
    relations = f"{_OPENXML}/officeDocument/2006/relationships"
    return archive(
        _types(
            "/xl/workbook.xml",
            kind,
            ("/xl/worksheets/sheet1.xml", f"{_PARTS}.spreadsheetml.worksheet"),
        ),
        _relations("_rels/.rels", ("officeDocument", "xl/workbook.xml")),
        (
            "xl/workbook.xml",
            f'{_XML}<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="{TEXT}" '
            'sheetId="1" r:id="rId1"/></sheets></workbook>',
        ),
        _relations("xl/_rels/workbook.xml.rels", ("worksheet", "worksheets/sheet1.xml")),
        (
            "xl/worksheets/sheet1.xml",
            f'{_XML}<worksheet xmlns="{main}"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>'
            f"{TEXT}</t></is></c></row></sheetData></worksheet>",
        ),
    )


def _open_document(mime: str, body: str) -> bytes:
    kind = f"application/vnd.oasis.opendocument.{mime}"
    return archive(
        ("mimetype", kind),
        (
            "META-INF/manifest.xml",
            f'{_XML}<manifest:manifest xmlns:manifest="{_OFFICE}:manifest:1.0" '
            f'manifest:version="1.2"><manifest:file-entry manifest:full-path="/" '
            f'manifest:media-type="{kind}"/><manifest:file-entry '
            'manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>',
        ),
        (
            "content.xml",
            f'{_XML}<office:document-content xmlns:office="{_OFFICE}:office:1.0" '
            f'xmlns:text="{_OFFICE}:text:1.0" xmlns:table="{_OFFICE}:table:1.0" '
            f'xmlns:draw="{_OFFICE}:drawing:1.0" '
            f'office:version="1.2"><office:body>{body}</office:body></office:document-content>',
        ),
    )


def open_text(kind: str) -> bytes:
    return _open_document(kind, f"<office:text><text:p>{TEXT}</text:p></office:text>")


def open_sheet(kind: str) -> bytes:
    return _open_document(
        kind,
        f'<office:spreadsheet><table:table table:name="{TEXT}"><table:table-row><table:table-cell '
        f'office:value-type="string"><text:p>{TEXT}</text:p></table:table-cell></table:table-row>'
        "</table:table></office:spreadsheet>",
    )


def slides(kind: str) -> bytes:
    """A master with one layout, a theme and one slide: PowerPoint opens nothing that has less."""
    space = " ".join(
        f'xmlns:{short}="{_OPENXML}/{name}/2006/{last}"'
        for short, name, last in (
            ("a", "drawingml", "main"),
            ("r", "officeDocument", "relationships"),
            ("p", "presentationml", "main"),
        )
    )

    def drawn(words: str) -> str:
        body = f"<p:txBody><a:bodyPr/><a:p><a:r><a:t>{words}</a:t></a:r></a:p></p:txBody>"
        place = '<a:xfrm><a:off x="0" y="0"/><a:ext cx="3000000" cy="600000"/></a:xfrm>'
        shape = (
            '<p:sp><p:nvSpPr><p:cNvPr id="2" name="1"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr>'
            f'{place}<a:prstGeom prst="rect"><a:avLst/></a:prstGeom></p:spPr>{body}</p:sp>'
        )
        return (
            '<p:cSld><p:spTree><p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/>'
            f"</p:nvGrpSpPr><p:grpSpPr/>{shape if words else ''}</p:spTree></p:cSld>"
        )

    def part(name: str, root: str, body: str) -> tuple[str, str]:
        return f"ppt/{name}", f"{_XML}<p:{root} {space}>{body}</p:{root}>"

    kept = "<p:clrMapOvr><a:masterClrMapping/></p:clrMapOvr>"
    colours = " ".join(f'accent{n}="accent{n}"' for n in range(1, 7))
    map_ = f'<p:clrMap bg1="lt1" tx1="dk1" bg2="lt2" tx2="dk2" {colours} hlink="hlink" '
    names = ("slideMaster", "slideLayout", "slide")
    parts = [(f"/ppt/{one}s/{one}1.xml", f"{_PARTS}.presentationml.{one}") for one in names]
    return archive(
        _types("/ppt/presentation.xml", kind, *parts, ("/ppt/theme/theme1.xml", f"{_PARTS}.theme")),
        _relations("_rels/.rels", ("officeDocument", "ppt/presentation.xml")),
        part(
            "presentation.xml",
            "presentation",
            '<p:sldMasterIdLst><p:sldMasterId id="2147483648" r:id="rId1"/></p:sldMasterIdLst>'
            '<p:sldIdLst><p:sldId id="256" r:id="rId2"/></p:sldIdLst>'
            '<p:sldSz cx="9144000" cy="6858000"/><p:notesSz cx="6858000" cy="9144000"/>',
        ),
        _relations(
            "ppt/_rels/presentation.xml.rels",
            ("slideMaster", "slideMasters/slideMaster1.xml"),
            ("slide", "slides/slide1.xml"),
            ("theme", "theme/theme1.xml"),
        ),
        part(
            "slideMasters/slideMaster1.xml",
            "sldMaster",
            f'{drawn("")}{map_}folHlink="folHlink"/><p:sldLayoutIdLst><p:sldLayoutId '
            'id="2147483649" r:id="rId1"/></p:sldLayoutIdLst>',
        ),
        _relations(
            "ppt/slideMasters/_rels/slideMaster1.xml.rels",
            ("slideLayout", "../slideLayouts/slideLayout1.xml"),
            ("theme", "../theme/theme1.xml"),
        ),
        part("slideLayouts/slideLayout1.xml", "sldLayout", drawn("") + kept),
        _relations(
            "ppt/slideLayouts/_rels/slideLayout1.xml.rels",
            ("slideMaster", "../slideMasters/slideMaster1.xml"),
        ),
        part("slides/slide1.xml", "sld", drawn(TEXT) + kept),
        _relations(
            "ppt/slides/_rels/slide1.xml.rels",
            ("slideLayout", "../slideLayouts/slideLayout1.xml"),
        ),
        ("ppt/theme/theme1.xml", _theme()),
    )


def _theme() -> str:
    light = ("lt1", "lt2")
    accents = (f"accent{n}" for n in range(1, 7))
    names = ("dk1", "lt1", "dk2", "lt2", *accents, "hlink", "folHlink")
    colours = "".join(
        f'<a:{one}><a:srgbClr val="{"FFFFFF" if one in light else "404040"}"/></a:{one}>'
        for one in names
    )
    font = '<a:latin typeface="Arial"/><a:ea typeface=""/><a:cs typeface=""/>'
    fill = '<a:solidFill><a:schemeClr val="phClr"/></a:solidFill>'
    effect = "<a:effectStyle><a:effectLst/></a:effectStyle>"
    return (
        f'{_XML}<a:theme xmlns:a="{_OPENXML}/drawingml/2006/main" name="{TEXT}"><a:themeElements>'
        f'<a:clrScheme name="1">{colours}</a:clrScheme><a:fontScheme name="1"><a:majorFont>{font}'
        f"</a:majorFont><a:minorFont>{font}</a:minorFont></a:fontScheme>"
        f'<a:fmtScheme name="1"><a:fillStyleLst>{fill * 3}</a:fillStyleLst><a:lnStyleLst>'
        f"{f'<a:ln>{fill}</a:ln>' * 3}</a:lnStyleLst><a:effectStyleLst>{effect * 3}"
        f"</a:effectStyleLst><a:bgFillStyleLst>{fill * 3}</a:bgFillStyleLst></a:fmtScheme>"
        "</a:themeElements></a:theme>"
    )


def open_slides(kind: str) -> bytes:
    page = f'<draw:page draw:name="{TEXT}" draw:master-page-name="Default"/>'
    return _open_document(kind, f"<office:presentation>{page}</office:presentation>")


def open_drawing(kind: str) -> bytes:
    page = f'<draw:page draw:name="{TEXT}" draw:master-page-name="Default"/>'
    return _open_document(kind, f"<office:drawing>{page}</office:drawing>")


def excel_4() -> bytes:
    """A sheet as Excel 4 wrote it, which needs no compound file around it: one cell of text."""
    text = TEXT.encode()
    label = struct.pack("<HHHH", 0, 0, 0, len(text)) + text
    begin = (0x409, struct.pack("<HHH", 0, 0x10, 0))
    records = (begin, (0x42, struct.pack("<H", 1252)), (0x204, label), (0x0A, b""))
    return b"".join(struct.pack("<HH", kind, len(body)) + body for kind, body in records)
