"""Renders the review pages. Anything that is not Markup is escaped."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from widget.access.origins import web_address
from widget.review import charts, weeks
from widget.review.access import COOKIE
from widget.review.wiki import headings
from widget.service.assets import Asset
from widget.settings import WidgetSettings
from widget.text import markdown
from wiki.pages.page import Page

TEMPLATES = Path(__file__).parents[1] / "templates" / "review"


class Views:
    """Pages and fragments."""

    def __init__(self, settings: WidgetSettings, assets: Mapping[str, Asset]) -> None:
        self._origins = settings.origins
        self._env = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._env.globals |= {
            "asset": lambda name: assets[name].address,
            "title": settings.title,
            "charts": charts,
            "week": weeks.name,
            "headings": headings,
            "pairs": lambda values: [("", "all"), *((value, value) for value in values)],
        }
        self._env.filters |= {
            "web_address": web_address,
            "moment": _moment,
            "percent": lambda share: "–" if share is None else f"{share:.0%}",
            "seconds": lambda value: "–" if value is None else f"{value:.1f} s",
            "count": lambda value: f"{value:,}",
        }

    def page(
        self, request: Request, template: str, *, status: int = 200, **values: object
    ) -> HTMLResponse:
        """A page or a fragment that no cache may store."""
        # Links are relative, so that the widget can be served under any path prefix.
        below = request.url.path.rstrip("/").rpartition("/review")[2]
        root = "../" * below.count("/")
        text = self._env.get_template(template).render(
            root=root,
            rendered=self._rendered,
            has_cookie=COOKIE in request.cookies,
            **values,
        )
        return HTMLResponse(text, status, {"cache-control": "no-store"})

    def problem(self, request: Request, sentence: str, field: str = "") -> str:
        """Why a page is not shown, with a field for the credential that gives access."""
        page = self.page(request, "problem.html", who="", sentence=sentence, field=field)
        return bytes(page.body).decode()

    def _rendered(self, text: str, page: Page | None = None, url: str = "") -> Markup:
        """Markdown as shown to readers. Relative links are resolved against the page."""
        return markdown.render(text, origins=self._origins, base=page.url if page else url)


def _moment(at: datetime) -> Markup:
    """A time in UTC, for people and machines."""
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M}</time>').format(at.isoformat(), at)
