"""Asks whether packages of the lock files have known vulnerabilities: `make audit`.

    .venv/bin/python scripts/audit.py [--json] [--service osv|pypi] [LOCK ...]

pip-audit asks OSV (https://osv.dev) or PyPI about every pinned release, in an environment of its
own: also about those for another Python or system, which it would leave out of a lock file.
requirements/accepted_vulnerabilities.toml has what is accepted, with a reason and a last day.

Exit codes: 0 nothing is known; 1 something is; 2 it could not be found out.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from askdocs import environments  # noqa: E402
from askdocs.environments import known_bad  # noqa: E402
from gateway.core.errors import AskdocsError  # noqa: E402

LOCKS = ROOT / "requirements"
ACCEPTED = LOCKS / "accepted_vulnerabilities.toml"
HOME = ROOT / ".cache" / "security"


class Accepted(NamedTuple):
    """A vulnerability that is known and does not fail the audit until a day."""

    id: str
    package: str
    until: date
    reason: str


class Finding(NamedTuple):
    """A pinned release with a known vulnerability."""

    lock: str
    package: str
    version: str
    ids: tuple[str, ...]
    """The first is the service's own; aliases follow."""
    fixed: tuple[str, ...]
    text: str


def accepted(file: Path) -> list[Accepted]:
    """Raises AskdocsError: an entry without id, package, reason or last day."""
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8")).get("accepted", [])
        found = [Accepted(e["id"], e["package"], e["until"], e["reason"]) for e in entries]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise AskdocsError(f"{file}: {error!r}; its head says what an entry has") from None
    for one in found:
        if type(one.until) is not date or not one.reason:
            raise AskdocsError(f"{file}: {one.id} needs until = YYYY-MM-DD and a reason")
    return found


def open_findings(
    findings: Sequence[Finding], known: Sequence[Accepted], today: date
) -> list[Finding]:
    """Those that nothing accepts, or no longer."""
    good = {(one.package, one.id) for one in known if one.until >= today}
    return [one for one in findings if not any((one.package, id) in good for id in one.ids)]


def pinned(locks: Sequence[Path]) -> dict[known_bad.Pin, list[str]]:
    """Every release, and the lock files that have it.

    Raises:
        AskdocsError: a file cannot be read, or has lines that are no pinned release.
    """
    found: dict[known_bad.Pin, list[str]] = {}
    for lock in locks:
        try:
            pins = list(known_bad.pins(lock))
            lines = re.findall(r"^[^#\s].*", lock.read_text(encoding="utf-8"), re.MULTILINE)
        except OSError as error:
            raise AskdocsError(f"{lock}: {error.strerror}") from None
        if not pins or len(pins) != len(lines):
            raise AskdocsError(f"{lock}: each line must name one version, as in package==1.0")
        for pin in dict.fromkeys(pins):
            found.setdefault(pin, []).append(lock.name)
    return found


def read(report: dict[str, Any], locks: Mapping[known_bad.Pin, Sequence[str]]) -> list[Finding]:
    """The findings in a report of pip-audit as JSON, one for each lock file with the release."""
    return [
        Finding(
            lock,
            package["name"],
            package["version"],
            (each["id"], *sorted(each.get("aliases", []))),
            tuple(each.get("fix_versions", [])),
            (each.get("description") or "").split("\n")[0][:200],
        )
        for package in report["dependencies"]
        for each in package.get("vulns", [])
        for lock in locks[known_bad.Pin(known_bad.normal(package["name"]), package["version"])]
    ]


def ask(program: Path, locks: Mapping[known_bad.Pin, Sequence[str]], service: str) -> list[Finding]:
    """Raises AskdocsError: the service, or the program, gave no answer."""
    command = [str(program), "--locked", "--strict", "--format", "json"]
    command += ["--vulnerability-service", service, "--progress-spinner", "off"]
    with tempfile.TemporaryDirectory() as folder:
        # The form of lock file in which a package may have several versions.
        entries = [f'[[packages]]\nname = "{n}"\nversion = "{v}"\n' for n, v in locks]
        file = Path(folder) / "pylock.toml"
        file.write_text('lock-version = "1.0"\n' + "".join(entries), encoding="utf-8")
        done = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
    try:
        return read(json.loads(done.stdout), locks)
    except (ValueError, KeyError):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = (lines or [f"exit code {done.returncode}"])[-1][:300]
        raise AskdocsError(
            f"{service} gave no answer ({why}); the audit needs a way to"
            " https://api.osv.dev, or with --service pypi to PyPI"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("locks", nargs="*", type=Path, metavar="LOCK", help="default: all of them")
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument("--service", choices=["osv", "pypi"], default="osv")
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        known = accepted(ACCEPTED)
        locks = pinned(options.locks or sorted(LOCKS.glob("*.lock")))
        python = environments.ensure(environments.SECURITY, HOME, say)
        say(f"{options.service} is asked about {len(locks)} releases ...")
        findings = ask(python.with_name("pip-audit"), locks, options.service)
    except AskdocsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    left = sorted(open_findings(findings, known, datetime.now(UTC).date()))
    if options.json:
        print(json.dumps([one._asdict() for one in left], indent=2))
    else:
        for one in left:
            fix = f"fixed in {', '.join(one.fixed)}" if one.fixed else "no fix is known"
            print(f"{one.lock}: {one.package} {one.version}: {one.ids[0]} ({fix}): {one.text}")
        accepted_now = len(findings) - len(left)
        print(f"{len(left)} known vulnerabilities, {accepted_now} more that are accepted")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
