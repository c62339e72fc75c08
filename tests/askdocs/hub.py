"""A hub of models on this machine that speaks the wire format of huggingface.co.

What it does not have it answers with the hub's own headers (X-Error-Code), files come with ETag,
X-Repo-Commit and ranges.
"""

import hashlib
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """`files` by repository and name. A repository in `gated` asks for a token."""

    files: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    break_off: int = 0
    """So many bytes of the next file come; then the connection ends."""
    damage: int = 0
    """So many files come with another byte in them."""
    ranges: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        """The hub as an app."""
        return Starlette(
            routes=[
                Route("/api/models/{owner}/{name}", self.info),
                Route("/api/models/{owner}/{name}/revision/{revision}", self.info),
                Route("/api/models/{owner}/{name}/tree/{revision}", self.tree),
                Route(
                    "/{owner}/{name}/resolve/{revision}/{file:path}",
                    self.resolve,
                    methods=["GET", "HEAD"],
                ),
            ]
        )

    async def info(self, request: Request) -> Response:
        """What a repository holds."""
        repo = "{owner}/{name}".format(**request.path_params)
        if repo not in self.files:
            return missing("RepoNotFound", "Repository not found", 404)
        siblings = [{"rfilename": name} for name in self.files[repo]]
        return JSONResponse(
            {"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "siblings": siblings}
        )

    async def tree(self, request: Request) -> Response:
        """The files of a repository with their sizes."""
        files = self.files["{owner}/{name}".format(**request.path_params)]
        return JSONResponse(
            [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in files.items()
            ]
        )

    async def resolve(self, request: Request) -> Response:
        """A file, or the rest of it."""
        repo = "{owner}/{name}".format(**request.path_params)
        name = request.path_params["file"]
        if repo not in self.files:
            return missing("RepoNotFound", "Repository not found", 404)
        if repo in self.gated:
            return missing("GatedRepo", f"Access to model {repo} is restricted.", 403)
        if name not in self.files[repo]:
            return missing("EntryNotFound", "Entry not found", 404)
        content = self.files[repo][name]
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(content)),
        }
        if request.method == "HEAD":
            return Response(headers=headers)
        self.fetched.append(name)
        status, rest = 200, content
        if wanted := request.headers.get("range"):
            self.ranges.append(wanted)
            first = int(wanted.removeprefix("bytes=").split("-")[0])
            status, rest = 206, content[first:]
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            headers["Content-Length"] = str(len(rest))
        if self.break_off:
            rest, self.break_off = rest[: self.break_off], 0
        if self.damage:
            rest, self.damage = rest[:-1] + bytes([rest[-1] ^ 1]), self.damage - 1
        return Response(rest, status, headers, "application/octet-stream")


def missing(code: str, message: str, status: int) -> Response:
    """What is not there, as the hub says it."""
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return JSONResponse({"error": message}, status, headers)
