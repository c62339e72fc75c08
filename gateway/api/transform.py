"""Transforms an engine's answer into the client's: the interface of all answering modes."""

from typing import Any, NamedTuple

from gateway.api.plan import Tokens
from gateway.routing.dispatch import Opened
from gateway.telemetry.answer_statistics import Verdict


class PartialAnswer(NamedTuple):
    """What an engine had said of an answer when it broke off."""

    text: str
    """Empty: the answer is asked for again."""
    tokens: int


class Rest:
    """The rest of an answer, by another engine than the one that broke off."""

    def __init__(self, tokens: int = 0, blanks: str = "") -> None:
        self.tokens = tokens
        """Of the answer, which the engine got at the end of its prompt, and counts there."""
        self._blanks = blanks  # the answer ended with them, and the engine was not given them
        self._begun = ""  # what it said before its first word

    def text(self, text: str) -> str:
        """`text` without the blanks that were said before the break, and are said once more."""
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


# What OpenAI leaves out of a message that has none.
_LEFT_OUT = frozenset(("annotations", "audio", "function_call", "tool_calls"))


# What a message may have in place of a text.
_INSTEAD = ("tool_calls", "refusal", "function_call", "audio")


def complete(choices: list[dict[str, Any]]) -> None:
    """Give the choices of a whole chat what OpenAI's always have, and engines leave out."""
    for choice in choices:
        if isinstance(logprobs := choice.setdefault("logprobs", None), dict):
            logprobs.setdefault("refusal", None)
        if isinstance(message := choice.get("message"), dict):
            message.setdefault("refusal", None)
            if message.get("content") is None and not any(map(message.get, _INSTEAD)):
                message["content"] = ""
            for name in _LEFT_OUT & message.keys():  # vLLM names them
                if message[name] is None:
                    del message[name]


class Transform:
    """Turns one answer of a model into the client's. Has the facts for the record at its end.

    The pipeline calls `start`; unless that was all (`is_over`), `begin` for each engine that
    answers, then `feed` and at last `settle` and `end` for a stream, or `whole`.
    """

    keeps_alive = False
    """Is the stream to say in quiet times that it lives?"""
    failed = False
    """Did the answer end with an error that went out as a part of it?"""
    refused = False
    cautious = False
    claims: tuple[Verdict, ...] = ()
    """The verdicts of the claims that assert something."""
    pages: tuple[str, ...] = ()
    """The addresses of the pages that the answer stands on."""
    reads = 0
    """Pages that the answer stands on."""
    question = ""
    """For the log, where it wants texts."""

    @property
    def tokens(self) -> Tokens:
        """As the engine states them, or estimated where it was cut off."""
        raise NotImplementedError

    @property
    def answer(self) -> str:
        """What went out, for the log."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Has all of the answer come?"""
        raise NotImplementedError

    @property
    def is_enough(self) -> bool:
        """Need the rest of the engine's bytes not be read?"""
        return False

    @property
    def holds(self) -> bool:
        """Is `release` to be awaited behind each `feed`?"""
        return False

    @property
    def settles(self) -> bool:
        """Is `settle` to be awaited when all of the answer has come?"""
        return False

    def start(self) -> bytes:
        """What goes out before a model is asked: events, or a whole answer that needs none."""
        return b""

    def begin(self, opened: Opened, rest: Rest) -> None:
        """A model answers: the first one, or one that goes on with the rest."""
        raise NotImplementedError

    def feed(self, data: bytes) -> bytes:
        """The client's events that the engine's bytes complete. Never raises."""
        raise NotImplementedError

    async def release(self) -> bytes:
        """The client's events of what was held, and is checked now. Raises ApiError."""
        return b""

    async def settle(self) -> bytes:
        """The client's events about an answer all of which has come. Raises ApiError."""
        return b""

    def partial(self) -> PartialAnswer | None:
        """What the engine that broke off had said. None: nobody can go on with it."""
        raise NotImplementedError

    def end(self) -> bytes:
        """The last events of a stream: an error, unless the answer is whole."""
        raise NotImplementedError

    async def whole(self, body: bytes) -> bytes:
        """The client's whole answer. Raises ApiError."""
        raise NotImplementedError
