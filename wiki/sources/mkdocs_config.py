"""The settings in mkdocs.yml that affect addresses and anchors. None of its code is run."""

import importlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from wiki.sources import safe_yaml
from wiki.sources.js_config import LARGEST
from wiki.sources.within import Bounds, Outside

NAMES = ("mkdocs.yml", "mkdocs.yaml")
# Extensions are code: these are supported, because they are part of this program. `abbr` and the
# like are short for `markdown.extensions.abbr`.
_OURS = re.compile(
    r"(?:markdown\.extensions\.)?(?:abbr|admonition|attr_list|codehilite|def_list|extra|fenced_code"
    r"|footnotes|legacy_attrs|legacy_em|md_in_html|meta|nl2br|sane_lists|smarty|tables|toc"
    r"|wikilinks)|pymdownx\.[a-z.]+|wiki\.sources\.fences"
)
# Functions that mkdocs.yml may refer to, with `!!python/name:` or `!!python/object/apply:`.
_FUNCTIONS = re.compile(
    r"markdown\.extensions\.toc\.slugify(?:_unicode)?|pymdownx\.slugs\.\w+"
    r"|material\.extensions\.emoji\.(?:twemoji|to_svg)|pymdownx\.emoji\.\w+"
)

# Features of Material that affect the navigation.
_NAVIGATION = (
    *("navigation.tabs", "navigation.tabs.sticky", "navigation.sections", "navigation.expand"),
    *("navigation.path", "navigation.prune", "navigation.top", "navigation.footer"),
    *("search.highlight", "search.suggest"),
)
# `javascript:` can also be hidden with a character reference, such as `&colon;`.
_LINK = re.compile(r"""(?:https?://|mailto:)[^\s"'<>]++|(?:[^:"<>&\s]|[ ](?!$)|&(?!#|\w++;))++""")


