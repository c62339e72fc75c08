"""Word documents (DOCX), read by mammoth, which keeps headings, lists, tables and links."""

import html
import io

import mammoth

from wiki.pages.page import Page
from wiki.sources import html as pages
from wiki.sources import sections
from wiki.sources.documents.archive import Archive
from wiki.sources.documents.made import without_anchors

# The document's title becomes the page's; Word's first heading level comes below it.
_STYLES = "\n".join(
    [
        "p[style-name='Title'] => h1:fresh",
        "p[style-name='Subtitle'] => p:fresh",
        *(
            f"p[style-name='{name} {level}'] => h{min(6, level + 1)}:fresh"
            for name in ("Heading", "heading")
            for level in range(1, 7)
        ),
        "p[style-name='Code'] => pre:separator('\\n')",
    ]
)


def page(data: bytes, path: str, url: str) -> Page:
    """Read a document. Raises ValueError: it is invalid."""
    archive = Archive(data)
    archive.refuse_document_types()
    converted = mammoth.convert_to_html(
        io.BytesIO(data),
        style_map=_STYLES,
        convert_image=mammoth.images.img_element(lambda _: {"src": ""}),
        external_file_access=False,
    )
    title = html.escape(sections.name(path))
    whole = f"<!doctype html><title>{title}</title><body><main>{converted.value}</main>"
    return without_anchors(pages.page(whole, path, url))
