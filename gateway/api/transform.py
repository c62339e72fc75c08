"""Transforms an engine's answer into the client's: the interface of all answering modes."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, NoReturn

from gateway.api.plan import Tokens
from gateway.routing.dispatch import Opened
from gateway.telemetry.answer_statistics import Verdict


class PartialAnswer(NamedTuple):
    """The part of an answer that an engine had written when it broke off."""

    text: str
    """If empty, the answer is requested again."""
    tokens: int


class Rest:
    """The rest of an answer, written by another engine than the one that broke off."""

    def __init__(self, tokens: int = 0, blanks: str = "") -> None:
        self.tokens = tokens
        """Tokens of the answer that the engine got as the end of its prompt, and counts as such."""
        self._blanks = blanks  # trailing white space of the answer, which the engine was not given
        self._begun = ""  # the output before its first word

    def text(self, text: str) -> str:
        """Drops the white space of `text` that repeats the white space before the break."""
        if not self._blanks:
            return text
        self._begun += text
        words = self._begun.lstrip()
        if not words:
            return ""
        blanks = self._begun[: -len(words)]
        more = blanks[len(self._blanks) :] if blanks.startswith(self._blanks) else ""
        self._blanks = ""
        return more + words


WHOLE = Rest()
"""An answer that no engine has begun."""


# Message fields that OpenAI omits when they are empty.
_LEFT_OUT = frozenset(("annotations", "audio", "function_call", "tool_calls"))


# Message fields that may replace the text.
_INSTEAD = ("tool_calls", "refusal", "function_call", "audio")


def complete(choices: list[dict[str, Any]]) -> None:
    """Add the fields to a chat's choices that OpenAI always sends, and engines omit."""
    for choice in choices:
        if isinstance(logprobs := choice.setdefault("logprobs", None), dict):
            logprobs.setdefault("refusal", None)
        if isinstance(message := choice.get("message"), dict):
            message.setdefault("refusal", None)
            if message.get("content") is None and not any(map(message.get, _INSTEAD)):
                message["content"] = ""
            for name in _LEFT_OUT & message.keys():  # vLLM sends them as null
                if message[name] is None:
                    del message[name]


class Transform(ABC):
    """Turns one answer of a model into the client's, and holds the facts for its usage record.

    The pipeline calls `start`. Unless that was all (`is_over`), it calls `begin` for each engine
    that answers, then `feed` and finally `settle` and `end` for a stream, or `whole`.
    """

    keeps_alive = False
    """Should the stream send comments when it is idle?"""
    failed = False
    """Did the answer end with an error that went out as part of it?"""
    refused = False
    cautious = False
    claims: tuple[Verdict, ...] = ()
    """The verdicts of the claims."""
    pages: tuple[str, ...] = ()
    """The addresses of the pages that the answer uses."""
    reads = 0
    """The number of pages that the answer uses."""
    question = ""
    """For the log, if it keeps texts."""

    @property
    @abstractmethod
    def tokens(self) -> Tokens:
        """The engine's usage, or an estimate if the answer was cut off."""

    @property
    @abstractmethod
    def answer(self) -> str:
        """The text that went out, for the log."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Has the whole answer arrived?"""

    @property
    def is_enough(self) -> bool:
        """Can the rest of the engine's bytes be skipped?"""
        return False

    @property
    def holds(self) -> bool:
        """Must `release` be awaited after each `feed`?"""
        return False

    @property
    def settles(self) -> bool:
        """Must `settle` be awaited once the whole answer has arrived?"""
        return False

    def start(self) -> bytes:
        """Output before a model is called: events, or a complete answer that needs no model."""
        return b""

    @abstractmethod
    def begin(self, opened: Opened, rest: Rest) -> None:
        """A model starts answering: the first one, or one that writes the rest."""

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """The client's events that these engine bytes complete. Never raises."""

    async def release(self) -> bytes:
        """Check the held text, and return its events for the client. Raises ApiError."""
        return b""

    async def settle(self) -> bytes:
        """The closing events for a complete answer. Raises ApiError."""
        return b""

    @abstractmethod
    def partial(self) -> PartialAnswer | None:
        """The output of the engine that broke off. None: the answer cannot be resumed."""

    @abstractmethod
    def end(self) -> bytes:
        """The last events of a stream, with an error unless the answer is complete."""

    @abstractmethod
    async def whole(self, body: bytes) -> bytes:
        """The client's complete answer. Raises ApiError."""


class WithoutModel(Transform):
    """An answer that is complete from the start: no model is called."""

    is_over = True

    def begin(self, opened: Opened, rest: Rest) -> NoReturn:
        raise AssertionError("no model is called")

    def feed(self, data: bytes) -> NoReturn:
        raise AssertionError("no model is called")

    def partial(self) -> None:
        return None

    def end(self) -> bytes:
        return b""

    async def whole(self, body: bytes) -> NoReturn:
        raise AssertionError("no model is called")
