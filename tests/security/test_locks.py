"""Every lock file: whole, hashed, of no index in particular, and without releases known as bad."""

import hashlib
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from askdocs.environments import known_bad, startup_files
from core.errors import AskdocsError
from tests.security.conftest import REQUIREMENTS, ROOT

KNOWN = REQUIREMENTS / known_bad.FILE
LOCKS = sorted([*REQUIREMENTS.glob("*.lock"), *(ROOT / "tests" / "clients").rglob("*.lock")])
NODE = sorted((ROOT / "tests").rglob("package-lock.json"))
PIN = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[\w.+!]+( ;.*?)? +--hash")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")

every_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
every_node_lock = pytest.mark.parametrize("lock", NODE, ids=lambda lock: lock.parent.name)


def requirements(lock: Path) -> list[str]:
    """A line for each requirement, with what continues it."""
    text = re.sub(r"^\s*#.*$", "", lock.read_text(encoding="utf-8"), flags=re.M)
    return [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


def test_all_are_looked_at() -> None:
    assert len(LOCKS) >= 18
    assert len(NODE) >= 5
    assert {"askdocs", "dev", "vllm-gpu", "security"} <= {lock.stem for lock in LOCKS}


@every_lock
def test_every_requirement_is_one_version_with_hashes(lock: Path) -> None:
    lines = requirements(lock)
    assert lines
    for line in lines:
        assert PIN.match(line), line[:100]
        assert HASH.search(line)
        assert HASH.sub("", line).count("--") == 0, line[:100]


@every_lock
def test_no_index_and_no_address_is_named(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|trusted-host|://| @ ", text)


@every_lock
def test_no_release_is_known_as_bad(lock: Path) -> None:
    assert len(list(known_bad.pins(lock))) == len(requirements(lock))
    known_bad.refuse([lock], KNOWN)


OURS = sorted(REQUIREMENTS.glob("*.lock"))


@pytest.mark.parametrize("lock", OURS, ids=lambda lock: lock.stem)
def test_locked_wheels_run_nothing_unknown_whenever_python_starts(lock: Path) -> None:
    """Also of environments that cannot be made here: the guard would refuse them after hours."""
    looked = json.loads((REQUIREMENTS / "locked_startup_files.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    assert looked[lock.name]["sha256"] == digest, (
        "stale: run .venv/bin/python scripts/locked_startup_files.py"
    )
    found = {(startup["file"], startup["line"]) for startup in looked[lock.name]["found"]}
    assert found <= startup_files.allowed(REQUIREMENTS / startup_files.FILE)


def test_the_files_of_vllms_gpu_build_were_found() -> None:
    looked = json.loads((REQUIREMENTS / "locked_startup_files.json").read_text(encoding="utf-8"))
    packages = {startup["package"] for startup in looked["vllm-gpu.lock"]["found"]}
    assert packages == {"nvidia-cutlass-dsl", "setuptools"}


@every_node_lock
def test_clients_for_node_are_hashed_and_not_known_as_bad(lock: Path) -> None:
    bad = {(one.name, one.version) for one in known_bad.read(KNOWN, "npm")}
    pins = list(known_bad.pins(lock))
    assert pins
    assert [pin for pin in pins if (pin.name, "*") in bad or tuple(pin) in bad] == []
    for place, entry in json.loads(lock.read_text())["packages"].items():
        if place and not entry.get("link"):
            assert re.match(r"sha512-[\w+/=]{88}", entry["integrity"]), place
            assert "resolved" not in entry, place  # npm asks the registry that it is set up with


def test_litellm_is_the_pinned_release() -> None:
    """See docs/explanation/security.md#rules-for-litellm."""
    pins = dict(known_bad.pins(REQUIREMENTS / "providers.lock"))
    assert pins["litellm"] == "1.108.7"
    assert "litellm-proxy" not in pins
    project = tomllib.loads((REQUIREMENTS.parent / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["providers"] == ["litellm[proxy]==1.108.7"]
    for name in ("askdocs", "dev"):
        assert "litellm" not in dict(known_bad.pins(REQUIREMENTS / f"{name}.lock"))


def test_cuda_python_is_of_the_same_release_as_its_bindings() -> None:
    """cuda-python before 13 is a package of its own, whose files lie over those of its bindings."""
    pins = dict(known_bad.pins(REQUIREMENTS / "vllm-gpu.lock"))
    majors = {pins[name].partition(".")[0] for name in ("cuda-python", "cuda-bindings")}
    assert majors == {"13"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("litellm==1.82.8", "litellm 1.82.8 must not be installed: published by a thief"),
        ("LiteLLM[proxy]==1.107.0 ; python_version >= '3.11'", "litellm 1.107.0 must not"),
        ("litellm_proxy==9.9", "litellm-proxy 9.9 must not be installed"),
        # As pip reads it, too, though nothing here writes it so.
        ("litellm == 1.82.8", "litellm 1.82.8 must not be installed: published by a thief"),
        (
            "  LiteLLM [proxy]===1.82.7",
            "litellm 1.82.7 must not be installed: published by a thief",
        ),
    ],
)
def test_a_bad_release_is_refused_with_reason_source_and_fix(
    tmp_path: Path, line: str, said: str
) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(f"numpy==2.4.6 \\\n    --hash=sha256:{'0' * 64}\n{line} \\\n    --hash=x\n")
    with pytest.raises(AskdocsError) as caught:
        known_bad.refuse([lock], KNOWN)
    assert str(caught.value).startswith(f"{lock}: {said}")
    assert "run make lock" in str(caught.value)


def test_neighbours_of_bad_releases_pass(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text("litellm==1.82.6 --hash=x\nlitellm-proxy-extras==1.0 --hash=x\n")
    known_bad.refuse([lock], KNOWN)


def test_every_entry_says_why_and_where_that_is_written() -> None:
    for index in ("pypi", "npm"):
        for one in known_bad.read(KNOWN, index):
            assert one.reason
            assert one.source.startswith("https://") or (ROOT / one.source).is_file()


def test_a_broken_list_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    broken = tmp_path / "known_bad.toml"
    with pytest.raises(AskdocsError, match="No such file"):
        known_bad.read(broken)
    for text in ("pypi = 1", "[[pypi]]\npackage = 'x'\n", "not toml"):
        broken.write_text(text)
        with pytest.raises(AskdocsError, match="not a list of bad releases"):
            known_bad.read(broken)


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Each machine asks the registries, or mirrors of them, that it is set up with."""
    hosts = [f"{name}.org" for name in ("pypi", "pythonhosted", "registry.npmjs", "deb.debian")]
    named = subprocess.run(
        ["git", "grep", "-lF", *(word for host in hosts for word in ("-e", host))],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    assert named == ""
