"""Settings for editors, agents and tools that use a gateway: content and file location.

An existing file keeps its other settings and its comments: TOML and YAML are edited with libraries
that preserve them, JSON only if it has no comments.
"""

import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import tomlkit
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from core.errors import AskdocsError

Form = Literal["json", "yaml", "toml"]
Tree = dict[str, Any]
LARGEST = 2**20  # maximum bytes of a settings file
# These clients show no annotations.
HEADERS = {"x-askdocs-sources": "text"}


@dataclass(frozen=True)
class Target:
    """What a client should ask."""

    url: str
    """The gateway's base URL, with /v1."""
    key: str
    model: str
    """An alias that answers from the wiki."""
    models: Mapping[str, int | None] = field(default_factory=dict)
    """The gateway's models, with the context of each in tokens."""
    autocomplete: str | None = None
    """A fill-in-the-middle code model."""
    quotes: bool = False
    """Does the alias only quote pages, because its model is too weak to write?"""

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    @property
    def code(self) -> str:
        """The model for tasks that are not questions to the wiki."""
        return "base" if "base" in self.models else self.model

    @property
    def mcp(self) -> str:
        return f"{self.root}/mcp"

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def context(self, model: str) -> int:
        return self.models.get(model) or 8192


@dataclass(frozen=True)
class File:
    """A client's settings file."""

    path: str
    """Path relative to the user's home."""
    form: Form
    settings: Callable[[Target], Tree]
    defaults: Tree = field(default_factory=dict)
    """Required content of a new file; an existing file keeps its own."""


@dataclass(frozen=True)
class Client:
    """A program that uses the gateway."""

    title: str
    files: tuple[File, ...]
    after: str
    """What the user does next."""
    endpoint: str = "/chat/completions"
    by_hand: str = ""
    """Why no file is written, and what to enter where."""


def _continue(target: Target) -> Tree:
    common = {"apiBase": target.url, "apiKey": target.key}
    chat = {"provider": "openai", **common}
    code = {"name": "askdocs code", **chat, "model": target.code, "roles": ["edit", "apply"]}
    answers = {**chat, "requestOptions": {"headers": HEADERS}}
    models = [{"name": "askdocs", **answers, "model": target.model, "roles": ["chat"]}, code]
    if target.autocomplete:
        fim = {"provider": "vllm", **common, "model": target.autocomplete}
        models.append({"name": "askdocs autocomplete", **fim, "roles": ["autocomplete"]})
    if "minilm" in target.models:
        models.append({"name": "askdocs embed", **chat, "model": "minilm", "roles": ["embed"]})
    if "local" in target.models:
        # Cohere's format, whose base URL keeps /v1 because of the trailing slash.
        rerank = {**chat, "provider": "cohere", "apiBase": f"{target.url}/", "model": "local"}
        models.append({"name": "askdocs rerank", **rerank, "roles": ["rerank"]})
    server: Tree = {"name": "askdocs", "type": "streamable-http", "url": target.mcp}
    server["requestOptions"] = {"headers": target.authorization}
    return {"models": models, "mcpServers": [server]}


def _zed(target: Target) -> Tree:
    models = [
        {
            "name": name,
            "display_name": f"askdocs: {name}",
            "max_tokens": target.context(name),
            "max_output_tokens": min(4096, target.context(name) // 4),
            "capabilities": {
                "tools": True,
                "images": False,
                "parallel_tool_calls": False,
                "prompt_cache_key": False,
            },
        }
        for name in dict.fromkeys((target.model, target.code))
    ]
    provider = {"api_url": target.url, "available_models": models}
    return {"language_models": {"openai_compatible": {"askdocs": provider}}}


def _opencode(target: Target) -> Tree:
    models = {
        name: {
            "name": f"askdocs: {name}",
            "limit": {"context": target.context(name), "output": min(4096, target.context(name))},
        }
        for name in dict.fromkeys((target.model, target.code))
    }
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "askdocs",
        "options": {"baseURL": target.url, "apiKey": target.key, "headers": HEADERS},
        "models": models,
    }
    server = {"type": "remote", "url": target.mcp, "oauth": False, "headers": target.authorization}
    return {
        "provider": {"askdocs": provider},
        "small_model": f"askdocs/{target.code}",
        "mcp": {"askdocs": server},
    }