@dataclass(frozen=True)
class MkDocsConfig:
    """The relevant settings of mkdocs.yml, with MkDocs' defaults."""

    file: Path | None = None
    docs_dir: Path | None = None
    site_url: str = ""
    use_directory_urls: bool = True
    exclude: tuple[str, ...] = ()
    """Patterns, as in .gitignore, of unpublished pages."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """The titles of pages in `nav`, by path."""
    extensions: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    snippets: Mapping[str, Any] | None = None
    """The options of pymdownx.snippets, with absolute base paths; None if it is off."""
    problems: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """The settings that affect pages."""
        return repr([self.extensions, _stable(self.options), _stable(self.snippets)])


def _stable(value: Any) -> Any:
    """Converts the value to a form that is the same in every process."""
    if isinstance(value, Mapping):
        return [(key, _stable(entry)) for key, entry in value.items()]
    if isinstance(value, partial):
        return [_stable(value.func), value.args, value.keywords]
    return getattr(value, "__qualname__", value)


def default(docs: Path) -> MkDocsConfig:
    """The settings of a folder without mkdocs.yml: those of the site that `askdocs up` builds."""
    return _with_extensions(MkDocsConfig(docs_dir=docs), extensions(docs), docs)


def extensions(docs: Path) -> list[str | dict[str, dict[str, Any]]]:
    """The Markdown extensions of such a site, in the format of mkdocs.yml."""
    return [
        *("abbr", "admonition", "attr_list", "def_list", "footnotes", "md_in_html", "tables"),
        *("pymdownx.details", "wiki.sources.fences"),
        {"pymdownx.snippets": {"base_path": [str(docs.absolute())]}},
        {"pymdownx.tabbed": {"alternate_style": True}},
        {"toc": {"permalink": True}},
    ]


def docs_dir(file: Path, bounds: Bounds) -> Path:
    """The folder of the pages of a mkdocs.yml; the default if it cannot be read."""
    try:
        return load(file, bounds).docs_dir or file.parent / "docs"
    except (OSError, ValueError):
        return file.parent / "docs"


def load(file: Path, bounds: Bounds) -> MkDocsConfig:
    """The settings in mkdocs.yml, and in the files within `bounds` that it inherits from.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not YAML, or no mapping.
    """
    settings = _read(file, bounds)
    docs = settings.get("docs_dir")
    exclude = settings.get("exclude_docs")
    drafts = settings.get("draft_docs")
    site_url = settings.get("site_url")
    config = MkDocsConfig(
        file=file,
        docs_dir=file.parent / (docs if isinstance(docs, str) else "docs"),
        site_url=site_url if isinstance(site_url, str) else "",
        use_directory_urls=settings.get("use_directory_urls") is not False,
        exclude=tuple(
            line
            for patterns in (drafts, exclude)
            if isinstance(patterns, str)
            for line in patterns.splitlines()
        ),
        titles=dict(_titles(settings.get("nav"))),
    )
    listed = settings.get("markdown_extensions")
    if isinstance(listed, dict):
        listed = [{name: options} for name, options in listed.items()]
    config = _with_extensions(config, listed if isinstance(listed, list) else [], file.parent)
    return _with_any_fence(config) if settings.get("hooks") else config


def look(file: Path, bounds: Bounds) -> dict[str, Any]:
    """The name and navigation of the site in mkdocs.yml.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not YAML, or no mapping.
    """
    settings = _plain(_read(file, bounds))
    theme, name = settings.get("theme"), settings.get("site_name")
    is_material = isinstance(theme, dict) and theme.get("name") == "material"
    features = theme.get("features") if is_material else None
    listed = features if isinstance(features, list) else []
    fields = {
        "site_name": name if isinstance(name, str) else None,
        "nav": navigation(settings.get("nav")),
        "features": [feature for feature in _NAVIGATION if feature in listed],
    }
    return {name: value for name, value in fields.items() if value}


def navigation(written: Any) -> list[Any]:
    """The entries that MkDocs accepts: paths, titles of paths, and titles of lists."""
    entries: list[Any] = []
    for entry in written if isinstance(written, list) else []:
        if _is_link(entry):
            entries.append(entry)
        elif isinstance(entry, dict) and len(entry) == 1:
            ((title, below),) = entry.items()
            if _is_link(below):
                entries.append({str(title): below})
            elif inner := navigation(below):
                entries.append({str(title): inner})
    return entries


def _is_link(target: Any) -> bool:
    """Is it a path or a web address? MkDocs writes it into the page unchanged."""
    return isinstance(target, str) and _LINK.fullmatch(target) is not None


def _titles(nav: Any) -> Iterator[tuple[str, str]]:
    """Yields the pages that have a title in `nav`, with that title."""
    if isinstance(nav, list):
        for entry in nav:
            yield from _titles(entry)
    elif isinstance(nav, dict):
        for title, below in nav.items():
            if isinstance(title, str) and isinstance(below, str):
                yield PurePosixPath(below).as_posix(), title
            else:
                yield from _titles(below)


def _with_extensions(config: MkDocsConfig, listed: list[Any], base: Path) -> MkDocsConfig:
    names = ["toc", "tables", "fenced_code"]
    options: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name, own_options in map(_named_options, listed):
        if not isinstance(name, str) or not _OURS.fullmatch(name):
            problems.append(
                f"the Markdown extension {name!r} is unknown and ignored: if it changes headings, "
                "links to them may lead to the top of the page"
            )
            continue
        values = {key: _plain(value) for key, value in own_options.items()}
        for key in [key for key, value in values.items() if value is _UNKNOWN]:
            problems.append(f"{name}: {key} names unknown code; the default is used")
            del values[key]
        short = name.removeprefix("markdown.extensions.")
        if short not in names:
            names.append(short)
        options[short] = values
    # Snippets are inserted before the page is rendered.
    snippets = options.pop("pymdownx.snippets", None)
    if snippets is not None:
        names.remove("pymdownx.snippets")
        bases = _bases(snippets.get("base_path", "."), base, config.docs_dir or base)
        snippets = {**snippets, "base_path": bases}
    if "codehilite" in names:
        # Highlighting takes most of the time, and makes no difference here: see also `rendered`.
        options.setdefault("codehilite", {})["use_pygments"] = False
    return replace(
        config,
        extensions=tuple(names),
        options=options,
        snippets=snippets,
        problems=tuple(problems),
    )


def _with_any_fence(config: MkDocsConfig) -> MkDocsConfig:
    """Adds fences with any text on their first line, such as "```toml example".

    Hooks rewrite them before SuperFences, which would take one fence's end for the next one's
    beginning, and the headings in between for code.
    """
    strict, relaxed = "pymdownx.superfences", "wiki.sources.fences"
    options = {relaxed if name == strict else name: own for name, own in config.options.items()}
    extensions = tuple(relaxed if name == strict else name for name in config.extensions)
    return replace(config, extensions=extensions, options=options)


def _named_options(entry: Any) -> tuple[Any, dict[str, Any]]:
    """An entry in the list of extensions: a name, or a mapping from it to its options."""
    if isinstance(entry, dict) and entry:
        name, options = next(iter(entry.items()))
        return name, options if isinstance(options, dict) else {}
    return entry, {}


def _bases(written: Any, base: Path, docs: Path) -> list[str]:
    """The folders to search for snippets; `!relative $docs_dir/parts` is relative to the
    project."""
    bases = []
    for entry in written if isinstance(written, list) else [written]:
        path = str(entry)
        for name, place in (("$config_dir", base), ("$docs_dir", docs)):
            if path == name or path.startswith(name + "/"):
                path = str(place) + path.removeprefix(name)
        bases.append(os.path.abspath(base / path))
    return bases


def _read(file: Path, bounds: Bounds, above: int = 0) -> dict[str, Any]:
    try:
        settings = safe_yaml.load(bounds.read(file, LARGEST), _Loader)
    except Outside as error:
        raise ValueError(f"inherits from {file}, {error}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise ValueError("it has no settings")
    inherited = settings.pop("INHERIT", None)
    if isinstance(inherited, str) and above < 5:
        return _merged(_read(file.parent / inherited, bounds, above + 1), settings)
    return settings


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merges inherited settings like MkDocs: mappings deeply, all else replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged


class _Unknown:
    """Stands for a value that only code could produce."""


_UNKNOWN = _Unknown()


def _plain(value: Any) -> Any:
    """The value without parts that only code could produce; `_UNKNOWN` if nothing remains."""
    if isinstance(value, dict):
        entries = {key: _plain(inner) for key, inner in value.items()}
        return {key: inner for key, inner in entries.items() if inner is not _UNKNOWN}
    if isinstance(value, list):
        return [inner for inner in map(_plain, value) if inner is not _UNKNOWN]
    return value


class _Loader(yaml.SafeLoader):
    """Maps tags that name code to our functions where they exist, else to `_UNKNOWN`."""


def _named(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    return _function(suffix) or _UNKNOWN


def _applied(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    function = _function(suffix)
    given = loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else {}
    if function is None or not suffix.startswith("pymdownx.slugs."):
        return _UNKNOWN
    return function(**given.get("kwds", {}))


def _function(name: str) -> Callable[..., Any] | None:
    if not _FUNCTIONS.fullmatch(name):
        return None
    module, _, attribute = name.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return function if callable(function) else None


def _relative(loader: _Loader, node: yaml.Node) -> Any:
    """A location in the project, for `_bases`. The page's own location, which has no name, is
    none."""
    place = loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None
    return place or _UNKNOWN


def _unknown(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    return _UNKNOWN


_Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", _named)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/object/apply:", _applied)
_Loader.add_multi_constructor("!", _unknown)
_Loader.add_constructor("!relative", _relative)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _unknown)
