"""`askdocs docs`: manage the indexed wikis and their pages.

They work on the index itself, whether or not a gateway runs; a running one sees every change
within two seconds.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

from askdocs.commands import docs_audit
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state import audit, database, home
from askdocs.supervision import status
from askdocs.terminal.bar import Bar
from askdocs.wikis import search as finding
from askdocs.wikis.index import ago, index_file, vectors
from askdocs.wikis.sync import Job, waiting
from core.errors import AskdocsError
from core.settings import load
from core.tasks import Failures
from gateway.runtime.index_keeper import alone, database_url, is_shared, opening
from gateway.settings import GatewaySettings
from gateway.upstream.engine import Engine
from wiki.index import embed
from wiki.index.index import Index, writing
from wiki.index.missing import embed_missing
from wiki.index.replica import refresh
from wiki.index.store import APPROVED, NoIndex, older_sources
from wiki.search import glossary_table, models
from wiki.search.config import SearchSettings
from wiki.sources import excluded
from wiki.sources.excluded import exclude
from wiki.sources.spec import Spec

if TYPE_CHECKING:
    from wiki.index.rows import StoredSource
    from wiki.index.writer import Writer
    from wiki.pages.page import Page
    from wiki.search.search import Search
    from wiki.sources.sync import Writing

app = typer.Typer(
    help="Manage the wikis that answers are based on, and their pages.", no_args_is_help=True
)
SourceArgument = Annotated[
    str | None, typer.Argument(help="Folder or address of a wiki (default: every known wiki).")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, and write nothing.")
]
PageArgument = Annotated[
    str, typer.Argument(metavar="PATH|URL", help="The page's path or address.")
]


@app.command()
def sync(
    source: SourceArgument = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="mkdocs, docusaurus, gitbook, vitepress, obsidian, html, site, git, "
            "confluence, mediawiki, notion, github or gitlab (default: detected)."
        ),
    ] = None,
    site_url: Annotated[
        str | None,
        typer.Option(help="Public address of a folder's pages, for links in answers."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep running, and sync every change.")
    ] = False,
    dry_run: DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Synchronise the index with a wiki."""
    with _dry(home_dir) if dry_run else nullcontext(_writing(home_dir)) as writing:
        specs = _specs(home_dir, source, kind, site_url)
        job = Job(partial(_noting, home_dir, writing), dry_run, as_json, _embed(home_dir))
        if watch:
            job.watch(specs, Failures(home.find(home_dir).root, "sync"))
        elif code := job.once(specs):
            raise typer.Exit(code)


