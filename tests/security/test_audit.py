"""What `make audit` makes of a report of pip-audit, and of none."""

import json
import stat
from datetime import date
from pathlib import Path

import pytest

from gateway.errors import AskdocsError
from scripts import audit
from tests.security.conftest import REQUIREMENTS

TODAY = date(2026, 11, 26)
REPORT = {
    "dependencies": [
        {"name": "fine", "version": "1.0", "vulns": []},
        {"name": "skipped", "skip_reason": "not for this Python"},
        {
            "name": "holed",
            "version": "2.0",
            "vulns": [
                {
                    "id": "PYSEC-2026-1",
                    "aliases": ["CVE-2026-1", "GHSA-aaaa-bbbb-cccc"],
                    "fix_versions": ["2.1"],
                    "description": "Lets anybody in.\nAt length.",
                },
                {"id": "GHSA-none-none-none", "aliases": [], "fix_versions": [], "description": ""},
            ],
        },
    ],
    "fixes": [],
}


def test_every_vulnerability_of_a_report_is_a_finding() -> None:
    first, second = audit.read("x.lock", REPORT)
    assert first == audit.Finding(
        "x.lock",
        "holed",
        "2.0",
        ("PYSEC-2026-1", "CVE-2026-1", "GHSA-aaaa-bbbb-cccc"),
        ("2.1",),
        "Lets anybody in.",
    )
    assert second.fixed == ()


@pytest.mark.parametrize(
    ("id", "package", "until", "open_"),
    [
        ("PYSEC-2026-1", "holed", TODAY, 1),
        ("CVE-2026-1", "holed", TODAY, 1),
        ("CVE-2026-1", "holed", date(2026, 11, 25), 2),
        ("CVE-2026-1", "other", TODAY, 2),
        ("CVE-2026-2", "holed", TODAY, 2),
    ],
)
def test_what_is_accepted_is_so_for_one_package_and_until_a_day(
    id: str, package: str, until: date, open_: int
) -> None:
    known = [audit.Accepted(id, package, until, "it waits for 2.1")]
    found = audit.read("x.lock", REPORT)
    assert len(audit.open_findings(found, known, TODAY)) == open_


def test_what_is_accepted_has_reasons_and_days(tmp_path: Path) -> None:
    audit.accepted(audit.ACCEPTED)
    file = tmp_path / "accepted.toml"
    entry = '[[accepted]]\nid = "CVE-1"\npackage = "x"\n'
    for rest in ("until = 2027-01-01\nreason = ''", "until = '2027-01-01'\nreason = 'r'", ""):
        file.write_text(entry + rest)
        with pytest.raises(AskdocsError, match=r"accepted\.toml"):
            audit.accepted(file)
    file.write_text(entry + "until = 2027-01-01\nreason = 'r'")
    assert audit.accepted(file) == [audit.Accepted("CVE-1", "x", date(2027, 1, 1), "r")]


def program(folder: Path, out: str, code: int) -> Path:
    """Something in the place of pip-audit that says this."""
    file = folder / "pip-audit"
    (folder / "out").write_text(out)
    file.write_text(f"#!/bin/sh\ncat {folder}/out\necho 'ERROR: no such host' >&2\nexit {code}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_no_answer_is_not_a_good_answer(tmp_path: Path) -> None:
    lock = REQUIREMENTS / "setup.lock"
    with pytest.raises(AskdocsError, match=r"setup\.lock: osv gave no answer \(ERROR: no such"):
        audit.ask(program(tmp_path, "", 1), lock, "osv")
    with pytest.raises(AskdocsError, match="gave no answer"):
        audit.ask(program(tmp_path, "{}", 0), lock, "osv")
    # Its exit code is 1 when it has found something, too.
    assert len(audit.ask(program(tmp_path, json.dumps(REPORT), 1), lock, "osv")) == 2
