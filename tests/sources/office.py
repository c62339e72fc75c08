"""Documents as other programs write them, made of the parts that matter."""

import io
import zipfile
from collections.abc import Mapping, Sequence

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
_SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def packed(files: Mapping[str, str | bytes]) -> bytes:
    """A ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _relations(**targets: str) -> str:
    """`rId1="slide slides/slide1.xml"`"""
    rows = "".join(
        f'<Relationship Id="{key}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for key, (kind, target) in ((key, value.split()) for key, value in targets.items())
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{rows}</Relationships>'


def docx(paragraphs: Sequence[tuple[str, str]], document_type: str = "") -> bytes:
    """A Word document of paragraphs, each with the name of its style."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="s{n}"><w:name w:val="{style}"/></w:style>'
        for n, (style, _) in enumerate(paragraphs)
    )
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="s{n}"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'
        for n, (_, text) in enumerate(paragraphs)
    )
    default = '<Default Extension="xml" ContentType="x"/>'
    types = f'<Types xmlns="{_PACKAGE}/content-types">{default}</Types>'
    return packed(
        {
            "[Content_Types].xml": types,
            "_rels/.rels": _relations(r1="officeDocument word/document.xml"),
            "word/_rels/document.xml.rels": _relations(r1="styles styles.xml"),
            "word/styles.xml": f'<w:styles xmlns:w="{_WORD}">{styles}</w:styles>',
            "word/document.xml": f"{document_type}"
            f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
        }
    )


def pptx(title: str, lines: Sequence[str], notes: str) -> bytes:
    """A presentation of one slide."""
    names = f'xmlns:a="{_DRAWING}" xmlns:p="{_SLIDES}" xmlns:r="{_RELATIONS}"'

    def shape(kind: str, texts: Sequence[str]) -> str:
        text = "".join(f"<a:p><a:r><a:t>{one}</a:t></a:r></a:p>" for one in texts)
        place = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
        return f"<p:sp>{place}<p:txBody>{text}</p:txBody></p:sp>"

    slide = shape("title", [title]) + shape("body", lines) + shape("sldNum", ["1"])
    return packed(
        {
            "ppt/presentation.xml": f"<p:presentation {names}><p:sldIdLst>"
            '<p:sldId id="256" r:id="r1"/></p:sldIdLst></p:presentation>',
            "ppt/_rels/presentation.xml.rels": _relations(r1="slide slides/slide1.xml"),
            "ppt/slides/slide1.xml": f"<p:sld {names}>{slide}</p:sld>",
            "ppt/slides/_rels/slide1.xml.rels": _relations(r1="notesSlide ../notesSlides/n1.xml"),
            "ppt/notesSlides/n1.xml": f"<p:notes {names}>{shape('body', [notes])}</p:notes>",
        }
    )


def xlsx(rows: Sequence[Sequence[str]], corner: str = "") -> bytes:
    """A workbook of the sheet "Prices"; `corner` names a cell far away that is filled, too."""
    cells = "".join(
        f'<row r="{n}">'
        + "".join(
            f'<c r="{letter}{n}" t="inlineStr"><is><t>{cell}</t></is></c>'
            for letter, cell in zip("ABCDEFGH", row, strict=False)
        )
        + "</row>"
        for n, row in enumerate(rows, 1)
    )
    if corner:
        cells += f'<row><c r="{corner}" t="inlineStr"><is><t>far</t></is></c></row>'
    return packed(
        {
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>',
            "_rels/.rels": _relations(r1="officeDocument xl/workbook.xml"),
            "xl/_rels/workbook.xml.rels": _relations(r1="worksheet worksheets/s1.xml"),
            "xl/workbook.xml": f'<workbook xmlns="{_SHEETS}" xmlns:r="{_RELATIONS}"><sheets>'
            '<sheet name="Prices" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/worksheets/s1.xml": f'<worksheet xmlns="{_SHEETS}"><sheetData>{cells}</sheetData>'
            "</worksheet>",
        }
    )


def epub(title: str, chapters: Mapping[str, str]) -> bytes:
    """A book of chapters: name and body."""
    items = "".join(f'<item id="c{n}" href="{name}"/>' for n, name in enumerate(chapters))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    return packed(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": "<container><rootfiles>"
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": "<package><metadata><title>"
            f"{title}</title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{
                f"OEBPS/{name}": f"<html><head><title>x</title></head><body>{body}</body></html>"
                for name, body in chapters.items()
            },
        }
    )


def pdf(
    pages: Sequence[str], outline: Sequence[tuple[str, int]] = (), picture: bool = False
) -> bytes:
    """A PDF of pages, with entries of an outline: text, and number of the page from 0.

    A page without text has a picture where `picture` says so.
    """
    objects = ["<< /Type /Catalog /Pages 2 0 R /Outlines 3 0 R >>", "", ""]
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    image = "<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray"
    image += " /BitsPerComponent 8 /Length 1 >>\nstream\nx\nendstream"
    objects += [font, image]
    kids = []
    for text in pages:
        lines = " ".join(f"({line}) Tj T*" for line in text.split("\n"))
        drawn = f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET"
        if picture and not text:
            drawn = "q 500 0 0 700 0 0 cm /I Do Q"
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources"
            f" << /Font << /F1 4 0 R >> /XObject << /I 5 0 R >> >> /Contents {len(objects)} 0 R >>"
        )
        kids.append(len(objects))
    shown = " ".join(f"{kid} 0 R" for kid in kids)
    objects[1] = f"<< /Type /Pages /Kids [{shown}] /Count {len(kids)} >>"
    first = len(objects) + 1
    for n, (text, page) in enumerate(outline):
        then = f"/Next {first + n + 1} 0 R" if n + 1 < len(outline) else ""
        objects.append(
            f"<< /Title ({text}) /Parent 3 0 R {then} /Dest [{kids[page]} 0 R /XYZ 0 792 0] >>"
        )
    last = f"/First {first} 0 R /Last {len(objects)} 0 R /Count {len(outline)}" if outline else ""
    objects[2] = f"<< /Type /Outlines {last} >>"
    out = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    return (
        out
        + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n".encode()
        + f"<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n".encode()
    )


def nested_forms(levels: int) -> bytes:
    """A PDF of a form that draws another one nine times, which draws another one nine times..."""
    kids = "".join(
        f"{n + 4} 0 obj\n<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject"
        f" << /F {n + 5} 0 R >> >> /Length 45 >>\nstream\n{'/F Do' * 9}\nendstream\nendobj\n"
        for n in range(levels)
    )
    last = levels + 4
    return (
        "%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
        "2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n"
        "3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R"
        " /Resources << /XObject << /F 4 0 R >> >> >>\nendobj\n"
        f"{kids}{last} 0 obj\n<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Length 0 >>\n"
        "stream\n\nendstream\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
    ).encode()
