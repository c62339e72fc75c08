"""The page that contains the box, and its token."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from widget.access.forms import ELSEWHERE, Elsewhere, form
from widget.access.identity import COOKIE, new_cookie
from widget.access.origins import web_address, within
from widget.access.tokens import Tokens
from widget.box.examples import Examples, meaning
from widget.box.views import Views
from widget.service.journal import Journal
from widget.service.pending import BadQuestion
from widget.settings import WidgetSettings

EXAMPLES = 4
BETTER = 2


class Box:
    """The routes of the page, which without JavaScript is also the response of the other routes."""

    def __init__(
        self, settings: WidgetSettings, views: Views, journal: Journal, tokens: Tokens
    ) -> None:
        self._settings = settings
        self._views = views
        self._journal = journal
        self._tokens = tokens
        self._mined = Examples(settings.index)
        self.router = APIRouter()
        self.router.add_api_route("/box", self.box, methods=["GET"])
        self.router.add_api_route("/token", self.token, methods=["POST"])

    def close(self) -> None:
        """Close the index."""
        self._mined.close()

    async def box(self, request: Request) -> HTMLResponse:
        # A link must not put its reader into somebody else's conversation.
        params = {name: value for name, value in request.query_params.items() if name != "token"}
        response = HTMLResponse(await self.render(request, params))
        if self._settings.visitors == "cookie" and COOKIE not in request.cookies:
            secure = request.url.scheme == "https"
            response.set_cookie(
                COOKIE,
                new_cookie(),
                max_age=self._settings.retention_days * 86_400,
                httponly=True,
                secure=secure,
                # In a frame on another site, only such a cookie is sent back, and each site gets
                # its own: https://developer.mozilla.org/docs/Web/Privacy/Guides/Partitioned_cookies
                samesite="none" if secure else "lax",
                partitioned=secure,
            )
        return response

    async def token(self, request: Request) -> Response:
        try:
            sent = await form(request)
        except BadQuestion:
            return JSONResponse({"error": "this form cannot be read"}, 422)
        except Elsewhere:
            return JSONResponse({"error": ELSEWHERE}, 403)
        return JSONResponse({"token": self.renewed(request, sent)})

    async def render(self, request: Request, sent: Mapping[str, str], **more: Any) -> str:
        """The whole page, with the submitted values. `more`: as in `Views.box`."""
        params = {**sent, "page": self.page(request, sent), "token": self.renewed(request, sent)}
        own = [example.strip() for example in sent.get("examples", "").split("|")]
        return self._views.box(params, examples=await self._examples(own), **more)

    def page(self, request: Request, sent: Mapping[str, str]) -> str:
        """The reader's page, if it is on our site or in a wiki that may embed the box."""
        page = web_address(sent.get("page", ""))
        ours = str(request.base_url).rstrip("/")
        return page if within(page, (*self._settings.origins, ours)) else ""

    def renewed(self, request: Request, sent: Mapping[str, str]) -> str:
        """A new token to replace the submitted one."""
        return self._tokens.renew(sent.get("token", ""), self.page(request, sent))

    async def better(self, question: str) -> list[str]:
        """Suggestions to replace a refused question."""
        return await asyncio.to_thread(self._mined.near, question, BETTER)

    async def _examples(self, own: Sequence[str]) -> list[str]:
        """Questions that the empty box offers after the page's `own`.

        The page can request the most asked questions with `asked`. Without any examples, or with
        too few asked questions, the wiki's headings fill up.
        """
        examples = [*self._settings.examples, *(("asked",) if "asked" in own else ())]
        is_open = not examples and not any(own)
        if "asked" in examples:
            at = examples.index("asked")
            most_asked = await self._journal.most_asked(EXAMPLES)
            examples[at : at + 1] = most_asked
            is_open = len(most_asked) < EXAMPLES
        if is_open:
            known = {
                meaning(example) for example in (*own, *examples) if example not in ("", "asked")
            }
            mined = await asyncio.to_thread(self._mined.get, EXAMPLES)
            others = [example for example in mined if meaning(example) not in known]
            examples += others[: max(0, EXAMPLES - len(known))]
        return examples
