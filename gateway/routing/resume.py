"""Resumes an answer after its engine failed mid-stream, for example on a killed replica.

Another engine, or the same one once it is back, gets the text so far as the beginning of its
answer, and its output continues the first stream. An answer that has not begun is requested again.
Only text can be resumed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx

from core.errors import AskdocsError
from gateway.api.endpoints import CHAT
from gateway.api.transform import WHOLE, PartialAnswer, Rest
from gateway.http.asgi import ApiError
from gateway.routing.aliases import Route
from gateway.routing.dispatch import Call, Dispatch, Opened
from gateway.routing.registry import Served

log = logging.getLogger("askdocs.gateway")

TIMES = 2  # resumptions per answer: after more, the request itself may be the cause
WAIT_S = 15.0  # from the failure to the last attempt: llama.cpp is back 3 s after a kill
PAUSE_S = (0.25, 2.0)  # first and longest pause between attempts

Find = Callable[[str], Awaitable[Served | None]]


class Opening:
    """Opens one answer, and the rest of it if it breaks off."""

    def __init__(self, dispatch: Dispatch, find: Find, call: Call, route: Route) -> None:
        """`call` is the request to the first engine."""
        self._dispatch = dispatch
        self._find = find
        self._call = call
        self._route = route
        self._times = 0
        self._partial = PartialAnswer("", 0)
        self.rest = WHOLE
        """The rest that was opened last."""

    @property
    def given(self) -> str:
        """The model that was sent the prompt, even if it has not answered yet; or empty."""
        return self._call.given

    async def first(self) -> Opened:
        """Opens the answer. Raises as `Dispatch.open`."""
        return await self._dispatch.open(self._call, self._route)

    async def again(self, broken: Served, written: PartialAnswer) -> Opened | None:
        """Opens the rest of the answer that `broken` left incomplete; close it. None: no model can
        resume it."""
        self._times += 1
        if self._times > TIMES:
            return None
        self._partial = written
        last = time.monotonic() + WAIT_S
        pause, longest = PAUSE_S
        while True:
            try:
                opened = await self._try(broken)
            except ApiError as error:
                is_final = error.status < 500 and error.status != 429
                if is_final or time.monotonic() > last - pause:
                    return None
            else:
                goes_on = opened.served.name if opened else "nobody"
                log.warning("%s broke off during an answer; %s continues it", broken.name, goes_on)
                return opened
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _try(self, broken: Served) -> Opened | None:
        """Makes one attempt of `again`. Raises ApiError: the able candidates fail or refuse."""
        able = []
        for name in self._route.with_last(broken.name).candidates:
            served = await self._find(name)
            if served is not None and await self._is_able(served):
                able.append(name)
        if not able:
            return None
        call = replace(self._call, render=self._render)
        return await self._dispatch.open(call, replace(self._route, candidates=tuple(able)))

    async def _is_able(self, served: Served) -> bool:
        """Can the model continue a given text? Assume so while it is unavailable."""
        if not self._partial.text.strip():
            return True
        if served.engine is None:
            return False
        if self._call.path != CHAT.path:
            return True
        try:
            return await served.engine.kind() != "other"
        except (httpx.HTTPError, AskdocsError):
            return True

    async def _render(self, served: Served) -> dict[str, Any]:
        """The request for the rest of the answer."""
        body = await self._call.render(served)
        text, tokens = self._partial
        if not text.strip():
            self.rest = Rest(blanks=text)
            return body
        assert served.engine is not None
        blanks = ""
        if self._call.path != CHAT.path:
            body["prompt"] += text
        else:
            kind = await served.engine.kind()
            if kind == "other":
                raise ApiError(400, f"{served.name} cannot continue an answer")
            if kind == "vllm":
                # Some chat templates trim messages, so that trailing white space would be repeated.
                blanks = text[len(text.rstrip()) :]
                text = text.rstrip()
                body |= {"continue_final_message": True, "add_generation_prompt": False}
            tokens = await served.engine.count(text)
            body["messages"] = [*body["messages"], {"role": "assistant", "content": text}]
        self.rest = Rest(tokens, blanks)
        body["max_tokens"] = max(1, body["max_tokens"] - tokens)
        return body