@app.command("list")
def show_pages(
    source: Annotated[str | None, typer.Option(help="Only the pages of this wiki.")] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every page with its address, by wiki."""
    with _opened(home_dir) as index:
        pages = list(_by_source(index, source))
    if as_json:
        rows = [
            {"source": stored.name, "path": page.path, "title": page.title, "url": page.url}
            for stored, page in pages
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    last = None
    for stored, page in pages:
        if stored.name != last:
            print(stored.name)
            last = stored.name
        print(f"  {page.path}  {page.title}\n    {page.url}")
    if not pages:
        print("no pages: add a wiki with `askdocs docs sync SOURCE`")


@app.command()
def show(
    name: PageArgument,
    readers: Annotated[
        bool,
        typer.Option(
            "--readers", help="Who may read it, who could in the past, and whose answers showed it."
        ),
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an indexed page: its sections, with the address of each; or its readers."""
    if readers:
        _show_readers(name, home_dir, as_json)
        return
    with _opened(home_dir) as index:
        page = _page(index, name)
    tokens = _tokens(page, home_dir)
    if as_json:
        print(json.dumps(_facts(page, tokens), indent=2, ensure_ascii=False))
        return
    print(f"{page.title}\n{page.url}\n{page.path}{_counted(sum(tokens)) if tokens else ''}\n")
    for number, section in enumerate(page.sections):
        depth = "  " * max(0, len(section.path) - 1)
        size = _counted(tokens[number]) if tokens else ""
        print(f"{depth}{section.heading or '(above the first heading)'}{size}")
        print(f"{depth}  {page.section_url(section)}")


@app.command()
def search(
    question: Annotated[str, typer.Argument(help="The question.")],
    page_url: Annotated[
        str | None, typer.Option(help="Address of the wiki page that the reader is on.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of pages to show.")] = 5,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Show why each page was found and who may read it, as --json does."
        ),
    ] = False,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Search as a member of these groups, separated by commas; empty: of no "
            "group (default: as a reader of all pages)."
        ),
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the pages for a question with their scores, without asking the model."""
    with _opened(home_dir) as index:
        search, reader = _search(index, home_dir), finding.reader(groups)
        result = finding.find(search, question, page_url, limit, reader)
    if as_json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return
    for words in result["also_searched"] if explain else ():
        print(f"also searched for: {words}")
    for page in result["pages"]:
        section = f" › {page['section']}" if page["section"] else ""
        print(f"{page['score']:.3f}  {page['title']}{section}\n       {page['url']}")
        if explain:
            print(f"       {finding.explained(page['why'])}")
            print(f"       readers: {page['readers']}")
    if result["refused"]:
        print("docs would refuse: no page answers it")


@app.command()
def remove(
    name: Annotated[
        str,
        typer.Argument(metavar="SOURCE|PATH", help="A wiki, or the path or address of a page."),
    ],
    undo: Annotated[
        bool, typer.Option("--undo", help="Include an excluded page again; needs its path.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    dry_run: DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Exclude a wiki or one page from answers; a page stays excluded until --undo."""
    if undo:
        _restore(name, home_dir, as_json)
        return
    with _opened(home_dir) as index:
        source = _source(index, name)
        path = None
        if source is None:
            source, path = _where(index, name)
        if source.name == APPROVED:
            raise AskdocsError(f"{name} is an approved answer: withdraw it in the review")
        count = index.count(source.name) if path is None else 1
    what = f"{path} of {source.name}" if path else f"{source.name} with its {count:,} pages"
    if not (yes or dry_run):
        typer.confirm(f"Exclude {what} from answers?", abort=True, err=True)
    if not dry_run:
        audit.note(home_dir, "docs.remove", path or source.name, wiki=source.name, pages=count)
        with _writing(home_dir)() as writer:
            if path is None:
                writer.remove_source(source.name)
            else:
                exclude(writer, source, path)
    if as_json:
        facts = {"source": source.name, "path": path, "pages": count, "changed": not dry_run}
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    elif dry_run:
        print(f"would exclude {what} from answers (dry run: nothing was changed)")
    else:
        back = f"remove {path} --undo" if path else f"sync {source.name}"
        print(f"excluded {what} from answers; undo this with `askdocs docs {back}`")


def _restore(path: str, home_dir: Path | None, as_json: bool) -> None:
    """Include a page again that was excluded. Raises AskdocsError: it was not."""
    with _opened(home_dir) as index:
        sources = [wiki for wiki in index.sources() if path in excluded.excluded(wiki.spec)]
    if not sources:
        raise AskdocsError(f"{path} is not excluded: `askdocs docs stats` lists the excluded pages")
    audit.note(home_dir, "docs.restore", path, wikis=[source.name for source in sources])
    writing = _writing(home_dir)
    with writing() as writer:
        for source in sources:
            excluded.restore(writer, source, path)
    job = Job(writing, dry_run=False, as_json=as_json, after=_embed(home_dir))
    if code := job.once([Spec.remembered(source.name, source.spec) for source in sources]):
        raise typer.Exit(code)


