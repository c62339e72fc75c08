"""Preconditions that `up` and `doctor` check before any heavy work starts."""

import ctypes
import itertools
import platform
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from askdocs.state.home import Home, existing
from askdocs.supervision.settings import UpSettings
from core.errors import AskdocsError
from wiki.sources import folder
from wiki.sources.open import open_source
from wiki.sources.source import Broken, Changed
from wiki.sources.spec import is_address
from wiki.sources.suffixes import is_html

# Measured with the small model, in GiB: engine 0.6, gateway 0.4, widget, site and this process 0.4.
MEMORY_GIB = 1.6
MEMORY_GIB_VLLM = 5.0
# State without models: index, site, logs.
DISK_GB = 0.5
# Limits in files and bytes of a small wiki, which is read completely before the start.
FEW, LITTLE = 20, 16 * 2**20


@dataclass(frozen=True)
class Check:
    """A check's result. `fix` is empty if it passed."""

    name: str
    ok: bool
    found: str
    fix: str = ""

    def line(self) -> str:
        return f"{self.name}: {self.found}" + (f": {self.fix}" if self.fix else "")


def before_start(settings: UpSettings, home: Home) -> list[Check]:
    """All checks, passed or failed, in display order."""
    return [
        machine(),
        processor(settings),
        memory(settings),
        disk(home),
        *engine_library(settings),
        *wiki(settings, home),
        *ports(settings),
    ]


def machine() -> Check:
    text = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    ok = sys.platform == "linux" and platform.machine() == "x86_64"
    fix = "" if ok else "use a Linux x86-64 machine (on Windows, WSL 2)"
    return Check("machine", ok, text, fix)


def processor(settings: UpSettings) -> Check:
    """llama.cpp's build needs AVX2; vLLM's CPU build AVX-512 or AVX2."""
    cores = psutil.cpu_count() or 1
    flags = _cpu_flags()
    if settings.engine_url or not flags:
        return Check("processor", True, f"{cores} cores")
    ok = "avx2" in flags
    text = f"{cores} cores, {'with' if ok else 'without'} AVX2"
    fix = "" if ok else "use a newer machine, or an engine elsewhere with --engine-url URL"
    return Check("processor", ok, text, fix)


def engine_library(settings: UpSettings) -> Iterator[Check]:
    """llama.cpp's wheel bundles everything except GNU's OpenMP library, which minimal systems
    lack."""
    if settings.engine_url or settings.engine != "llama.cpp":
        return
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        fix = "sudo apt-get install libgomp1 (dnf: libgomp)"
        yield Check("OpenMP", False, "libgomp.so.1 is not installed", fix)


def memory(settings: UpSettings) -> Check:
    free = psutil.virtual_memory().available / 2**30
    need = MEMORY_GIB
    if settings.engine == "vllm":
        need = MEMORY_GIB_VLLM
    if settings.engine_url:
        need = 0.8
    elif settings.model and Path(settings.model).is_file():
        need += Path(settings.model).stat().st_size / 2**30 * 1.2
    ok = free >= need
    fix = "" if ok else f"{need:.1f} GiB are needed; close other programs, or use a smaller --model"
    return Check("memory", ok, f"{free:.1f} GiB available", fix)


def disk(home: Home) -> Check:
    there = existing(home.root)
    free = shutil.disk_usage(there).free / 1e9
    ok = free >= DISK_GB
    fix = "" if ok else f"{DISK_GB} GB are needed; free some space, or choose another --home DIR"
    return Check("disk", ok, f"{free:.1f} GB free in {there}", fix)


def wiki(settings: UpSettings, home: Home) -> Iterator[Check]:
    if is_address(settings.docs):
        yield Check("wiki", True, f"the site {settings.docs}")
        return
    docs = Path(settings.docs)
    try:
        kind = "html" if is_html(docs) else "preview"
        if kind == "html":
            kinds = {"HTML pages": [*docs.rglob("*.htm*"), *docs.rglob("*.xhtml")]}
        else:
            kinds = dict(zip(("Markdown pages", "documents"), folder.files(docs), strict=True))
        if why := _unreadable(docs, kind, list(itertools.chain(*kinds.values()))):
            fix = "split that page" if "not read: larger than" in why else "write some text"
            yield Check("wiki", False, why, f"{fix}, or name another --docs DIR")
            return
        counts = " and ".join(f"{len(files)} {name}" for name, files in kinds.items() if files)
    except AskdocsError as error:
        problem, _, fix = str(error).partition(": ")
        yield Check("wiki", False, problem, f"{fix} (--docs DIR)".lstrip())
        return
    if home.root.resolve().is_relative_to(docs.resolve()):
        yield Check(
            "wiki",
            False,
            f"the state folder {home.root} lies inside the wiki {docs.absolute()}",
            "choose a --home DIR outside the wiki",
        )
        return
    yield Check("wiki", True, f"{counts} in {docs}")


def _unreadable(docs: Path, kind: str, files: Sequence[Path]) -> str:
    """Why no file of a small wiki has text, found before the engine starts; empty if one has."""
    why = ""
    try:
        if len(files) > FEW or sum(file.stat().st_size for file in files) > LITTLE:
            return ""
        for item in open_source(str(docs), kind, "").read({}):
            match item:
                case Changed():
                    return ""
                case Broken():
                    why = why or f"{docs / item.path}: not read: {item.why}"
    except AskdocsError as error:
        return str(error)
    except OSError:
        return ""  # removed meanwhile
    return f"{docs} has no page with text: {why or 'every page is empty'}"


def ports(settings: UpSettings) -> Iterator[Check]:
    wanted = {
        "gateway": settings.gateway_port,
        "widget": settings.widget_port,
        "site": settings.site_port,
    }
    taken: dict[int, str] = {}
    for name, port in wanted.items():
        if port in taken:
            text = f"{port} is also the port of {taken[port]}"
            yield Check(f"{name} port", False, text, f"choose another --{name}-port N")
            continue
        taken[port] = name
        ok = is_free(port)
        text = f"{port} is {'free' if ok else 'in use' + _user_of(port)}"
        fix = "" if ok else f"stop that, or choose another: --{name}-port N"
        yield Check(f"{name} port", ok, text, fix)


def is_free(port: int) -> bool:
    """Is 127.0.0.1:port free to listen on?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
            tried.listen(1)
        except OSError:
            return False
    return True


def free_port(*but: int) -> int:
    """A free port that Linux never assigns to others on its own, other than `but`.

    Linux assigns ephemeral ports from 32768 on (ip(7), ip_local_port_range): another process might
    get such a port before ours has started.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        if port in but:
            continue
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


def _user_of(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.pid and connection.laddr and connection.laddr.port == port:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.partition(":")[2].split())
