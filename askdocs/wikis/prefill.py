"""Implements `askdocs docs warm`: asks the gateway to prefill pages, and shows progress."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from askdocs.state.home import Home
from askdocs.supervision import status
from gateway.core.errors import AskdocsError
from gateway.core.sse import EventReader

Event = dict[str, Any]


def warm(home: Home, pages: Sequence[str], top: int | None) -> Iterator[Event]:
    """Yields the gateway's messages: `total`, each page, then the sums; see gateway/api/prefill.py.

    Raises AskdocsError: no gateway runs here, it has no such page, or its engine is unavailable.
    """
    url = status.read(home).gateway.removesuffix("/v1")
    headers = {"Authorization": f"Bearer {home.existing_key()}"}
    body = {"pages": list(pages), "top": top}
    try:
        with (
            # The gateway is local: bypass a proxy from the environment.
            httpx.Client(timeout=600, trust_env=False) as http,
            http.stream("POST", f"{url}/askdocs/warm", json=body, headers=headers) as reply,
        ):
            if reply.status_code != 200:
                raise AskdocsError(json.loads(reply.read())["error"]["message"])
            reader = EventReader()
            for data in chain.from_iterable(map(reader.feed, reply.iter_bytes())):
                event: Event = json.loads(data)
                if "error" in event:
                    raise AskdocsError(event["error"]["message"])
                yield event
                if event.get("done"):
                    return
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise AskdocsError(f"the gateway at {url} does not answer ({error!r})") from None
    raise AskdocsError(f"the gateway at {url} broke off: try again")


def show(events: Iterator[Event]) -> None:
    """Print the progress."""
    out = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("warming")
        total = 0
        for event in events:
            if "total" in event:
                total = event["total"]
                bar.update(task, total=total)
            elif "page" in event:
                bar.update(task, advance=1, description=event["page"])
                out.print(_line(event), markup=False)
            else:
                out.print(
                    f"{event['pages']} of {total} pages with {event['tokens']:,} tokens "
                    f"prefilled, after {event['seconds']:.1f} s",
                    markup=False,
                )


def _line(event: Event) -> str:
    how = "too large, sections are read" if event["how"] == "too large" else event["how"]
    return f"{event['page']}  {event['tokens']:,} tokens, {how}, {event['seconds']:.1f} s"
