"""`make audit`, `sbom` and `secrets`: the real programs, as the Makefile calls them."""

import json
import os
import shutil
import subprocess
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from askdocs.environments.known_bad import normal, pins
from tests.security.conftest import REQUIREMENTS, ROOT
from tests.security.fuzzing import tool
from tests.speaking import Handler, serving

pytestmark = pytest.mark.slow
# In halves, so that scans of others do not stop here.
LEAKED = {
    "github": "ghp_" + "q7Rb2Kx9Lm4Tz8Wc5Vn1Yp6Ds3Fg0HjAeUiQ",
    "aws": "AKIA" + "Z7Q2M4X9B6T1W8C5",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
}


def make(folder: Path, target: str, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a target in a folder, with the environment that is there."""
    programs = tool("pip-audit").parent
    command = ["make", "-f", str(ROOT / "Makefile"), "-C", str(folder), "-o", "security", target]
    return subprocess.run(
        [*command, f"SECURITY={programs}", *words],
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_this_repository_has_no_secrets() -> None:
    done = make(ROOT, "secrets")
    assert done.returncode == 0, done.stdout


def test_secrets_that_are_committed_are_found_in_tests_too(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "tests").mkdir()
    for name, secret in LEAKED.items():
        (tmp_path / "tests" / f"{name}.py").write_text(f'KEY = "{secret}"\n')
    (tmp_path / "untracked.py").write_text(f'KEY = "{LEAKED["aws"]}"\n')
    subprocess.run(["git", "add", "tests"], cwd=tmp_path, check=True)
    done = make(tmp_path, "secrets")
    assert done.returncode != 0
    assert all(f"tests/{name}.py" in done.stdout for name in LEAKED)
    assert "untracked.py" not in done.stdout


def test_a_password_outside_of_the_tests_is_found(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "app.py").write_text('password = "hunter2-and-more"\n')
    subprocess.run(["git", "add", "app.py"], cwd=tmp_path, check=True)
    assert "app.py" in make(tmp_path, "secrets").stdout


def test_a_bill_has_the_packages_of_its_lock_with_hashes(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    lock = REQUIREMENTS / "setup.lock"
    done = make(tmp_path, "sbom", f"LOCKS={lock}")
    assert done.returncode == 0, done.stderr
    bill = tmp_path / "dist" / "sbom" / "setup.cdx.json"
    components = json.loads(bill.read_text())["components"]
    assert sorted((normal(one["name"]), one["version"]) for one in components) == sorted(pins(lock))
    for one in components:
        assert any(place.get("hashes") for place in one["externalReferences"])


KNOWN = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "summary": "Lets anybody in.",
    "details": "At length.",
    "aliases": ["CVE-2026-1"],
    "modified": "2026-11-02T10:00:00.123456Z",
    "published": "2026-11-01T10:00:00Z",
    "affected": [
        {
            "package": {"name": "uv", "ecosystem": "PyPI", "purl": "pkg:pypi/uv"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999.1"}]}],
        }
    ],
    "schema_version": "1.7.3",
}


class Osv(Handler):
    """Answers as https://google.github.io/osv.dev/post-v1-query/ shows it."""

    status = 200

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.json(self.status, {"vulns": [KNOWN]} if query["package"]["name"] == "uv" else {})


@pytest.mark.parametrize(
    ("status", "accepted", "code"),
    [(200, "", 1), (200, "CVE-2026-1", 0), (503, "", 1)],
)
def test_a_known_vulnerability_fails_the_audit_unless_accepted_and_so_does_no_answer(
    tmp_path: Path, status: int, accepted: str, code: int
) -> None:
    kind = type("Once", (Osv,), {"status": status})
    lock = REQUIREMENTS / "setup.lock"
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), kind)) as server:
        done = make(
            tmp_path,
            "audit",
            f"LOCKS={lock}",
            f"ACCEPTED={accepted}",
            PIP_AUDIT_OSV_URL=f"http://127.0.0.1:{server.server_port}/v1/query",
            NO_PROXY="127.0.0.1",
            XDG_CACHE_HOME=str(tmp_path),
        )
    assert (done.returncode != 0) is bool(code), done.stdout + done.stderr
