"""Settings: one `askdocs.toml`, a section per package, every key known.

Precedence: command line > `ASKDOCS_<SECTION>_<KEY>` in the environment > file > default. An unknown
key is an error in the file and in the environment alike, because a misspelt one would otherwise be
a setting that silently does nothing. Secrets are read from the environment only.

Each package owns its section as a subclass of `Section`; entry points call `load` once and pass the
object down.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.errors import SettingsError

SECTIONS = ("gateway", "widget", "training", "eval", "up")
# ASKDOCS_KEY is what the docs call the key in a client's environment; it sets nothing here.
GLOBALS = ("ASKDOCS_HOME", "ASKDOCS_CONFIG", "ASKDOCS_KEY")
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
        # `load` merges the sources itself, so that each value's origin is known to its error.
        return (init_settings,)


S = TypeVar("S", bound=Section)


def load(
    model: type[S],
    /,
    *,
    env: Mapping[str, str] | None = None,
    file: Path | None = None,
    **overrides: Any,
) -> S:
    """Return the section, merged from all sources.

    `overrides` come from the command line; those that are None are not set. `file` defaults to
    `ASKDOCS_CONFIG` or `askdocs.toml` in the working directory, which need not exist.

    Raises:
        SettingsError: an unknown key or section, a value of the wrong type, a secret in the file,
            or a file that was named and is not there.
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
    prefix = variable(model, "")
    for name, text in env.items():
        if name.startswith(prefix):
            key = name[len(prefix) :].lower()
            values[key] = _parse(model, key, text)
            origin[key] = name
    for key, value in overrides.items():
        if value is not None:
            values[key] = value
            origin[key] = "--" + key.replace("_", "-")
    try:
        return model(**values)
    except ValidationError as error:
        raise SettingsError(_explain(model, error, origin)) from None


def variable(model: type[Section], key: str) -> str:
    """The environment variable that sets `key`, for example `ASKDOCS_GATEWAY_PORT`."""
    return f"ASKDOCS_{model.section.upper()}_{key.upper()}"


def environment(settings: Section) -> dict[str, str]:
    """The variables that give a child process exactly these settings. The inverse of `load`."""
    result = {}
    for key, value in settings:
        if value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if isinstance(value, list | tuple):
            value = ",".join(str(item) for item in value)
        result[variable(type(settings), key)] = str(value)
    return result


def read_file(env: Mapping[str, str], file: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """The settings file and its tables. Raises SettingsError (see `load`)."""
    named = file or (Path(env["ASKDOCS_CONFIG"]) if env.get("ASKDOCS_CONFIG") else None)
    path = named or DEFAULT_FILE
    if not path.is_file():
        if named:
            raise SettingsError(f"{path}: no such settings file; create it or drop the option")
        return path, {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    for name, table in tables.items():
        if name not in SECTIONS or not isinstance(table, dict):
            raise SettingsError(
                f"{path}: {name!r} is not a section; the sections are {', '.join(SECTIONS)}"
            )
    return path, tables


def _refuse_unknown_variables(env: Mapping[str, str]) -> None:
    prefixes = tuple(f"ASKDOCS_{name.upper()}_" for name in SECTIONS)
    for name in env:
        if name.startswith("ASKDOCS_") and name not in GLOBALS and not name.startswith(prefixes):
            raise SettingsError(
                f"{name} (environment) is not a setting; they begin with {', '.join(prefixes)}"
            )


def _is_secret(model: type[Section], key: str) -> bool:
    field = model.model_fields.get(key)
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))


def _parse(model: type[Section], key: str, text: str) -> Any:
    """Lists are written with commas in the environment; everything else is left to pydantic."""
    field = model.model_fields.get(key)
    if field is not None and "tuple" in str(field.annotation):
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _explain(model: type[Section], error: ValidationError, origin: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors():
        key = str(problem["loc"][0]) if problem["loc"] else ""
        where = origin.get(key, f"[{model.section}] {key}")
        if problem["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            lines.append(f"{where}: no such setting; [{model.section}] has {known}")
        else:
            shown = "" if _is_secret(model, key) else f" (it is {problem['input']!r})"
            lines.append(f"{where}: {problem['msg']}{shown}")
    return "\n".join(lines)


__all__ = ["Field", "SecretStr", "Section", "environment", "load", "read_file", "variable"]
