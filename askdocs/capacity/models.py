"""Finds a model's dimensions: a file, a folder, the hub's cache, the bundled table, the hub."""

import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from askdocs.capacity.shape import Shape, of_config
from core.errors import AskdocsError

FILE = Path(__file__).with_name("models.toml")
HUB_TIMEOUT = 10.0


class SizedModel(NamedTuple):
    """A model, and the source of its dimensions."""

    shape: Shape
    where: str


def known() -> dict[str, dict[str, Any]]:
    """Bundled configs, by hub id."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def find(
    name: str, config: Path | None = None, bits: float | None = None, online: bool = True
) -> SizedModel:
    """The dimensions of a model.

    Args:
        name: a folder with a config.json, or a hub id.
        config: a config file to use instead.
        bits: bits per weight; None: from the config.
        online: allow requests to the hub.

    Raises:
        AskdocsError: no config is found, or the planner does not support it.
    """
    if config is None and Path(name).is_dir():
        config = Path(name) / "config.json"
    if config is not None:
        return _of_file(config, bits)
    cached = _cached(name)
    if cached is not None:
        return _of_file(cached, bits)
    table = known()
    if name in table:
        where = f"{FILE.name} of askdocs: {name}"
        return SizedModel(of_config(table[name], where, bits), where)
    if not online:
        raise _unknown(name, "it is neither in the hub's cache nor on askdocs's list")
    return _of_file(_download(name), bits)


def _of_file(file: Path, bits: float | None) -> SizedModel:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): name a model's config.json"
        ) from None
    except ValueError as error:
        raise AskdocsError(f"{file}: is not JSON ({error}): name a model's config.json") from None
    if not isinstance(config, dict):
        raise AskdocsError(f"{file}: is not a JSON object: name a model's config.json")
    return SizedModel(of_config(config, str(file), bits), str(file))


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        raise AskdocsError(
            f"--model {name!r} is neither a local folder nor a hub id (owner/name)"
        ) from None
    return Path(path) if isinstance(path, str) else None


def _download(name: str) -> Path:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
    )

    try:
        # Checked first, because hf_hub_download retries an unreachable hub for 25 s, noisily.
        HfApi().model_info(name, timeout=HUB_TIMEOUT)
        return Path(hf_hub_download(name, "config.json"))
    except GatedRepoError:
        why = "the hub requires that you accept its terms and set HF_TOKEN"
    except RepositoryNotFoundError:
        why = "the hub has no such repository, or shows it only with HF_TOKEN"
    except (EntryNotFoundError, HfHubHTTPError, OSError, httpx.HTTPError) as error:
        why = f"the hub did not return config.json ({type(error).__name__})"
    raise _unknown(name, why)


def _unknown(name: str, why: str) -> AskdocsError:
    return AskdocsError(f"{name}: {why}: name its config.json with --config FILE")
