"""A hub on this machine that takes uploads: repositories, preupload, LFS, commits, tags.

It speaks the wire format that huggingface_hub 1.33 sends and reads, by its source; the real hub
was not at hand. It refuses what the real one would: a token that may not write, a parent that is
not the head, an LFS file that was not uploaded or is another, a card whose metadata is not YAML.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, field

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.askdocs.hub import missing

TOKEN = "hf_may_write"
FIRST = "0" * 40


@dataclass
class Repository:
    """Its files by commit; the first one has none but .gitattributes."""

    private: bool = True
    head: str = FIRST
    commits: dict[str, dict[str, bytes]] = field(
        default_factory=lambda: {FIRST: {".gitattributes": b"* text\n"}}
    )
    tags: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def at(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit means."""
        names = {"main": self.head, **self.tags, **{commit: commit for commit in self.commits}}
        return names.get(revision)


@dataclass
class UploadHub:
    """`repositories` by name."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """What LFS has, by SHA-256."""

    @property
    def app(self) -> Starlette:
        """The hub as an app."""
        api, repo = "/api/models/{owner}/{name}", "/{owner}/{name}"
        return Starlette(
            routes=[
                Route("/api/repos/create", self.create, methods=["POST"]),
                Route("/api/validate-yaml", self.validate, methods=["POST"]),
                Route(api, self.info),
                Route(f"{api}/refs", self.refs),
                Route(f"{api}/revision/{{revision}}", self.info),
                Route(f"{api}/preupload/{{revision}}", self.preupload, methods=["POST"]),
                Route(f"{api}/commit/{{revision}}", self.commit, methods=["POST"]),
                Route(f"{api}/tag/{{revision}}", self.tag, methods=["POST"]),
                Route(f"{repo}.git/info/lfs/objects/batch", self.batch, methods=["POST"]),
                Route("/lfs/{oid}", self.upload, methods=["PUT"]),
                Route("/lfs/{oid}/verify", self.verify, methods=["POST"]),
                Route(
                    f"{repo}/resolve/{{revision}}/{{file:path}}",
                    self.resolve,
                    methods=["GET", "HEAD"],
                ),
            ]
        )

    async def create(self, request: Request) -> Response:
        """A new repository."""
        if refusal := _refused(request):
            return refusal
        asked = await request.json()
        name = f"{asked['organization']}/{asked['name']}"
        url = {"url": str(request.base_url.replace(path=f"/{name}"))}
        if name in self.repositories:
            return JSONResponse({"error": "You already created this model repo", **url}, 409)
        private = asked.get("private", asked.get("visibility") == "private")
        self.repositories[name] = Repository(private)
        return JSONResponse(url)

    async def validate(self, request: Request) -> Response:
        """Are the metadata of a card YAML?"""
        content = (await request.json())["content"]
        _, metadata, _ = content.split("---\n", 2)
        if not isinstance(yaml.safe_load(metadata), dict):
            return JSONResponse({"errors": [{"message": "no metadata"}], "warnings": []}, 400)
        return JSONResponse({"errors": [], "warnings": []})

    async def info(self, request: Request) -> Response:
        """What a repository holds, with the metadata of its card."""
        repository = self._repository(request)
        if repository is None or (repository.private and _refused(request)):
            return missing("RepoNotFound", "Repository not found", 404)
        commit = repository.at(request.path_params.get("revision", "main"))
        if commit is None:
            return missing("RevisionNotFound", "Invalid rev id", 404)
        files = repository.commits[commit]
        facts = {"siblings": [{"rfilename": name} for name in files], "sha": commit}
        if card := files.get("README.md", b"").decode():
            facts["cardData"] = yaml.safe_load(card.split("---\n")[1])
        return JSONResponse({"id": "x/y", "private": repository.private, **facts})

    async def refs(self, request: Request) -> Response:
        """Branches and tags."""
        if (repository := self._repository(request)) is None:
            return missing("RepoNotFound", "Repository not found", 404)
        named = {"tags": repository.tags, "heads": {"main": repository.head}}
        tags, branches = (
            [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": c} for n, c in refs.items()]
            for kind, refs in named.items()
        )
        return JSONResponse({"branches": branches, "tags": tags, "converts": []})

    async def preupload(self, request: Request) -> Response:
        """Which files go to LFS."""
        if refusal := _refused(request):
            return refusal
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in (await request.json())["files"]
        ]
        return JSONResponse({"files": modes})

    async def batch(self, request: Request) -> Response:
        """Where the objects of LFS go; none for what is there."""
        if refusal := _refused(request):
            return refusal
        objects = [
            {
                **asked,
                "actions": {
                    "upload": {"href": f"{request.base_url}lfs/{asked['oid']}"},
                    "verify": {"href": f"{request.base_url}lfs/{asked['oid']}/verify"},
                },
            }
            if asked["oid"] not in self.objects
            else asked
            for asked in (await request.json())["objects"]
        ]
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def upload(self, request: Request) -> Response:
        """An object of LFS."""
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != request.path_params["oid"]:
            return JSONResponse({"error": "another SHA-256"}, 400)
        self.objects[request.path_params["oid"]] = content
        return Response()

    async def verify(self, request: Request) -> Response:
        """Is it there?"""
        found = self.objects.get(request.path_params["oid"])
        is_whole = found is not None and len(found) == (await request.json())["size"]
        return Response(status_code=200 if is_whole else 404)

    async def commit(self, request: Request) -> Response:
        """Files that are added and deleted, at once."""
        if refusal := _refused(request):
            return refusal
        repository = self._repository(request)
        assert repository is not None
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit", repository.head) != repository.head:
            return JSONResponse({"error": "A commit has happened since."}, 412)
        files = dict(repository.commits[repository.head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    return JSONResponse({"error": f"no LFS object {value['oid']}"}, 400)
                files[value["path"]] = self.objects[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        oid = hashlib.sha1(json.dumps([repository.head, *lines]).encode()).hexdigest()
        repository.head = oid
        repository.commits[oid] = files
        repository.messages.append(header["summary"])
        url = "{owner}/{name}/commit".format(**request.path_params)
        return JSONResponse({"commitUrl": f"{request.base_url}{url}/{oid}", "commitOid": oid})

    async def tag(self, request: Request) -> Response:
        """A name for a commit."""
        if refusal := _refused(request):
            return refusal
        repository, tag = self._repository(request), (await request.json())["tag"]
        assert repository is not None
        if tag in repository.tags:
            return JSONResponse({"error": "Tag exists already"}, 409)
        commit = repository.at(request.path_params["revision"])
        assert commit is not None
        repository.tags[tag] = commit
        return Response()

    async def resolve(self, request: Request) -> Response:
        """A file."""
        repository = self._repository(request)
        if repository is None or (repository.private and _refused(request)):
            return missing("RepoNotFound", "Repository not found", 404)
        if (commit := repository.at(request.path_params["revision"])) is None:
            return missing("RevisionNotFound", "Invalid rev id", 404)
        content = repository.commits[commit].get(request.path_params["file"])
        if content is None:
            return missing("EntryNotFound", "Entry not found", 404)
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"ETag": etag, "X-Repo-Commit": commit, "Content-Length": str(len(content))}
        if request.method == "HEAD":
            return Response(headers=headers)
        return Response(content, 200, headers, "application/octet-stream")

    def _repository(self, request: Request) -> Repository | None:
        return self.repositories.get("{owner}/{name}".format(**request.path_params))


def _refused(request: Request) -> Response | None:
    if request.headers.get("authorization") == f"Bearer {TOKEN}":
        return None
    return JSONResponse({"error": "Invalid credentials in Authorization header"}, 401)
