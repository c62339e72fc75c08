"""The scan for committed secrets: of this repository, and of one with some."""

import subprocess
from pathlib import Path

import pytest

from gateway.core.errors import AskdocsError
from scripts import secrets_scan
from scripts.secrets_scan import Allowed, Found
from tests.security.conftest import ROOT
from tests.security.fuzzing import tool

# In halves, so that scans of others do not stop here.
LEAKED = {
    "github": "ghp_" + "q7Rb2Kx9Lm4Tz8Wc5Vn1Yp6Ds3Fg0HjAeUiQ",
    "aws": "AKIA" + "Z7Q2M4X9B6T1W8C5",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
}


@pytest.mark.slow
def test_this_repository_has_none() -> None:
    python = tool("python")
    entries = secrets_scan.allowed(secrets_scan.ALLOWED)
    found = secrets_scan.scan(python, ROOT, secrets_scan.tracked(ROOT))
    assert [(one.file, one.line, one.type) for one in secrets_scan.left(found, entries)] == []
    assert secrets_scan.unused(found, entries) == []


@pytest.mark.slow
def test_secrets_that_are_committed_are_found_in_tests_too(tmp_path: Path) -> None:
    python = tool("python")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "tests").mkdir()
    for name, secret in LEAKED.items():
        (tmp_path / "tests" / f"{name}.py").write_text(f'KEY = "{secret}"\n')
    (tmp_path / "untracked.py").write_text(f'KEY = "{LEAKED["aws"]}"\n')
    subprocess.run(["git", "add", "tests"], cwd=tmp_path, check=True)
    files = secrets_scan.tracked(tmp_path)
    found = secrets_scan.scan(python, tmp_path, files)
    left = secrets_scan.left(found, secrets_scan.allowed(secrets_scan.ALLOWED))
    assert {one.file for one in left} == {f"tests/{name}.py" for name in LEAKED}


def test_an_entry_allows_its_files_kinds_and_lines_alone() -> None:
    entry = Allowed("docs/*.md", ("Slack Token",), "XXXX", "an example")
    found = Found("docs/a.md", 1, "Slack Token", "https://hooks/XXXX")
    assert entry.has(found)
    for other in (
        found._replace(file="gateway/a.py"),
        found._replace(type="AWS Access Key"),
        found._replace(text="https://hooks/T1B2C3"),
    ):
        assert secrets_scan.left([other], [entry]) == [other]
    assert secrets_scan.unused([], [entry]) == [entry]


def test_entries_have_reasons(tmp_path: Path) -> None:
    assert all(entry.reason for entry in secrets_scan.allowed(secrets_scan.ALLOWED))
    file = tmp_path / "allowed.toml"
    file.write_text('[[allowed]]\nfiles = "*"\ntypes = []\n')
    with pytest.raises(AskdocsError, match="reason"):
        secrets_scan.allowed(file)


def test_a_folder_without_git_is_reported(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match="git lists no files here"):
        secrets_scan.tracked(tmp_path)
