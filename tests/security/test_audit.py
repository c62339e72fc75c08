"""`make audit`: the real pip-audit before a stand-in for OSV, and what is made of its reports."""

import json
from collections.abc import Iterator
from datetime import date
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from askdocs.environments.known_bad import Pin, pins
from gateway.core.errors import AskdocsError
from scripts import audit
from tests.security.conftest import REQUIREMENTS
from tests.security.fuzzing import tool
from tests.speaking import Handler, serving

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


HOLED = {Pin("fine", "1.0"): ["x.lock"], Pin("holed", "2.0"): ["x.lock"]}


def test_every_vulnerability_of_a_report_is_a_finding() -> None:
    first, second = audit.read(REPORT, HOLED)
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
    found = audit.read(REPORT, HOLED)
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


def test_a_lock_file_that_is_not_understood_whole_is_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with pytest.raises(AskdocsError, match=r"x\.lock: No such file"):
        audit.pinned([lock])
    for text in ("", "# nothing\n", "good==1.0 --hash=x\nloose>=1.0\n", "good==1.0\n-r y.lock\n"):
        lock.write_text(text)
        with pytest.raises(AskdocsError, match=r"x\.lock: each line must name one version"):
            audit.pinned([lock])
    lock.write_text(
        "# torch\ntorch==2.13.0+cpu \\\n    --hash=x\n    # via y\nB_b[c]==1 ; d < '3'\n"
    )
    assert audit.pinned([lock]) == {("torch", "2.13.0"): ["x.lock"], ("b-b", "1"): ["x.lock"]}


LITELLM = dict(pins(REQUIREMENTS / "askdocs.lock"))["litellm"]
# As https://google.github.io/osv.dev/post-v1-query/ shows it.
KNOWN = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "summary": "Lets anybody in.",
    "details": "At length.",
    "aliases": ["CVE-2026-1", "PYSEC-2026-1"],
    "modified": "2026-11-02T10:00:00.123456Z",
    "published": "2026-11-01T10:00:00Z",
    "references": [{"type": "WEB", "url": "https://example.com/"}],
    "affected": [
        {
            "package": {"name": "litellm", "ecosystem": "PyPI", "purl": "pkg:pypi/litellm"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999.1"}]}],
            "versions": [LITELLM],
        }
    ],
    "schema_version": "1.7.3",
}


class Osv(Handler):
    """Answers as OSV does, and knows of one bad release."""

    asked: list[tuple[str, str]]
    status = 200

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert self.path == "/v1/query"
        assert query["package"]["ecosystem"] == "PyPI"
        release = query["package"]["name"], query["version"]
        self.asked.append(release)
        self.json(self.status, {"vulns": [KNOWN]} if release == ("litellm", LITELLM) else {})


@pytest.fixture
def osv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Osv]]:
    tool("pip-audit")
    kind = type("Once", (Osv,), {"asked": []})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), kind)) as server:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        yield kind


@pytest.mark.slow
def test_every_release_of_every_lock_is_asked_about_and_each_lock_of_a_bad_one_is_named(
    osv: type[Osv], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(["--json"]) == 1
    wanted = {pin for lock in REQUIREMENTS.glob("*.lock") for pin in pins(lock)}
    assert sorted(osv.asked) == sorted(wanted)
    assert json.loads(capsys.readouterr().out) == [
        {
            "lock": lock,
            "package": "litellm",
            "version": LITELLM,
            "ids": ["PYSEC-2026-1", "CVE-2026-1", "GHSA-aaaa-bbbb-cccc"],
            "fixed": ["9999.1"],
            "text": "Lets anybody in.",
        }
        for lock in ("askdocs.lock", "dev.lock")
    ]


@pytest.mark.slow
def test_no_answer_is_not_a_good_answer(osv: type[Osv], capsys: pytest.CaptureFixture[str]) -> None:
    lock = str(REQUIREMENTS / "setup.lock")
    assert audit.main([lock]) == 0
    osv.status = 503
    assert audit.main([lock]) == 2
    assert "error: osv gave no answer" in capsys.readouterr().err
