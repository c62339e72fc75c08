"""deploy/Dockerfile, which no machine without Docker can build: hadolint, pins, and its wheel."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from askdocs.environments.known_bad import pins
from tests.clients.environments import python

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy" / "Dockerfile"
TEXT = FILE.read_text(encoding="utf-8").replace("\\\n", " ")


def instructions(name: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"^{name} (.*)$", text, re.M)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(file.name for file in FILE.parent.glob("Dockerfile*")))
def test_hadolint_finds_nothing(name: str) -> None:
    """It reads the shell in RUN, too."""
    found = subprocess.run(
        [
            python("hadolint", print) / "hadolint",
            "--failure-threshold",
            "style",
            FILE.parent / name,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout, found.returncode) == ("", 0), found.stderr


def test_images_are_pinned_by_digest() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", TEXT, re.M)
    names = {name for _, name in stages}
    bases = {image for image in re.findall(r"^FROM (\S+)", TEXT, re.M) if image not in names}
    assert len(bases) == 1
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image) for image in bases)


def test_everything_is_installed_by_hash_or_version() -> None:
    runs = " && ".join(instructions("RUN"))
    installed = re.findall(r"pip (?:--python \S+ )?install ([^&]*)", runs)
    assert installed
    for words in installed:
        # What this repository's wheel needs is installed before it.
        assert words.strip() == "/dist/*.whl" or {"--require-hashes", "--only-binary"} <= set(
            words.split()
        )
    for words in re.findall(r"apt-get install ([^&]*)", runs):
        packages = [word for word in words.split() if not word.startswith("-")]
        assert all("=" in package for package in packages)
    assert not re.search(r"\b(curl|wget|git clone)\b|https?://", runs)
    assert not instructions("ADD")


def test_what_runs_is_no_root_and_has_no_tools_of_the_build() -> None:
    last = TEXT[TEXT.rindex("\nFROM ") :]
    assert instructions("USER", last) == ["10001:10001"]
    copied = [word for line in instructions("COPY", last) for word in line.split()]
    assert copied == ["--from=build", "/opt/", "/opt/"]
    assert "pip" not in " ".join(instructions("RUN", last))


def test_the_packages_are_as_large_as_is_said() -> None:
    locks = [ROOT / "requirements" / f"{name}.lock" for name in ("askdocs", "model")]
    size = 0
    for name in {pin.name for lock in locks for pin in pins(lock)}:
        with suppress(PackageNotFoundError):  # those for another system
            size += sum(file.size or 0 for file in distribution(name).files or [])
    page = (ROOT / "docs" / "how-to/production.md").read_text(encoding="utf-8")
    (most,) = map(float, re.findall(r"packages are less than ([\d.]+) GB", page))
    assert most - 0.2 < size / 1e9 < most


def test_image_copies_what_the_build_context_lets_through() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:].rstrip("/") for line in ignore if line.startswith("!")}
    copied = [line.split()[:-1] for line in instructions("COPY") if "--from" not in line]
    sources = {source.rstrip("/") for group in copied for source in group}
    assert all((ROOT / source).exists() for source in sources)
    assert {source.split("/")[0] for source in sources} == allowed


@pytest.mark.slow
def test_the_wheel_is_the_same_whenever_and_wherever_it_is_built(tmp_path: Path) -> None:
    epoch = dict(line.split("=") for line in instructions("ARG"))["SOURCE_DATE_EPOCH"]
    lines = [line for line in instructions("COPY") if "--from" not in line]
    sources = [source.rstrip("/") for line in lines for source in line.split()[:-1]]
    built = []
    for number, mask in enumerate((0o022, 0o077)):
        folder = tmp_path / str(number) / "src"
        folder.mkdir(parents=True)
        for source in sources:
            before = os.umask(mask)
            copy(ROOT / source, folder / source)
            os.umask(before)
        out = tmp_path / str(number) / "dist"
        done = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out],
            cwd=folder,
            env={**os.environ, "SOURCE_DATE_EPOCH": epoch},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (wheel,) = out.iterdir()
        built.append(wheel.read_bytes())
    assert built[0] == built[1]


def copy(source: Path, target: Path) -> None:
    """With the time of now, as a fresh clone has."""
    if source.is_file():
        target.write_bytes(source.read_bytes())
    elif source.name != "__pycache__":
        target.mkdir()
        for child in source.iterdir():
            copy(child, target / child.name)
