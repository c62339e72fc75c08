"""The checks of `askdocs doctor`: those of `up`, and the state of the installation."""

import sys
from contextlib import closing, suppress
from pathlib import Path

from askdocs import environments
from askdocs.environments import gpu, startup_files
from askdocs.models import model
from askdocs.state.home import Home, read_json
from askdocs.supervision import checks, status
from askdocs.supervision.checks import Check
from askdocs.supervision.settings import UpSettings
from core.errors import AskdocsError
from core.settings import load
from gateway.settings import GatewaySettings
from wiki.index.index import Index
from wiki.index.view import Rights


def examine(settings: UpSettings, home: Home) -> list[Check]:
    """All findings, good or bad."""
    running = home.is_locked()
    if running:
        with suppress(AskdocsError):  # it is starting
            settings = settings.model_copy(update={"docs": status.read(home).docs})
    results = checks.before_start(settings, home)
    if running:
        # Ports held by our own processes are fine.
        results = [check for check in results if not check.name.endswith(" port")]
    results.append(_startup(home))
    results.append(_model(settings))
    if environments.has_gpu():
        results.append(_gpu())
    results.extend(_state(home))
    if running:
        results.extend(_parts(home))
    return results


def _model(settings: UpSettings) -> Check:
    if settings.engine_url:
        return Check("engine", True, f"elsewhere, at {settings.engine_url}")
    if settings.engine == "llama.cpp":
        try:
            import xllamacpp  # noqa: F401
        except ImportError as error:
            return Check("engine", False, f"llama.cpp does not load ({error})", "run make setup")
    if settings.model is None:
        try:
            shipped = model.shipped()
        except AskdocsError as error:
            text, _, fix = str(error).partition(": ")
            return Check("model", False, text, fix)
        return Check("model", True, f"{shipped.name} on {settings.engine}")
    return Check("model", True, f"{settings.model} on {settings.engine}, checked at start")


def _gpu() -> Check:
    """Can the GPU builds of vLLM and of training run here? (Not yet run on a GPU.)"""
    if problems := gpu.problems():
        text, _, fix = "; ".join(problems).rpartition(": ")
        return Check("GPU", False, text, fix)
    return Check("GPU", True, f"driver {gpu.driver() or 'unknown'}, a C compiler and Python.h")


def _startup(home: Home) -> Check:
    """Does unknown code run at every start of Python?"""
    if sys.prefix == sys.base_prefix:
        return Check("start-up", True, "not checked: it has no environment of its own")
    places = [Path(sys.prefix)]
    places += sorted(config.parent for config in home.root.glob("environments/*/pyvenv.cfg"))
    problems, known = [], 0
    for place in places:
        try:
            list_of_known = environments.requirements() / startup_files.FILE
            known += len(startup_files.refuse(place, list_of_known))
        except AskdocsError as error:
            problems.append(str(error))
    if problems:
        text, _, fix = "; ".join(problems).partition(": ")
        return Check("start-up", False, text, fix)
    of = f"{len(places)} environment{'s' if len(places) > 1 else ''}"
    text = f"no unknown code runs when Python starts ({known} known files, in {of})"
    return Check("start-up", True, text)


def _state(home: Home) -> list[Check]:
    results = []
    if home.index.is_file():
        try:
            with closing(Index(home.index)) as index:
                results.append(Check("index", True, f"{index.size} pages"))
                results.extend(_rights(index))
        except AskdocsError as error:
            text, _, fix = str(error).rpartition(": ")
            results.append(Check("index", False, text, fix))
    prefill = read_json(home.prefill)
    if prefill:
        results.append(
            Check(
                "reading",
                True,
                f"{prefill['tokens_per_second']:.0f} tokens/s, measured {prefill['measured']}"
                f" (delete {home.prefill} to measure again)",
            )
        )
    return results


def _rights(index: Index) -> list[Check]:
    """Does each access rule protect a page, and how many pages are closed by default?"""
    try:
        rules = load(GatewaySettings).rules
    except AskdocsError as error:
        text, _, fix = str(error).rpartition(": ")
        return [Check("settings", False, text, fix)]
    rights = Rights(index, rules)
    results = []
    if unused := rights.without_pages():
        names = ", ".join(f"[gateway.rights.{name}]" for name in unused)
        fix = "write wiki and path as in askdocs docs list"
        protect = "protects" if len(unused) == 1 else "protect"
        results.append(Check("rights", False, f"{names} {protect} no page", fix))
    elif rules.rules:
        results.append(Check("rights", True, "each rule protects pages"))
    if closed := rights.closed():
        text = f"pages without groups: {closed:,}; nobody may read them until a rule or"
        results.append(Check("rights", True, f"{text} pages_without_groups allows somebody"))
    return results


def _parts(home: Home) -> list[Check]:
    try:
        parts = status.health(home)["parts"]
    except AskdocsError as error:
        return [Check("running", False, str(error), "wait until up says ready")]
    return [
        Check(
            name,
            part["healthy"],
            f"{part['url']} {'answers' if part['healthy'] else 'is down'}",
            "" if part["healthy"] else f"see {part['log']}" if part["log"] else "start it",
        )
        for name, part in parts.items()
    ]
