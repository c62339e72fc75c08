"""An engine of the tests for load: many streams at once, at a speed that can be changed.

`python -m tests.chaos.upstream PORT`. It speaks OpenAI's API as any server does, and says one
sentence of the tests' wiki, over and over; `POST /control` with `wait` and `pause` makes it slow.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

SENTENCE = "The coffee machine stands in the kitchen on floor 3. "
WORDS = [f"{word} " for word in SENTENCE.split()]
LONGEST = 100  # chunks; who asks for more gets one sentence
speed = {"wait": 0.02, "pause": 0.02}  # seconds before the first chunk, and between two


async def health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def models(_: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": "load", "max_model_len": 8192}]})


async def control(request: Request) -> Response:
    speed.update(await request.json())
    return JSONResponse(speed)


async def chat(request: Request) -> Response:
    asked = await request.json()
    wanted = asked.get("max_tokens") or len(WORDS)
    count = wanted if wanted <= LONGEST else len(WORDS)
    if not asked.get("stream"):
        await asyncio.sleep(speed["wait"])
        message = {"role": "assistant", "content": SENTENCE}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse({**_head("chat.completion"), "choices": [choice], "usage": _usage(10)})
    return StreamingResponse(_events(count), media_type="text/event-stream")


async def _events(count: int) -> AsyncIterator[bytes]:
    await asyncio.sleep(speed["wait"])
    for number in range(count):
        delta = {"content": WORDS[number % len(WORDS)]}
        yield _event([{"index": 0, "delta": delta, "finish_reason": None}])
        await asyncio.sleep(speed["pause"])
    yield _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    yield _event([], usage=_usage(count))
    yield b"data: [DONE]\n\n"


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    chunk = {**_head("chat.completion.chunk"), "choices": choices, **more}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-load", "object": kind, "created": int(time.time()), "model": "load"}


def _usage(completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": 7,
        "completion_tokens": completion,
        "total_tokens": 7 + completion,
    }


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/v1/models", models),
        Route("/control", control, methods=["POST"]),
        Route("/v1/chat/completions", chat, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
