"""The gateway's own models behind HTTP, with a record of what was asked; a stand-in of Pinecone.

Of its wire format, version 2026-07 (https://docs.pinecone.io/reference/api), it speaks what is
used: an index is described, with the vectors that it shows, and vectors are upserted and queried.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from askdocs.checks import free_port
from gateway import embeddings, rerank
from gateway.local import Reader
from gateway.search.embed import Embedder


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

    def app(self) -> Starlette:
        reader = Reader(self.embedder)
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
            opened = await model.open(model.path, body)
            return Response(b"".join([chunk async for chunk in opened.chunks()]))

        return Starlette(routes=[Route("/v1/{name}", answer, methods=["POST"])])


@dataclass
class Pinecone:
    """One index."""

    url: str = ""
    dimension: int = 384
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By namespace and id."""
    keys: set[str] = field(default_factory=set)
    queries: int = 0
    looks: int = 0
    """At how many vectors there are: the first one does not show what was written before."""

    def app(self) -> Starlette:
        async def describe(request: Request) -> Response:
            self.keys.add(request.headers["api-key"])
            name = request.path_params["name"]
            if name != "askdocs":
                error = {"code": "NOT_FOUND", "message": f"Resource {name} not found"}
                return JSONResponse({"error": error, "status": 404}, 404)
            vector = {"type": "dense_vector", "dimension": self.dimension, "metric": "cosine"}
            where = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
            return JSONResponse(
                {
                    "name": name,
                    "schema": {"fields": {"values": vector}},
                    "deployment": where,
                    "host": self.url,
                    "status": {"ready": True, "state": "Ready"},
                    "deletion_protection": "disabled",
                }
            )

        async def upsert(request: Request) -> Response:
            body = await request.json()
            for row in body["vectors"]:
                self.rows[body["namespace"], row["id"]] = row
            return JSONResponse({"upsertedCount": len(body["vectors"])})

        async def stats(request: Request) -> Response:
            self.looks += 1
            shown = {"vectorCount": len(self.rows)} if self.looks > 1 else None
            namespaces = {namespace: shown for namespace, _ in self.rows if shown}
            whole = {"indexFullness": 0.0, "totalVectorCount": len(self.rows)}
            return JSONResponse({"namespaces": namespaces, "dimension": self.dimension, **whole})

        async def query(request: Request) -> Response:
            body = await request.json()
            assert self.looks > 1
            self.queries += 1
            asked = np.array(body["vector"])
            scored = [
                {"id": id, "score": float(asked @ row["values"]), "metadata": row["metadata"]}
                for (namespace, id), row in self.rows.items()
                if namespace == body["namespace"]
            ]
            scored.sort(key=lambda match: -match["score"])
            answer = {"matches": scored[: body["topK"]], "namespace": body["namespace"]}
            return Response(json.dumps(answer | {"usage": {"readUnits": 1}}))

        return Starlette(
            routes=[
                Route("/indexes/{name}", describe),
                Route("/vectors/upsert", upsert, methods=["POST"]),
                Route("/describe_index_stats", stats, methods=["POST"]),
                Route("/query", query, methods=["POST"]),
            ]
        )


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
