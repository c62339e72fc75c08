"""Keeps versions on the hub: a repository contains the version pushed last, with a tag, docs@v7,
for each.

The adapter's files are at the top, where libraries look for them; everything else is in askdocs/.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from core.errors import AskdocsError
from training.versions import files as hashed
from training.versions.hub_card import card, is_llama, notice
from training.versions.manifest import MANIFEST, Manifest, decode
from training.versions.store import Store
from wiki.sources.sync import Progress

SCHEME = "hf://"
OURS = "askdocs/"
# The bundled model's name in recipes, and its id on the hub.
SHIPPED = {"SmolLM2-135M-Instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}


class Hub:
    """A repository on the hub, or at HF_ENDPOINT."""

    def __init__(self, address: str, token: str | None) -> None:
        """Raises AskdocsError: `address` is not of the form hf://org/name."""
        self.repo = address.removeprefix(SCHEME)
        if not address.startswith(SCHEME) or self.repo.count("/") != 1:
            raise AskdocsError(
                f"{address!r} is no repository of the hub: write it as hf://ORG/NAME"
            )
        self._has_token = token is not None
        # False: do not use the token of whoever is logged in on this machine.
        self._api = HfApi(token=token or False)

    def __str__(self) -> str:
        return SCHEME + self.repo

    def push(
        self, name: str, store: Store, license: str | None, public: bool, progress: Progress
    ) -> bool:
        """Push a version in one commit with a card, and tag it. False: it exists already.

        Args:
            license: the base model's licence in the hub's notation; None: as in the base model's
                card.
            public: make a new repository public.

        Raises:
            AskdocsError: another version has this name; the licence is unknown, or requires another
                name for the repository.
        """
        if not self._has_token:
            raise AskdocsError(f"{self}: set HF_TOKEN to a token that may write there")
        content, manifest = store.manifest_bytes(name), store.manifest(name)
        folder = store.fetch(name, None, progress)
        base = SHIPPED.get(manifest.base_model, manifest.base_model)
        with self._reported_errors():
            license = license or self._license(base)
            if is_llama(license) and not self.repo.split("/")[1].lower().startswith("llama"):
                raise AskdocsError(
                    f"{self}: the licence of {base} ({license}) requires a name that begins with "
                    "Llama: rename the repository"
                )
            self._api.create_repo(self.repo, private=not public, exist_ok=True)
            if name in [tag.name for tag in self._api.list_repo_refs(self.repo).tags]:
                if Path(self._download(name, OURS + MANIFEST)).read_bytes() == content:
                    return False
                raise AskdocsError(f"{self}: has a different {name}: name another repository")
            verdicts = store.verdicts(name)
            text = card(manifest, self.repo, base, license, verdicts[-1] if verdicts else None)
            files: dict[str, Path | bytes] = {
                **{_there(path): folder / path for path in manifest.files},
                OURS + MANIFEST: content,
                "README.md": text.encode(),
            }
            if notice_text := notice(license):
                files["NOTICE"] = notice_text.encode()
            self._commit(name, files)
        return True

    def pull(self, name: str, store: Store, work: Path, progress: Progress) -> None:
        """Pull a pushed version into the store.

        Args:
            work: an empty folder for downloads.

        Raises:
            AskdocsError: the version does not exist; a file does not match the manifest.
        """
        with self._reported_errors():
            content = self._download(name, OURS + MANIFEST).read_bytes()
            manifest = decode(Manifest, content, f"{self}/{OURS}{MANIFEST}")
            for number, path in enumerate(manifest.files, 1):
                progress(f"downloading {name}", number, len(manifest.files))
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._download(name, _there(path)), work / path)
        fix = "push the version there again"
        hashed.verify(work, manifest.files, f"{self}@{name}/", fix, progress)
        store.put(name, None, content, work, progress)

    def _commit(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        head = self._api.model_info(self.repo)
        before = {file.rfilename for file in head.siblings or ()} - {".gitattributes"}
        commit = self._api.create_commit(
            self.repo,
            [
                *(CommitOperationAdd(path, content) for path, content in files.items()),
                *(CommitOperationDelete(path) for path in sorted(before - files.keys())),
            ],
            commit_message=f"Add {name}",
            # Do not overwrite concurrent commits.
            parent_commit=head.sha,
        )
        self._api.create_tag(self.repo, tag=name, revision=commit.oid)

    def _download(self, name: str, path: str) -> Path:
        return Path(self._api.hf_hub_download(self.repo, path, revision=name))

    def _license(self, base: str) -> str:
        """The licence from the base model's card."""
        fix = "name it with --license"
        try:
            data = self._api.model_info(base).card_data
        except (HfHubHTTPError, HFValidationError):
            raise AskdocsError(f"{base}: the hub does not know its licence: {fix}") from None
        if data is None or not (license_name := data.get("license_name") or data.get("license")):
            raise AskdocsError(f"{base}: its card on the hub names no licence: {fix}")
        return str(license_name)

    @contextmanager
    def _reported_errors(self) -> Iterator[None]:
        try:
            yield
        except RevisionNotFoundError as error:
            raise AskdocsError(f"{self}: has no such version ({_status(error)})") from None
        except RepositoryNotFoundError as error:
            raise AskdocsError(
                f"{self}: there is no such repository, or HF_TOKEN may not see it"
                f" ({_status(error)})"
            ) from None
        except RemoteEntryNotFoundError:
            raise AskdocsError(f"{self}: was not pushed by `askdocs models push`") from None
        except HFValidationError as error:
            raise AskdocsError(f"{self}: {error}: name another repository") from None
        except HfHubHTTPError as error:
            raise AskdocsError(
                f"{self}: {_status(error)}: check the permissions of HF_TOKEN"
            ) from None
        # The library wraps the causes of failed transfers.
        except (httpx.HTTPError, OSError, RuntimeError) as error:
            why = error.__cause__ or error
            raise AskdocsError(f"{self}: {why}: check the network and HF_ENDPOINT") from None


def _there(path: str) -> str:
    """The path of a version's file in a repository, whose own README.md is the card."""
    top = path.removeprefix("adapter/")
    return top if top != path and top not in ("README.md", "NOTICE") else OURS + path


def _status(error: HfHubHTTPError) -> str:
    return f"{error.response.status_code} {error.server_message or error.response.reason_phrase}"
