"""Looks for keys and passwords in the files that git tracks: `make secrets`.

    .venv/bin/python scripts/secrets_scan.py [--json]

By detect-secrets, in an environment of its own; nothing is sent anywhere. What it may find, with a
reason each, is in scripts/allowed_secrets.toml. Lock files are not checked: they are hashes.

Exit codes: 0 nothing; 1 something that nothing allows, or an entry that allows nothing any more;
2 the scan failed.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from askdocs import environments  # noqa: E402
from gateway.core.errors import AskdocsError  # noqa: E402

ALLOWED = ROOT / "scripts" / "allowed_secrets.toml"
HOME = ROOT / ".cache" / "security"
NOT_LOOKED_AT = re.compile(r"\.(lock|onnx|png|jpe?g|svg|ico|woff2?)$|(^|/)package-lock\.json$")


class Found(NamedTuple):
    """What looks like a secret. The secret itself is not shown."""

    file: str
    line: int
    type: str
    text: str
    """The line, which decides whether it is allowed."""


class Allowed(NamedTuple):
    """What is none."""

    files: str
    types: tuple[str, ...]
    line: str
    reason: str

    def has(self, found: Found) -> bool:
        return (
            fnmatch(found.file, self.files)
            and found.type in self.types
            and re.search(self.line, found.text) is not None
        )


def allowed(file: Path) -> list[Allowed]:
    """Raises AskdocsError: an entry without files, types or reason."""
    try:
        return [
            Allowed(one["files"], tuple(one["types"]), one.get("line", ""), one["reason"])
            for one in tomllib.loads(file.read_text(encoding="utf-8"))["allowed"]
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise AskdocsError(f"{file}: {error!r}; see the entries beside it") from None


def tracked(root: Path) -> list[str]:
    """The files that git tracks, as paths from the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if listed.returncode:
        raise AskdocsError(f"{root}: git lists no files here ({listed.stderr.decode().strip()})")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [name for name in names if not NOT_LOOKED_AT.search(name) and (root / name).is_file()]


def scan(python: Path, root: Path, files: Sequence[str]) -> list[Found]:
    """`python`: of the environment. Raises AskdocsError: the scan failed."""
    # Without --no-verify it asks Slack, GitHub and others whether what it finds works.
    command = [str(python), "-I", "-m", "detect_secrets", "scan", "--no-verify", *files]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError):
        raise AskdocsError(f"detect-secrets failed: {done.stderr.strip()[-500:]}") from None
    found = []
    for file, secrets in results.items():
        lines = (root / file).read_text(encoding="utf-8", errors="replace").splitlines()
        for one in secrets:
            number = one["line_number"]
            text = lines[number - 1] if number <= len(lines) else ""
            found.append(Found(file, number, one["type"], text))
    return found


def left(found: Iterable[Found], entries: Sequence[Allowed]) -> list[Found]:
    """What nothing allows."""
    return [one for one in found if not any(entry.has(one) for entry in entries)]


def unused(found: Sequence[Found], entries: Sequence[Allowed]) -> list[Allowed]:
    """Entries that allow nothing that is there."""
    return [entry for entry in entries if not any(entry.has(one) for one in found)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="for scripts")
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        entries = allowed(ALLOWED)
        python = environments.ensure(environments.SECURITY, HOME, say)
        files = tracked(ROOT)
        say(f"{len(files)} files ...")
        found = scan(python, ROOT, files)
    except AskdocsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    problems, stale = left(found, entries), unused(found, entries)
    if options.json:
        shown = [{"file": one.file, "line": one.line, "type": one.type} for one in problems]
        print(json.dumps(shown, indent=2))
    else:
        for one in problems:
            print(f"{one.file}:{one.line}: {one.type}: take it out and make it void, or allow it")
        for entry in stale:
            print(
                f"{ALLOWED.name}: {entry.files} ({entry.reason}): nothing of it is there any more"
            )
        print(f"{len(problems)} found, {len(found) - len(problems)} more that are allowed")
    return 1 if problems or stale else 0


if __name__ == "__main__":
    sys.exit(main())
