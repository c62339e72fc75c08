"""Settings: one `askdocs.toml` with a section per package. Unknown keys are errors.

Precedence: command line > `ASKDOCS_<SECTION>_<KEY>` in the environment > file > default. An unknown
    key is an error in the file and in the environment, because a misspelt key would otherwise be
    silently ignored. Secrets are read from the environment only.

Each package owns its section as a subclass of `Section`; entry points call `load` once and pass the
object down.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.errors import SettingsError

SECTIONS = ("gateway", "search", "widget", "slack", "training", "eval", "up", "sites")
# The docs use ASKDOCS_KEY for the key in a client's environment; it sets nothing here.
GLOBALS = ("ASKDOCS_HOME", "ASKDOCS_CONFIG", "ASKDOCS_KEY")
# Keys of several sections: one variable sets the key in each section that has it.
SHARED = {"database_url": "ASKDOCS_DATABASE_URL", "redis_url": "ASKDOCS_REDIS_URL"}
DEFAULT_FILE = Path("askdocs.toml")


class Section(BaseSettings):
    """One table of `askdocs.toml`. Subclasses set `section` and declare fields."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)
    section: ClassVar[str]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load` merges the sources itself, so that errors can name each value's origin.
        return (init_settings,)


S = TypeVar("S", bound=Section)

_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def _are_names(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ValueError(
                f"{host!r} is not a host's name; write it in lower case, without scheme, port and"
                " path, like api.example.com, or *.example.com"
            )
    return hosts


Hosts = Annotated[
    tuple[str, ...],
    AfterValidator(_are_names),
    Field(
        description="Accepted host names, such as api.example.com or *.example.com; addresses,"
        " localhost and host always work."
    ),
]
"""For `gateway.http.hosts.AllowedHosts`."""


def load(
    model: type[S],
    /,
    *,
    env: Mapping[str, str] | None = None,
    file: Path | None = None,
    **overrides: Any,
) -> S:
    """Return the section, merged from all sources.

    `overrides` come from the command line; None means not set. `file` defaults to `ASKDOCS_CONFIG`
    or `askdocs.toml` in the working directory, which need not exist.

    Raises:
        SettingsError: an unknown key or section, a value of the wrong type, a secret in the file,
            or a named file that does not exist.
    """
    env = os.environ if env is None else env
    _refuse_unknown_variables(env)
    path, tables = read_file(env, file)
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for key, value in tables.get(model.section, {}).items():
        if _is_secret(model, key):
            raise SettingsError(
                f"{path}: [{model.section}] {key} is a secret and does not belong in a file;"
                f" set {variable(model, key)} in the environment"
            )
        values[key] = value
        origin[key] = f"{path}: [{model.section}] {key}"
    for key, name in SHARED.items():
        if key in model.model_fields and env.get(name):
            values[key] = env[name]
            origin[key] = name
    prefix = variable(model, "")
    for name, text in env.items():
        if name.startswith(prefix):
            key = name[len(prefix) :].lower()
            if key in SHARED:
                raise SettingsError(f"{name} (environment) is not a setting; it is {SHARED[key]}")
            values[key] = _parse(model, key, text, name)
            origin[key] = name
    for key, value in overrides.items():
        if value is not None:
            values[key] = value
            origin[key] = "--" + key.replace("_", "-")
    try:
        return model(**values)
    except ValidationError as error:
        raise SettingsError(_explain(model, error, origin, path)) from None


def variable(model: type[Section], key: str) -> str:
    """The environment variable that sets `key`, for example `ASKDOCS_GATEWAY_PORT`."""
    if key in SHARED:
        return SHARED[key]
    return f"ASKDOCS_{model.section.upper()}_{key.upper()}"


def environment(settings: Section) -> dict[str, str]:
    """The variables that give a child process the same settings. The inverse of `load`."""
    result = {}
    for key, value in settings:
        if value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if isinstance(value, list | tuple):
            value = ",".join(str(item) for item in value)
        if isinstance(value, dict):
            tables = {
                name: item.model_dump(mode="json", exclude_defaults=True)
                for name, item in value.items()
            }
            value = json.dumps(tables)
        result[variable(type(settings), key)] = str(value)
    return result


def settings_file(env: Mapping[str, str] | None = None) -> Path:
    """The file that `load` reads: `ASKDOCS_CONFIG`, or `askdocs.toml` in the working directory."""
    env = os.environ if env is None else env
    return Path(env.get("ASKDOCS_CONFIG") or DEFAULT_FILE)


def read_file(env: Mapping[str, str], file: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """The settings file and its tables. Raises SettingsError (see `load`)."""
    path = file or settings_file(env)
    if not path.is_file():
        if file or env.get("ASKDOCS_CONFIG"):
            raise SettingsError(f"{path}: no such settings file; create it or drop the option")
        return path, {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    for name, table in tables.items():
        if name in SECTIONS and not isinstance(table, dict):
            raise SettingsError(
                f"{path}: {name} is a section: write [{name}], and its settings on the lines below"
            )
        if name not in SECTIONS:
            raise SettingsError(
                f"{path}: {name!r} is not a section; the sections are {', '.join(SECTIONS)}"
            )
    return path, tables


def _refuse_unknown_variables(env: Mapping[str, str]) -> None:
    prefixes = tuple(f"ASKDOCS_{name.upper()}_" for name in SECTIONS)
    known = (*GLOBALS, *SHARED.values())
    for name in env:
        if name.startswith("ASKDOCS_") and name not in known and not name.startswith(prefixes):
            raise SettingsError(
                f"{name} (environment) is not a setting; they begin with {', '.join(prefixes)}"
            )


def _is_secret(model: type[Section], key: str) -> bool:
    field = model.model_fields.get(key)
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))


def _parse(model: type[Section], key: str, text: str, name: str) -> Any:
    """Parses environment values: lists with commas, tables as JSON; pydantic does the rest.

    Raises SettingsError.
    """
    field = model.model_fields.get(key)
    if field is not None and "dict" in str(field.annotation):
        try:
            return json.loads(text)
        except ValueError as error:
            raise SettingsError(f"{name}: not valid JSON: {error}") from None
    if field is not None and "tuple" in str(field.annotation):
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _explain(
    model: type[Section], error: ValidationError, origin: Mapping[str, str], file: Path
) -> str:
    lines = []
    for problem in error.errors():
        loc = [str(part) for part in problem["loc"]]
        key = loc[0] if loc else ""
        where = origin.get(key, f"[{model.section}] {key}")
        if where.startswith(f"{file}: ") or not loc:
            where = place(file, model.section, *loc)
        elif len(loc) > 1:
            where += " " + ".".join(loc[1:])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{where}: no such setting; {_known(model, loc)}")
        else:
            secret = _is_secret(model, key) or isinstance(problem["input"], dict)
            shown = "" if secret else f" (it is {problem['input']!r})"
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message}{shown}")
    return "\n".join(lines)


def _known(model: type[BaseModel], loc: list[str]) -> str:
    """The keys that are valid in the table of `loc`."""
    table = model.section if issubclass(model, Section) else ""
    for part in loc[:-1]:
        field = model.model_fields.get(part)
        inner = (
            [a for a in get_args(field.annotation) if hasattr(a, "model_fields")] if field else []
        )
        if inner:
            model = inner[0]
        table += f".{part}"
    return f"[{table}] has {', '.join(model.model_fields)}"


def place(file: Path, *keys: str) -> str:
    """A setting's location for messages: `askdocs.toml:12: [gateway.aliases.docs] fallback`."""
    shown = f"[{'.'.join(keys[:-1])}] {keys[-1]}" if len(keys) > 1 else f"[{keys[0]}]"
    if not file.is_file():
        return shown
    line_number = line_of(file, *keys)
    return f"{file}:{line_number}: {shown}" if line_number else f"{file}: {shown}"


def line_of(file: Path, *keys: str) -> int:
    """The line of a key in a TOML file, or else of its closest parent; 0: there is none.

    tomllib does not record line numbers.
    """
    table: list[str] = []
    best, best_line = 0, 0
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if header := re.match(r"\s*\[+([^\[\]]+)\]", line):
            table = _path(header[1])
            path = table
        elif entry := re.match(r"\s*([\w.\"'@-]+)\s*=", line):
            path = table + _path(entry[1])
        else:
            continue
        if path == list(keys[: len(path)]) and len(path) > best:
            best, best_line = len(path), number
    return best_line


def _path(dotted: str) -> list[str]:
    return [a or b or c for a, b, c in re.findall(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)", dotted)]


__all__ = [
    "Field",
    "Hosts",
    "SecretStr",
    "Section",
    "environment",
    "load",
    "read_file",
    "settings_file",
    "variable",
]


def home() -> Path:
    """The state folder."""
    return Path(os.environ.get("ASKDOCS_HOME") or ".askdocs").absolute()
