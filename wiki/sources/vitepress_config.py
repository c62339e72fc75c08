"""The settings in .vitepress/config that affect addresses, if they are plain literals."""

from dataclasses import dataclass
from pathlib import Path

from wiki.sources import js_config
from wiki.sources.within import Bounds

NAMES = tuple(f".vitepress/config.{suffix}" for suffix in ("mts", "ts", "mjs", "js")) + tuple(
    f".vitepress/config/index.{suffix}" for suffix in ("mts", "ts", "mjs", "js")
)


@dataclass(frozen=True)
class VitePressConfig:
    """The settings of a site, with VitePress' defaults."""

    url: str = ""
    """The address of the whole site: `hostname` of its sitemap, and `base`."""
    content: str = "."
    """`srcDir`: the folder of the pages."""
    clean_urls: bool = False
    excluded: tuple[str, ...] = ()


def load(file: Path, bounds: Bounds) -> VitePressConfig:
    """Read a configuration; values that are not literals, or unreadable, take their defaults."""
    text = js_config.read(file, bounds)
    host, base = js_config.string("hostname", text), js_config.string("base", text)
    return VitePressConfig(
        url=f"{host.rstrip('/')}/{(base or '').strip('/')}" if host else "",
        content=(js_config.string("srcDir", text) or ".").removeprefix("./").strip("/") or ".",
        clean_urls=bool(js_config.boolean("cleanUrls", text)),
        excluded=js_config.strings("srcExclude", text),
    )
