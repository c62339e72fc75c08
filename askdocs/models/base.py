"""Resolves the base model of a training run: bundled, a file, a folder, or from the hub."""

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from askdocs.models import model
from askdocs.state.home import Home
from core.errors import AskdocsError
from training.artefacts import convert
from training.data.tokens import Tokens
from training.plan import shape
from training.plan.shape import Shape


@dataclass(frozen=True)
class Base:
    """A base model, before any large file is read."""

    name: str
    """Its name in the recipe."""
    path: Path | None
    """A GGUF file or a Hugging Face folder; None: it is on the hub."""

    def shape(self) -> Shape:
        """Raises AskdocsError: its config cannot be read, or the architecture is not supported."""
        if self.path and self.path.is_file():
            return shape.of_gguf(self.path)
        if self.path is None and self.name in shape.KNOWN:
            return shape.KNOWN[self.name]
        return shape.of_config(self._file("config.json"))

    def tokenizer(self) -> str:
        """SHA-256 of its tokenizer.json. Raises AskdocsError: it is not available."""
        if self.path and self.path.is_file():
            return Tokens(self.path).sha256
        return _sha256(self._file("tokenizer.json"))

    def _file(self, name: str) -> Path:
        return self.path / name if self.path else _fetched(self.name, name)

    def folder(self, python: Path, home: Home, say: Callable[[str], None]) -> Path:
        """The model as a Hugging Face folder, converted or downloaded now if necessary.

        Args:
            python: Python of the training environment.
            say: receives a line about each long step.

        Raises:
            AskdocsError: the model is not available.
        """
        if self.path is None:
            say(f"fetching {self.name} from the hub")
            return _fetched(self.name, None)
        if self.path.is_dir():
            return self.path
        # Shared with `askdocs up --engine vllm`.
        named = self.name if self.name == model.SHIPPED else self.path.stem
        out = home.models / model.folder_name(model.Model(named, str(self.path)))
        home.models.mkdir(parents=True, exist_ok=True)
        script = Path(convert.__file__)
        command = [str(python), str(script), str(self.path), str(out)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            last = ""
            for line in process.stdout:
                last = line.strip() or last
                say(last)
        if process.returncode:
            raise AskdocsError(f"{self.path} could not be converted for training: {last}")
        return out


def find(name: str) -> Base:
    """The base model that a recipe names. Raises AskdocsError: it does not exist."""
    if name == model.SHIPPED:
        return Base(name, Path(model.shipped().source))
    path = Path(name).expanduser()
    if path.suffix == ".gguf" or path.is_dir():
        if path.is_file() or (path / "config.json").is_file():
            return Base(name, path.resolve())
        raise AskdocsError(
            f"base_model {name!r}: is neither a GGUF file nor a folder with config.json: name "
            "another"
        )
    if not model.HUB_ID.fullmatch(name):
        raise AskdocsError(
            f"base_model {name!r}: is neither a local file or folder nor a hub id (owner/name);"
            f" {model.SHIPPED} is bundled"
        )
    return Base(name, None)


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): name a base_model with its tokenizer"
        ) from None


def _fetched(repo: str, file: str | None) -> Path:
    """A file of a hub repository, or a folder with all files of the model."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        if file:
            return Path(hf_hub_download(repo, file, etag_timeout=model.HUB_TIMEOUT))
        return Path(snapshot_download(repo, allow_patterns=list(model.FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, httpx.HTTPError) as error:
        what = next(iter(str(error).splitlines()), "")
        raise AskdocsError(
            f"base_model {repo}: could not be fetched from the hub"
            f" ({type(error).__name__}: {what}): check the name and the network; for a gated one"
            " accept its terms there and set HF_TOKEN; or name a folder"
        ) from None
