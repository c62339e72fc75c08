"""A hook for MkDocs: a wiki without a front page gets one that lists its pages."""

import re
from urllib.parse import quote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """https://www.mkdocs.org/dev-guide/plugins/#on_files"""
    if not any(file.url == "./" for file in files.documentation_pages()):
        files.append(File.generated(config, "index.md", content=_list(files, config)))
    return files


def _list(files: Files, config: MkDocsConfig) -> str:
    lines = [f"# {config.site_name}", ""]
    for file in sorted(files.documentation_pages(), key=lambda f: f.src_uri):
        page = Page(None, file, config)
        page.read_source(config)
        title = str(page.meta.get("title") or page.title or file.name)
        lines.append(f"- [{_link_text(title)}]({quote(file.src_uri)})")
    return "\n".join(lines)


def _link_text(title: str) -> str:
    """Brackets would end the link, and a tag that is named would be one; code is as it is."""
    title = title.replace("[", "(").replace("]", ")")
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", title)