def _codex(target: Target) -> Tree:
    provider = {
        "name": "askdocs",
        "base_url": target.url,
        "wire_api": "responses",
        "experimental_bearer_token": target.key,
        "http_headers": HEADERS,
    }
    return {
        "model": target.model,
        "model_provider": "askdocs",
        "model_context_window": target.context(target.model),
        "model_providers": {"askdocs": provider},
        "mcp_servers": {"askdocs": {"url": target.mcp, "http_headers": target.authorization}},
    }


def _claude_code(target: Target) -> Tree:
    return {
        "env": {
            "ANTHROPIC_BASE_URL": target.root,
            "ANTHROPIC_AUTH_TOKEN": target.key,
            "ANTHROPIC_CUSTOM_HEADERS": "\n".join(f"{name}: {HEADERS[name]}" for name in HEADERS),
            "ANTHROPIC_MODEL": target.model,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": target.code,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # It cannot learn the context: without these it expects 200,000 tokens.
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(target.context(target.model) // 4),
            "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(target.context(target.model)),
        }
    }


def _claude_code_mcp(target: Target) -> Tree:
    server = {"type": "http", "url": target.mcp, "headers": target.authorization}
    return {"mcpServers": {"askdocs": server}}


def _cline(target: Target) -> Tree:
    settings = {
        "provider": "openai-compatible",
        "apiKey": target.key,
        "model": target.model,
        "baseUrl": target.url,
    }
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    entry = {"settings": settings, "updatedAt": now, "tokenSource": "manual"}
    return {"lastUsedProvider": "openai-compatible", "providers": {"openai-compatible": entry}}


def _aider(target: Target) -> Tree:
    return {
        "model": f"openai/{target.model}",
        "weak-model": f"openai/{target.code}",
        "openai-api-base": target.url,
        "openai-api-key": target.key,
        "chat-mode": "ask",
        "map-tokens": 0,
        "model-metadata-file": str(Path.home() / ".aider.askdocs.json"),
        "show-model-warnings": False,
    }


def _aider_models(target: Target) -> Tree:
    return {
        f"openai/{name}": {
            "max_input_tokens": target.context(name),
            "max_output_tokens": min(4096, target.context(name) // 4),
            "input_cost_per_token": 0,
            "output_cost_per_token": 0,
            "litellm_provider": "openai",
            "mode": "chat",
        }
        for name in dict.fromkeys((target.model, target.code))
    }


CLIENTS = {
    "continue": Client(
        "Continue",
        (
            File(
                ".continue/config.yaml",
                "yaml",
                _continue,
                {"name": "askdocs", "version": "1.0.0", "schema": "v1"},
            ),
        ),
        "Choose the model askdocs in Continue; its command line is cn.",
    ),
    "cline": Client(
        "Cline",
        (File(".cline/data/settings/providers.json", "json", _cline, {"version": 1, "modes": {}}),),
        "The command cline asks askdocs now. In the editor, choose the provider OpenAI Compatible"
        " and enter base URL, key and model of the file.",
    ),
    "zed": Client(
        "Zed",
        (File(".config/zed/settings.json", "json", _zed),),
        "Enter the key in Zed's provider settings: it keeps keys apart from its settings.",
    ),
    "jetbrains": Client(
        "JetBrains AI Assistant",
        (),
        "",
        by_hand="Settings, Tools, AI Assistant, Providers & API keys: choose OpenAI-compatible and"
        " enter\n  URL    {url}\n  key    {key}\n  model  {model}",
    ),
    "copilot": Client(
        "GitHub Copilot in VS Code",
        (),
        "",
        by_hand="Chat: Manage Language Models, Add, Custom Endpoint: enter\n"
        "  URL    {url}/chat/completions\n  key    {key}\n  model  {model}",
    ),
    "opencode": Client(
        "opencode",
        (
            File(
                ".config/opencode/opencode.json",
                "json",
                _opencode,
                {"$schema": "https://opencode.ai/config.json"},
            ),
        ),
        "Start it with: opencode --model askdocs/{model}",
    ),
    "codex": Client(
        "Codex",
        (File(".codex/askdocs.config.toml", "toml", _codex),),
        "Start it with: codex --profile askdocs",
        endpoint="/responses",
    ),
    "claude-code": Client(
        "Claude Code",
        (
            File(".claude/askdocs.json", "json", _claude_code),
            File(".claude/askdocs.mcp.json", "json", _claude_code_mcp),
        ),
        "Start it with: claude --settings ~/.claude/askdocs.json"
        " --mcp-config ~/.claude/askdocs.mcp.json",
        endpoint="/messages",
    ),
    "aider": Client(
        "aider",
        (
            File(".aider.askdocs.yml", "yaml", _aider),
            File(".aider.askdocs.json", "json", _aider_models),
        ),
        "Start it with: aider --config ~/.aider.askdocs.yml (--chat-mode diff edits files)",
    ),
}


def merged(text: str, file: File, target: Target) -> str:
    """Merge the client's settings into the text of a settings file, which is empty for a new file.

    Raises:
        AskdocsError: the format is invalid, or comments would be lost.
    """
    tree, write = _read(text, file.form)
    for name, value in file.defaults.items():
        tree.setdefault(name, value)
    _merge(tree, file.settings(target), "")
    return write(tree)


def _merge(tree: Any, settings: Mapping[str, Any], place: str) -> None:
    for name, value in settings.items():
        here = f"{place}{name}"
        current = tree.get(name)
        if current is None:
            tree[name] = value
        elif isinstance(value, dict):
            if not isinstance(current, dict):
                raise AskdocsError(f"{here} is not a group of settings in the file: correct it")
            _merge(current, value, f"{here}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            if not isinstance(current, list):
                raise AskdocsError(f"{here} is not a list in the file: correct it")
            _join(current, value)
        else:
            tree[name] = value


def _join(current: list[Any], entries: list[Tree]) -> None:
    """Replace entries of the same name, and append the others."""
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in current]
    for entry in entries:
        if entry["name"] in names:
            current[names.index(entry["name"])] = entry
        else:
            current.append(entry)


def _read(text: str, form: Form) -> tuple[Any, Callable[[Any], str]]:
    parse = {"json": _json, "toml": _toml, "yaml": _yaml}[form]
    try:
        tree, write = parse(text)
    except (ValueError, RecursionError) as error:
        what = "JSON without comments" if form == "json" else form.upper()
        raise AskdocsError(f"it is not {what} ({error}); add the settings by hand") from None
    if not isinstance(tree, dict):
        raise AskdocsError(f"it is {form.upper()} without names at its top; add them by hand")
    return tree, write


def _json(text: str) -> tuple[Any, Callable[[Any], str]]:
    def write(tree: Any) -> str:
        return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"

    return json.loads(text) if text.strip() else {}, write


def _toml(text: str) -> tuple[Any, Callable[[Any], str]]:
    return tomlkit.parse(text), tomlkit.dumps


def _yaml(text: str) -> tuple[Any, Callable[[Any], str]]:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        tree = yaml.load(text)
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:200]) from None

    def write(tree: Any) -> str:
        out = io.StringIO()
        yaml.dump(tree, out)
        return out.getvalue()

    return {} if tree is None else tree, write


def content(path: Path) -> str:
    """The content of a settings file; empty if it does not exist. Raises AskdocsError."""
    try:
        if path.stat().st_size > LARGEST:
            raise AskdocsError(f"{path} is larger than {LARGEST:,} bytes")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise AskdocsError(f"{path} cannot be read: {error}") from None


def replace(path: Path, text: str) -> Path | None:
    """Write a settings file atomically; returns the backup copy of the old file.

    As it contains a key, only its owner can read a new file. For a link, its target is written.
    """
    path = path.resolve()
    backup = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        if path.exists():
            stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
            backup = _stored(path.read_bytes(), path.with_name(f"{path.name}.{stamp}.bak"), mode)
        _stored(text.encode(), path, mode)
    except OSError as error:
        raise AskdocsError(f"{path} cannot be written: {error.strerror or error}") from None
    return backup


def _stored(data: bytes, path: Path, mode: int) -> Path:
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    new = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(mode)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return path
