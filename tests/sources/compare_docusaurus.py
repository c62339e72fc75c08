"""Compares addresses, anchors and links with those that the real Docusaurus makes.

    python -m tests.sources.compare_docusaurus DIR

It installs Docusaurus from npm into DIR (some 400 MB, minutes) unless it is there, and builds.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from gateway.answering.grounding.links import absolute
from tests.sources.built import Built
from tests.sources.docusaurus_site import EXPECTED, FILES
from wiki.pages.targets import retarget
from wiki.sources.folder import Folder
from wiki.sources.source import Changed

SITE = "https://wiki.example.com/"
PACKAGES = {
    "@docusaurus/core": "^3.10.2",
    "@docusaurus/preset-classic": "^3.10.2",
    "@mdx-js/react": "^3",
    "react": "^19",
    "react-dom": "^19",
}


def main() -> None:
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    (place / "package.json").write_text(
        json.dumps({"name": "compared", "private": True, "dependencies": PACKAGES})
    )
    if not (place / "node_modules").is_dir():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=place, check=True)
    shutil.rmtree(place / "docs", ignore_errors=True)
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    subprocess.run(["npx", "docusaurus", "build", "--no-minify"], cwd=place, check=True)
    version = json.loads((place / "node_modules/@docusaurus/core/package.json").read_text())
    print(f"Docusaurus {version['version']}: {_differences(place)} differences")


def _differences(place: Path) -> int:
    count = 0
    pages = [one.page for one in Folder(place / "docs", SITE).read({}) if isinstance(one, Changed)]
    found = {}
    for page in pages:
        where = page.url.removeprefix(SITE)
        built = Built((place / "build" / unquote(where) / "index.html").read_text("utf-8"))
        theirs = [anchor for anchor, _ in built.headings if anchor not in ("", "footnote-label")]
        ours = [section.anchor for section in page.sections if section.anchor]
        links = {urljoin(page.url, link) for link in built.links}
        missing = {link for link in _links(absolute(page.text, page)) if link not in links}
        if ours != theirs or missing:
            count += 1
            print(f"{page.path}: {ours} is {theirs} on the site; links not there: {missing}")
        found[where] = theirs
    files = {file.parent for file in (place / "build" / "docs").rglob("index.html")}
    built_pages = {str(file.relative_to(place / "build")) for file in files} - {"docs/unlisted"}
    if built_pages != {unquote(urlsplit(page.url).path).strip("/") for page in pages}:
        count += 1
        print(f"pages: the site has {sorted(built_pages)}")
    if found != EXPECTED:
        count += 1
        print(f"EXPECTED is out of date: it is {found}")
    return count


def _links(text: str) -> list[str]:
    found: list[str] = []

    def note(target: str) -> str:
        if target.startswith(SITE) and "paper" not in target:
            found.append(target)
        return target

    retarget(text, note)
    return found


if __name__ == "__main__":
    main()
