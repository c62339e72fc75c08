"""Environments of the real clients: made on first use under `.cache/clients`, then reused."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.parts import require

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "clients"
UV = Path(sys.executable).with_name("uv")
OLDER = "3.12"  # aider runs on nothing newer
NODE = "apt-get install nodejs npm"

Say = Callable[[str], None]


def python(name: str, say: Say) -> Path:
    """The folder of the programs of a Python environment, by its lock file."""
    require(UV.is_file(), "make setup")
    lock = HERE / "python" / f"{name}.lock"
    version = sys.executable
    if name == "aider" and sys.version_info[:2] > tuple(map(int, OLDER.split("."))):
        version = f"<={OLDER}.99"
        found = subprocess.run(
            [UV, "python", "find", "--no-python-downloads", version], check=False
        )
        require(found.returncode == 0, f"install Python {OLDER} for {name}")

    def make(folder: Path) -> None:
        run([UV, "venv", "-q", "--no-python-downloads", "--python", version, folder / "venv"])
        install: list[str | Path] = [
            UV,
            "pip",
            "install",
            "-q",
            "--python",
            folder / "venv" / "bin" / "python",
        ]
        run([*install, "--require-hashes", "-r", lock], {**os.environ, **index()})

    return _once(name, lock.read_bytes() + version.encode(), make, say) / "venv" / "bin"


def node(name: str, say: Say, source: Path | None = None, *, optional: bool = False) -> Path:
    """The `node_modules` of a Node environment, by its lock file; no script of a package is run.

    `source` holds the lock file, `optional` takes what a package can do without on some machine.
    """
    require(shutil.which("node") is not None and shutil.which("npm") is not None, NODE)
    folder = source or HERE / "node" / name
    files = ("package.json", "package-lock.json")

    def make(target: Path) -> None:
        for file in files:
            shutil.copy(folder / file, target)
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        omitted = [] if optional else ["--omit=optional"]
        run(["npm", "ci", "--ignore-scripts", *omitted, *quiet], cwd=target)

    lock = b"".join((folder / file).read_bytes() for file in files)
    return _once(name, lock, make, say) / "node_modules"


def _once(name: str, lock: bytes, make: Callable[[Path], None], say: Say) -> Path:
    folder = CACHE / name
    marker = folder / "complete"  # written last
    digest = hashlib.sha256(lock).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if marker.is_file() and marker.read_text() == digest:
            return folder
        began = time.monotonic()
        say(f"installing {name} ...")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        make(folder)
        marker.write_text(digest)
        say(f"installed {name} in {time.monotonic() - began:.0f} s")
    return folder


def run(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"


def index() -> dict[str, str]:
    """uv does not read pip's configuration, so an index that is configured there is handed on."""
    if {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & os.environ.keys():
        return {}
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    url = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip()
    return {"UV_DEFAULT_INDEX": url} if url else {}