@app.command()
def stats(home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show wikis, pages, embeddings, the last sync and the pages it could not read."""
    facts = status.index(index_file(home_dir))
    with _opened(home_dir) as index:
        facts["sections"] = sum(len(page.sections) for page in index.pages())
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for source in facts["sources"]:
        print(f"{source['name']}  ({source['kind'] or 'folder'})")
        when = source["synced"] or "never completed"
        past = f" ({ago(source['age_seconds'])} ago)" if source["synced"] else ""
        print(f"  {source['pages']:,} pages, last sync {when}{past}")
        if failing := source["failing"]:
            print(f"  cannot be read since {failing['since']}: {failing['why']}")
        for path in source["excluded"]:
            print(f"  excluded by hand: {path}")
        for problem in source["problems"]:
            since = source["since"].get(problem.partition(": ")[0])
            print(f"  not read{f' since {since}' if since else ''}: {problem}")
        for why, count in source["left_out"]["reasons"].items():
            print(f"  left out: {why} ({count:,})")
    if not facts["sources"]:
        print("no wiki: add one with `askdocs docs sync SOURCE`")
    print(f"pages     {facts['pages']:,} with {facts['sections']:,} sections")
    print(f"vectors   {vectors(facts['vectors'])}")
    print(f"index     {facts['bytes'] / 1e6:,.1f} MB, {facts['file']}")


def _show_readers(page: str, home_dir: Path | None, as_json: bool) -> None:
    """Who may read a page, who could read it in the past, and whose answers showed it."""
    with _opened(home_dir) as index, database.opened(home_dir) as engine:
        there = index.by_url(page) if "://" in page else index.by_path(page)
        url = there.url if there else page.partition("#")[0]
        facts = docs_audit.audit(index, engine, url, there)
    if not docs_audit.is_known(facts):
        raise _no_page(page)
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        docs_audit.show(facts)


def _writing(home_dir: Path | None) -> "Writing":
    return opening(load(GatewaySettings), index_file(home_dir), waiting)


@contextmanager
def _noting(home_dir: Path | None, writing: "Writing") -> "Iterator[Writer]":
    """Writes a line about each wiki that is new, before it counts: without the line it does not."""
    with writing() as writer:
        known = {source.name for source in writer.sources()}
        yield writer
        for source in writer.sources():
            if source.name not in known:
                pages = len(writer.known(source.name))
                audit.note(home_dir, "docs.add", source.name, pages=pages)


def _search(index: "Index", home_dir: Path | None) -> "Search":
    """With the models of the settings, and with the team's own words."""
    search = models.open_search(index, load(GatewaySettings), load(SearchSettings), embed.load())
    with database.opened(home_dir) as engine:
        glossary_table.follow(search.glossary, engine)
    return search


def _embed(home_dir: Path | None) -> "Callable[[Bar], None]":
    """Works out the vectors that are missing, unless a gateway does."""
    index, writing = index_file(home_dir), _writing(home_dir)
    described = models.describe(load(SearchSettings))

    def work(bar: "Bar") -> None:
        with alone(index) as mine:
            if not mine:
                return
            embedder = models.open_embedder(described, load(GatewaySettings), embed.load())
            if embedder:
                embed_missing(writing, embedder, partial(bar.show, "vectors of"), described)

    return work


@contextmanager
def _dry(home_dir: Path | None) -> Iterator["Writing"]:
    """The index where there is one, else a temporary empty one."""
    if _is_there(home_dir):
        yield _writing(home_dir)
        return
    with TemporaryDirectory() as folder:
        yield partial(writing, Path(folder) / "index.db")


def _is_there(home_dir: Path | None) -> bool:
    try:
        with _opened(home_dir):
            return True
    except NoIndex:
        return False


@contextmanager
def _opened(home_dir: Path | None) -> Iterator["Index"]:
    """Raises AskdocsError: there is no index yet."""
    settings = load(GatewaySettings)
    if is_shared(settings):
        refresh(index_file(home_dir), database_url(settings))
    index = Index(index_file(home_dir))
    try:
        yield index
    finally:
        index.close()


def _remembered(home_dir: Path | None) -> dict[str, "Spec"]:
    """The known wikis, also those of an index that an older askdocs made."""
    specs: dict[str, Mapping[str, Any]]
    try:
        with _opened(home_dir) as index:
            specs = {source.name: source.spec for source in index.sources()}
    except NoIndex:
        specs = {**older_sources(index_file(home_dir))}
    return {name: Spec.remembered(name, spec) for name, spec in specs.items() if name != APPROVED}


def _specs(
    home_dir: Path | None, name: str | None, kind: str | None, site_url: str | None
) -> list["Spec"]:
    """The wikis to sync: the one that is named, as it was read before unless said otherwise."""
    known = _remembered(home_dir)
    if name is None:
        if kind or site_url:
            raise AskdocsError("--kind and --site-url apply to one wiki: name it")
        if not known:
            raise AskdocsError("the index has no wiki yet: add one with `askdocs docs sync SOURCE`")
        return list(known.values())
    before = known.get(Spec.named(name, kind).place)
    if before is not None:
        # A site of its own is not the one that `askdocs up` shows.
        remembered = None if before.kind == "preview" and site_url else before.kind
        kind, site_url = kind or remembered, site_url or before.site_url
    elif site_url is None:
        settings = load(GatewaySettings)
        site_url = settings.site_url if "site_url" in settings.model_fields_set else ""
    return [Spec.named(name, kind, site_url)]


def _by_source(index: "Index", only: str | None = None) -> Iterator[tuple["StoredSource", "Page"]]:
    """Raises AskdocsError: the wiki is not known."""
    chosen = _known(index, only) if only is not None else None
    with index.snapshot():
        pages = iter(index.pages())
        for stored in index.sources():
            for page in islice(pages, index.count(stored.name)):
                if chosen is None or stored.name == chosen.name:
                    yield stored, page


def names_of(sources: list[str], home_dir: Path | None) -> tuple[str, ...]:
    """The names of wikis in the index. Raises AskdocsError: one is not there."""
    with _opened(home_dir) as index:
        return tuple(_known(index, name).name for name in sources)


def _known(index: "Index", name: str) -> "StoredSource":
    """Raises AskdocsError: the wiki is not known."""
    if (source := _source(index, name)) is None:
        known = ", ".join(stored.name for stored in index.sources()) or "none"
        raise AskdocsError(f"--source {name}: not a wiki of the index; it has {known}")
    return source


def _source(index: "Index", name: str) -> "StoredSource | None":
    """The wiki of that name, however its folder is written."""
    names = (name, os.path.abspath(name))
    return next((source for source in index.sources() if source.name in names), None)


def _where(index: "Index", name: str) -> tuple["StoredSource", str]:
    """The wiki and the path of a page. Raises AskdocsError: none, or several."""
    bare = name.split("#")[0]
    matches = [
        (stored, page.path) for stored, page in _by_source(index) if bare in (page.path, page.url)
    ]
    if not matches:
        raise _no_page(name)
    if len(matches) > 1:
        names = ", ".join(stored.name for stored, _ in matches)
        raise AskdocsError(f"{name} is a page of several wikis, {names}: give its address")
    return matches[0]


def _page(index: "Index", name: str) -> "Page":
    page = index.by_url(name) if "://" in name else index.by_path(name)
    if page is None:
        raise _no_page(name)
    return page


def _no_page(name: str) -> AskdocsError:
    return AskdocsError(
        f"{name}: the index has no such page; `askdocs docs list` lists paths and addresses"
    )


def _facts(page: "Page", tokens: list[int] | None) -> dict[str, Any]:
    return {
        "path": page.path,
        "title": page.title,
        "url": page.url,
        "tokens": sum(tokens) if tokens else None,
        "sections": [
            {
                "heading": section.heading,
                "anchor": section.anchor,
                "path": list(section.path),
                "url": page.section_url(section),
                "tokens": tokens[number] if tokens else None,
                "text": section.text,
            }
            for number, section in enumerate(page.sections)
        ],
    }


def _tokens(page: "Page", home_dir: Path | None) -> list[int] | None:
    """Of each section, by the tokenizer of the engine that runs; None where none does."""

    async def counted(url: str) -> list[int]:
        engine = Engine(url)
        try:
            return await engine.counts([section.text for section in page.sections])
        finally:
            await engine.close()

    try:
        running = status.read(home.find(home_dir))
        # One that was not started here may want a key, which is the gateway's to know.
        return asyncio.run(counted(running.engine_url)) if running.processes["engine"] else None
    except (AskdocsError, httpx.HTTPError, KeyError):
        return None


def _counted(tokens: int) -> str:
    return f"  {tokens:,} tokens"
