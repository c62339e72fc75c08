"""The widget's gateway client: sends a question and receives the answer's events."""

import asyncio
import ipaddress
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import httpx
import orjson
from pydantic import BaseModel, ValidationError

from core.errors import AskdocsError
from core.sse import events
from gateway.access.auth import GROUPS_HEADER
from gateway.access.keys import ALL
from gateway.api import readable
from gateway.telemetry.tracing import OFF, Span, Tracer
from widget.service.failure import BROKEN, SLOW, UNREACHABLE, Failure, failure
from widget.service.outcome import Citation, Outcome, Reading, Rights, Source
from widget.service.store import Answered, StoredQuestion, Turn, Vote, urls_of
from widget.settings import WidgetSettings
from wiki.rights import Reader, load

log = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)

# A small model on a laptop reads a long page for half a minute before its first token.
TIMEOUT = aiohttp.ClientTimeout(sock_connect=10, sock_read=180)
# Seconds until a key that was refused the right to pass on groups tries again.
SILENT = 60.0
MAX_ANSWER = 32_000  # maximum characters, to stop a model that never ends


class Gateway:
    """Client of the gateway's OpenAI-compatible endpoint, with one connection pool, closed by
    `close`."""

    def __init__(self, settings: WidgetSettings, tracer: Tracer | None = None) -> None:
        """`tracer` creates a span for each question; `close` sends the last ones."""
        self._tracer = tracer
        base = settings.gateway_url.rstrip("/")
        self.url = f"{base}/chat/completions"
        self.vote_url = f"{base.removesuffix('/v1')}/askdocs/vote"
        self.readable_url = f"{base.removesuffix('/v1')}{readable.PATH}"
        self.model = settings.model
        headers = {"x-askdocs-progress": "on", "accept": "text/event-stream"}
        # Visitors ask the wiki, whatever their words: none of them is a client's own job.
        headers["x-askdocs-grounding"] = "on"
        if settings.gateway_key:
            headers["authorization"] = f"Bearer {settings.gateway_key.get_secret_value()}"
        self._headers = headers
        # A proxy from the environment would be asked for 127.0.0.1 and reach itself.
        self._silent_until = 0.0
        self._trust_env = not _is_here(settings.gateway_url)

    @cached_property
    def _client(self) -> aiohttp.ClientSession:
        """Half the CPU cost of httpx' client per answer; created late, because it needs a loop."""
        return aiohttp.ClientSession(
            headers=self._headers,
            timeout=TIMEOUT,
            connector=aiohttp.TCPConnector(limit=0, ssl=httpx.create_ssl_context()),
            trust_env=self._trust_env,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        if self._tracer:
            await asyncio.to_thread(self._tracer.close)

    async def count(self, before: StoredQuestion, vote: Vote) -> None:
        """Count the first vote on an answer for its model, for `askdocs models compare`.

        The vote is already stored: a failure to count it is only logged.
        """
        alias, model = before.asked.alias, before.answered.model
        if before.vote is not None or not vote.vote or model in ("", alias):
            return
        body = {"alias": alias, "model": model, "vote": vote.vote}
        try:
            timeout = aiohttp.ClientTimeout(10)
            async with self._client.post(self.vote_url, json=body, timeout=timeout) as response:
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("the vote is stored, but not counted for %s: %r", model, error)

    def _for(self, groups: frozenset[str]) -> list[tuple[str, str]]:
        """The header with the asker's groups; none for strangers, who get public pages."""
        if not groups or time.monotonic() < self._silent_until:
            return []
        return [(GROUPS_HEADER, json.dumps(sorted(groups), ensure_ascii=True))]

    def _may_not_speak(self, groups: frozenset[str]) -> bool:
        """Record that the gateway refused to act for somebody. Retry as a stranger?

        Keys of older releases may not pass on groups; then everybody gets what strangers get.
        """
        if not groups:
            return False
        if time.monotonic() >= self._silent_until:
            log.error(
                "the key of this box may not pass on groups, so people get only public pages: run"
                " askdocs keys groups NAME --for-people --groups '*'"
            )
        self._silent_until = time.monotonic() + SILENT
        return True

    async def may_read(
        self, urls: Sequence[str], groups: frozenset[str], is_open: bool = False
    ) -> bool:
        """May a person with these groups read all of these pages now? False if unknown.

        `is_open`: the pages were public when the answer was made; used if the gateway is too old to
        know rights.
        """
        if not urls:
            return True
        readable = await self._readable(urls, groups)
        return is_open if readable is None else all(readable.get(url) for url in urls)

    async def _readable(
        self, urls: Sequence[str], groups: frozenset[str]
    ) -> Mapping[str, bool] | None:
        """Which of these pages a person with these groups may read now, as far as known; None: the
        gateway is too old."""
        distinct = list(dict.fromkeys(urls))
        try:
            asking = self._client.post(
                self.readable_url,
                json={"urls": distinct},
                headers=self._for(groups),
                timeout=aiohttp.ClientTimeout(10),
            )
            async with asking as response:
                if response.status == 403:
                    text = await response.text("utf-8", "replace")
                    if _is_refused(text) and self._may_not_speak(groups):
                        return await self._readable(urls, frozenset())
                if response.status == 404:
                    return None
                response.raise_for_status()
                answers = (await response.json())["readable"]
                return {url: answer is True for url, answer in zip(distinct, answers, strict=True)}
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            log.warning("the rights of an answer cannot be read: %r", error)
            return {}

    async def may_open(self, answered: Answered, groups: frozenset[str]) -> bool:
        """May a person with these groups read a stored answer, by its rights then and now?"""
        if not Reader(groups).may_read(load(answered.readers)):
            return False
        return await self.may_read(urls_of(answered.outcome), groups, answered.readers is None)

    async def readable_turns(
        self, turns: Sequence[Turn], groups: frozenset[str]
    ) -> list[tuple[str, str]]:
        """The earlier turns to send with a question: up to the first whose pages the asker may no
        longer read, because later turns may repeat it.

        The asker received these answers, so only the current rights count.
        """
        pages = [urls_of(turn.answered.outcome) for turn in turns]
        every = list(chain.from_iterable(pages))
        readable = await self._readable(every, groups) if every else {}
        open_turns = []
        for turn, urls in zip(turns, pages, strict=True):
            if readable is None:
                is_closed = bool(urls) and turn.answered.readers is not None
            else:
                is_closed = not all(readable.get(url) for url in urls)
            if is_closed:
                break
            open_turns.append((turn.question, turn.answered.answer))
        return open_turns

    async def rights(self, urls: Sequence[str]) -> Rights | None:
        """The groups required to read each of these pages now; None if the gateway does not say.

        Raises AskdocsError: the gateway does not answer, or the response is invalid.
        """
        try:
            asking = self._client.post(
                self.readable_url,
                json={"urls": list(urls)},
                headers=[(GROUPS_HEADER, ALL)],
                timeout=aiohttp.ClientTimeout(10),
            )
            async with asking as response:
                if response.status in (403, 404):  # the key may not, or the gateway is older
                    return None
                response.raise_for_status()
                answer = _object((await response.read()).decode("utf-8", "replace"))
                if "revision" not in answer:  # the key may not pass on all groups
                    return None
                rights = Rights.model_validate(answer)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise AskdocsError(f"the gateway does not report its rights: {error!r}") from None
        if len(rights.readers) != len(urls) or len(rights.known) not in (0, len(urls)):
            raise AskdocsError("the gateway reports the rights of other pages than requested")
        return rights

    async def ask(
        self,
        question: str,
        page: str,
        *,
        history: Sequence[tuple[str, str]] = (),
        quote: str = "",
        model: str | None = None,
        user: str = "",
        groups: frozenset[str] = frozenset(),
    ) -> AsyncGenerator[Reading | str | Outcome]:
        """Yields what the model reads, then pieces of the answer, then the outcome.

        `history`: earlier questions with their answers. `quote`: page text that the question is
        about. `model`: an alias other than the box's. `user`: the asker, so that canaries are
        sticky. `groups`: the asker's groups from the sign-in. Closing the iterator closes the
        connection, which makes the gateway stop.

        Raises:
            Failure: there is no answer, or it broke off.
        """
        messages = []
        for earlier, answer in history:
            messages += [_message("user", earlier), _message("assistant", answer)]
        messages.append(_message("user", quoting(question, quote)))
        body: dict[str, Any] = {
            "model": model or self.model,
            "messages": messages,
            "stream": True,
            "metadata": {"page_url": page} if page else {},
        }
        if user:
            body["user"] = user
        span = self._tracer.begin(f"ask {body['model']}", "CLIENT") if self._tracer else OFF
        try:
            async with aclosing(self._answer(body, span, groups)) as parts:
                async for part in parts:
                    yield part
        except Failure as failure:
            span.end(failure.reason)
            raise
        except BaseException as error:
            span.end(type(error).__name__)
            raise
        span.end()

    async def _answer(
        self, body: dict[str, Any], span: Span, groups: frozenset[str]
    ) -> AsyncGenerator[Reading | str | Outcome]:
        """As `ask`, for a request that was sent."""
        try:
            headers = [(name.decode(), value.decode("latin-1")) for name, value in span.onward(())]
            headers += self._for(groups)
            asking = self._client.post(self.url, json=body, headers=headers, allow_redirects=False)
            async with asking as response:
                if response.status != 200:
                    text = await response.text("utf-8", "replace")
                    if _is_refused(text) and self._may_not_speak(groups):
                        async for part in self._answer(body, span, frozenset()):
                            yield part
                        return
                    log.warning("gateway: %s %s", response.status, text[:500])
                    wait = response.headers.get("retry-after", "")
                    raise failure(response.status, _error(_object(text)), wait)
                async for part in _parts(response.content.iter_any()):
                    if isinstance(part, Outcome):
                        span.set(askdocs__refused=part.refused, gen_ai__response__model=part.served)
                    yield part
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            log.warning("gateway: %r", error)
            raise Failure(UNREACHABLE, "unreachable") from error
        except TimeoutError as error:
            log.warning("gateway: %r", error)
            raise Failure(SLOW, "slow") from error
        except aiohttp.ClientError as error:
            log.warning("gateway: %r", error)
            raise Failure(BROKEN, "broke_off") from error


def quoting(question: str, quote: str) -> str:
    """The question, preceded by the reader's selection as a Markdown quotation."""
    quoted = "\n".join(f"> {line}" for line in quote.strip().splitlines())
    return f"{quoted}\n\n{question}" if quoted else question


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


async def _parts(chunks: AsyncIterable[bytes]) -> AsyncIterator[Reading | str | Outcome]:
    finished = False
    length = 0
    async for data in events(chunks):
        if data == "[DONE]":
            finished = True
            break
        chunk = _object(data)
        if chunk.get("error"):
            log.warning("gateway, in the stream: %s", data[:500])
            # After the first token, "not ready yet" would be confusing.
            raise Failure(BROKEN, "broke_off") if length else failure(0, _error(chunk), "")
        choice, delta = _choice(chunk)
        text = delta.get("content")
        if isinstance(text, str) and text:
            length += len(text)
            yield text
        cited = _cited(delta.get("annotations"))
        extra = chunk.get("askdocs")
        if isinstance(extra, dict) and "reading" in extra:
            if reading := _read(Reading, extra):
                yield reading
        elif isinstance(extra, dict):
            if outcome := _read(Outcome, extra):
                served = outcome.served or str(chunk.get("model") or "")  # of an older gateway
                yield outcome.model_copy(update={"citations": cited, "served": served})
        elif cited:
            # The gateway sends only OpenAI's annotations.
            sources = {cite.url: Source(title=cite.title, url=cite.url) for cite in cited}
            yield Outcome(sources=tuple(sources.values()), citations=cited)
        finished = finished or bool(choice.get("finish_reason"))
        if length > MAX_ANSWER:
            log.warning("gateway: the answer is longer than %d characters; cut", MAX_ANSWER)
            finished = True
            break
    if not finished:
        log.warning("gateway: the stream ended before the answer did")
        raise Failure(BROKEN, "broke_off")


def _choice(chunk: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    choice = choice if isinstance(choice, dict) else {}
    delta = choice.get("delta")
    return choice, delta if isinstance(delta, dict) else {}


def _cited(annotations: object) -> tuple[Citation, ...]:
    items = annotations if isinstance(annotations, list) else []
    cited = [item.get("url_citation") for item in items if isinstance(item, dict)]
    read = [_read(Citation, citation) for citation in cited if isinstance(citation, dict)]
    return tuple(citation for citation in read if citation)


def _read(model: type[M], value: dict[str, Any]) -> M | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        log.warning("gateway: skipped an unreadable event: %s", error)
        return None


def _object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _error(body: dict[str, Any]) -> dict[str, Any]:
    error = body.get("error")
    return error if isinstance(error, dict) else {}


def _is_refused(text: str) -> bool:
    """Did the gateway refuse the key the right to pass on groups?"""
    return _error(_object(text)).get("code") == "not_allowed"


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
