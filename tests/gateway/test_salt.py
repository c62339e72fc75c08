from typing import Any, cast

import pytest

from gateway.access.auth import ALL
from gateway.api import schemas
from gateway.upstream.engine import Engine
from gateway.upstream.salt import Salts, salted
from wiki.rights import EVERYTHING, NOBODY, PUBLIC, Reader

HR, BOARD = frozenset({"hr"}), frozenset({"board"})


class Kind:
    def __init__(self, kind: str) -> None:
        self._kind = kind

    async def kind(self) -> str:
        return self._kind


async def sent(kind: str, salt: str = "s", path: str = "/chat/completions", **body: Any) -> Any:
    return await salted(path, body, salt, cast(Engine, Kind(kind)))


def turns(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": f"{role} {n}"} for n, role in enumerate(roles)]


def test_salts_differ_by_key_groups_and_readers_and_are_secret() -> None:
    hr = Salts("secret", "1", Reader(HR))
    assert hr.of(()) == ""
    assert hr.of((HR,)) == Salts("secret", "2", PUBLIC).of((HR,))
    others = [
        Salts("secret", "2", Reader(HR)).own(),
        Salts("secret", "1", Reader(HR | BOARD)).own(),
        Salts("secret", "1", PUBLIC).own(),
        Salts("secret", "1", EVERYTHING).own(),
        Salts("secret", "1", Reader(frozenset({ALL}))).own(),
        Salts("another", "1", Reader(HR)).own(),
        *(hr.of(readers) for readers in ((HR,), (BOARD,), (HR | BOARD,), (HR, BOARD), NOBODY)),
    ]
    assert len({hr.own(), *others}) == 1 + len(others)
    assert all(len(salt) == 16 for salt in (hr.own(), *others))


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp", "other"])
async def test_a_prompt_that_everybody_may_read_is_sent_as_it_is(kind: str) -> None:
    messages = turns("system", "user")
    assert await sent(kind, "", messages=messages) == {"messages": messages}


async def test_vllm_gets_a_salt_and_others_a_mark_before_all_text() -> None:
    messages = turns("system", "user")
    assert await sent("vllm", messages=messages) == {"messages": messages, "cache_salt": "s"}
    for kind in ("llama.cpp", "other"):
        marked = (await sent(kind, messages=messages))["messages"]
        assert [message["content"] for message in marked] == [
            "Session s\n\nsystem 0",
            "Session s\n\nuser 1",
        ]
    assert messages == turns("system", "user")


async def test_the_first_question_is_marked_too_where_a_template_may_put_it_first() -> None:
    messages = turns("system", "user", "assistant", "user")
    marked = (await sent("llama.cpp", messages=messages))["messages"]
    begins = [message["content"].startswith("Session s\n\n") for message in marked]
    assert begins == [True, True, False, False]
    # What an engine has read of the first turn stays as it was.
    assert (await sent("llama.cpp", messages=messages[:2]))["messages"] == marked[:2]


async def test_parts_and_empty_messages_are_marked() -> None:
    part = {"type": "text", "text": "a"}
    for content in ([part], None):
        (marked,) = (await sent("other", messages=[{"role": "user", "content": content}]))[
            "messages"
        ]
        assert str(marked["content"]).count("Session s") == 1


async def test_completions_are_not_changed_but_in_a_frame_of_code() -> None:
    path = "/completions"
    said = await sent("llama.cpp", path=path, prompt="Once")
    assert said == {"prompt": "Once", "cache_prompt": False}
    assert await sent("vllm", path=path, prompt=[1, 2]) == {"prompt": [1, 2], "cache_salt": "s"}
    frame = "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"
    assert await sent("llama.cpp", path=path, prompt=frame) == {"prompt": f"Session s\n\n{frame}"}


def test_a_clients_salt_is_dropped() -> None:
    body = {"model": "m", "messages": turns("user"), "cache_salt": "mine"}
    accepted = schemas.accept("/chat/completions", body)
    assert "cache_salt" not in schemas.for_engine("/chat/completions", accepted)
