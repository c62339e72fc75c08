"""The lines for the person at the terminal, and what goes out of an answer that is held back."""

import contextlib
from typing import cast

import pytest

from gateway.answering.answer import say
from gateway.answering.check import Check
from gateway.answering.choice import Held
from gateway.answering.claims import Claim


def test_what_is_said_to_a_full_disk_stops_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stdout", full)
        for _ in range(3):
            say("answered in 0.2 s")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


class Judge:
    """Finds every sentence supported that does not speak of Paris."""

    async def claims(self, text: str, start: int = 0, whole: str = "") -> list[Claim]:
        verdict = "unsupported" if "Paris" in text else "supported"
        return [Claim(start, start + len(text), verdict, "", "", 0.5)]  # type: ignore[arg-type]


async def test_probabilities_tell_nothing_that_is_held_back() -> None:
    held = Held(cast(Check, Judge()), "I do not know.")
    told: list[str] = []
    out = ""
    for token in (
        "It",
        " is",
        " blue",
        ".",
        " It",
        " lies",
        " in",
        " Paris",
        ".",
        " So",
        " it is.",
    ):
        held.hear({"content": [{"token": token, "logprob": -1.0, "bytes": list(token.encode())}]})
        out += held.feed(token) + await held.release()
        told += [one["token"] for one in held.tell()["content"]]
        assert out.startswith("".join(told))
    out += await held.rest()
    told += [one["token"] for one in held.tell()["content"]]
    assert held.stopped
    assert "".join(told).strip() == out.strip() == "It is blue."
