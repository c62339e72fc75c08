"""The gateway's own models behind HTTP, with a record of what was asked; a stand-in of Pinecone.

Of its wire format, version 2026-07 (https://docs.pinecone.io/reference/api), it speaks what is
used: an index is described, with the vectors that it shows, and vectors are upserted and queried.
It refuses what is beyond https://docs.pinecone.io/reference/api/database-limits/operation-limits.
"""

import base64
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

from askdocs.supervision.checks import free_port
from gateway.core.http import ApiError
from gateway.knowledge.search.embed import Embedder
from gateway.upstream.local import embeddings, rerank
from gateway.upstream.local.models import EmbeddingThread


@dataclass
class Models:
    """/v1/embeddings and /v1/rerank."""

    embedder: Embedder
    embedded: list[str] = field(default_factory=list)
    """Every text, in the order in which they were asked for."""
    keys: set[str] = field(default_factory=set)
    times: int = 1
    """So often each vector holds its numbers: it is as near to the others as ever."""
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
            answer = json.loads(b"".join([chunk async for chunk in opened.chunks()]))
            for row in answer.get("data", []):
                longer = base64.b64decode(row["embedding"]) * self.times
                row["embedding"] = base64.b64encode(longer).decode()
            return JSONResponse(answer)

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
    lost_after: int | None = None
    """Queries after which somebody deletes all vectors."""
    looks: int = 0
    """At how many vectors there are: the first one does not show what was written before."""

    def app(self) -> Starlette:
        def refused(message: str) -> Response:
            return JSONResponse({"code": 3, "message": message, "details": []}, 400)

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
            sent = await request.body()
            body = json.loads(sent)
            if len(sent) > 2_000_000:
                size = f"{len(sent) / 1e6:.1f}MB"
                return refused(f"Request size {size} exceeds the maximum supported size of 2MB")
            if len(body["vectors"]) > 1000:
                return refused("Number of vectors exceeds the maximum supported of 1000")
            if sizes := {len(row["values"]) for row in body["vectors"]} - {self.dimension}:
                return refused(f"Vector dimensions {sizes} are not the index's {self.dimension}")
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
            if body["topK"] > 10_000:
                return refused("Top k must be between 1 and 10000")
            if self.queries == self.lost_after:
                self.rows.clear()
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
