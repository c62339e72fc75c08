"""The gateway's own models behind HTTP, with a record of what was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from askdocs.supervision.checks import free_port
from gateway.http.asgi import ApiError
from gateway.upstream.local import embeddings, rerank
from gateway.upstream.local.models import EmbeddingThread
from wiki.index.embed import Embedder


@dataclass
class Models:
    """/v1/embeddings and /v1/rerank."""

    embedder: Embedder
    embedded: list[str] = field(default_factory=list)
    """Every text, in the order in which they were asked for."""
    keys: set[str] = field(default_factory=set)
    hold_after: int | None = None
    """Texts after which no request is answered."""
    held: threading.Event = field(default_factory=threading.Event)

    def documents(self) -> list[str]:
        """Of the texts, those of `The ...`, which are no questions."""
        return [text for text in self.embedded if text.startswith("The ")]

    def app(self) -> Starlette:
        reader = EmbeddingThread(self.embedder)
        models = {"embeddings": embeddings.model(reader), "rerank": rerank.model(reader)}

        async def answer(request: Request) -> Response:
            self.keys.add(request.headers["authorization"])
            body = await request.json()
            if self.hold_after is not None and len(self.embedded) >= self.hold_after:
                self.held.set()
                await request.receive()  # it is there when the client has gone
                return Response(status_code=499)
            self.embedded += body.get("input", [])
            model = models[request.path_params["name"]]
            try:
                opened = await model.open(model.path, body)
            except ApiError as error:
                return JSONResponse(error.body, error.status)
            return Response(b"".join([chunk async for chunk in opened.chunks()]))

        return Starlette(routes=[Route("/v1/{name}", answer, methods=["POST"])])


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """The address of a server of its own, without a path."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
