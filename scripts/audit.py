"""Asks whether packages of the lock files have known vulnerabilities: `make audit`.

    .venv/bin/python scripts/audit.py [--json] [--service osv|pypi] [LOCK ...]

pip-audit asks OSV (https://osv.dev) or PyPI about every pinned release, in an environment of its
own. requirements/accepted_vulnerabilities.toml has what is accepted, with a reason and a last day.

Exit codes: 0 nothing is known; 1 something is; 2 it could not be found out.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from askdocs import environments  # noqa: E402
from gateway.errors import AskdocsError  # noqa: E402

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


def read(lock: str, report: dict[str, Any]) -> list[Finding]:
    """The findings in a report of pip-audit, as JSON."""
    return [
        Finding(
            lock,
            package["name"],
            package["version"],
            (each["id"], *each.get("aliases", [])),
            tuple(each.get("fix_versions", [])),
            (each.get("description") or "").split("\n")[0][:200],
        )
        for package in report["dependencies"]
        for each in package.get("vulns", [])
    ]


def ask(program: Path, lock: Path, service: str) -> list[Finding]:
    """Raises AskdocsError: the service, or the program, gave no answer."""
    command = [str(program), "-r", str(lock), "--require-hashes", "--disable-pip", "--strict"]
    command += ["--format", "json", "--vulnerability-service", service, "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return read(lock.name, json.loads(done.stdout))
    except (ValueError, KeyError):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = (lines or [f"exit code {done.returncode}"])[-1][:300]
        raise AskdocsError(
            f"{lock.name}: {service} gave no answer ({why}); the audit needs a way to"
            " https://api.osv.dev, or with --service pypi to https://pypi.org"
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
        python = environments.ensure(environments.SECURITY, HOME, say)
        findings: list[Finding] = []
        for lock in options.locks or sorted(LOCKS.glob("*.lock")):
            say(f"{lock.name} ...")
            findings += ask(python.with_name("pip-audit"), lock, options.service)
    except AskdocsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    left = open_findings(findings, known, datetime.now(UTC).date())
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
