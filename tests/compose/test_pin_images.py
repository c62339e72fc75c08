"""scripts/pin_images.py, against a `docker` that names digests as buildx does."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINNED = sorted(
    file.relative_to(ROOT).as_posix()
    for pattern in (
        "compose.yaml",
        "deploy/compose.*.yaml",
        "deploy/Dockerfile*",
        "deploy/helm/*.yaml",
    )
    for file in ROOT.glob(pattern)
)
FILES = (*PINNED, "scripts/pin_images.py")

# What `docker buildx imagetools inspect --format '{{json .Manifest}}'` prints, cut short.
DOCKER = r"""#!{python} -IS
import hashlib, json, os, sys
assert sys.argv[1:6] == ["buildx", "imagetools", "inspect", "--format", "{{{{json .Manifest}}}}"]
image = sys.argv[6]
if image.startswith(os.environ.get("MISSING", "none")):
    sys.exit(f"ERROR: docker.io/{{image}}: not found")
digest = "sha256:" + hashlib.sha256(image.encode()).hexdigest()
kind = "application/vnd.oci.image.index.v1+json"
print(json.dumps({{"mediaType": kind, "digest": digest, "size": 1609, "manifests": []}}))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in FILES:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER.format(python=sys.executable))
    docker.chmod(0o755)
    return tmp_path


def run(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / "scripts" / "pin_images.py", *options],
        env={"PATH": str(folder / "bin"), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def texts(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in FILES]


def images(folder: Path) -> set[str]:
    text = re.sub(r"repository: (\S+)\n\s+tag: ", r"image: \1:", "\n".join(texts(folder)[:-1]))
    found = re.findall(r"(?:image: (?:&\w+ )?|FROM )(\S+:\S+)", text)
    return {image for image in found if not image.startswith("registry.example.com/")}


def test_without_write_it_shows_what_differs_and_changes_nothing(copy: Path) -> None:
    before = texts(copy)
    done = run(copy)
    assert done.returncode == 1
    assert texts(copy) == before
    assert re.search(
        r"^lmcache/lmstack-router:v[\d.]+: no digest -> sha256:[0-9a-f]{64}$", done.stdout, re.M
    )
    assert re.search(r"^postgres:\S+: sha256:\w+ -> sha256:\w+$", done.stdout, re.M)
    assert "nothing was changed" in done.stderr


def test_write_pins_every_image_and_a_second_time_finds_nothing_to_do(copy: Path) -> None:
    before = {image.split("@")[0] for image in images(copy)}
    mode = (copy / "compose.yaml").stat().st_mode
    assert run(copy, "--write").returncode == 0
    after = images(copy)
    assert {image.split("@")[0] for image in after} == before
    assert all(re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image) for image in after)
    assert (copy / "compose.yaml").stat().st_mode == mode
    assert sorted(os.listdir(copy)) == ["bin", "compose.yaml", "deploy", "scripts"]
    again = run(copy, "--json")
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout)
    assert {row["image"] for row in rows} == before
    assert all(row["pinned"] == row["registry"] for row in rows)


def test_only_digests_change(copy: Path) -> None:
    before = texts(copy)
    run(copy, "--write")
    for old, new in zip(before, texts(copy), strict=True):
        without = [re.sub(r"@sha256:[0-9a-f]{64}", "", text) for text in (old, new)]
        assert without[0] == without[1]


def test_an_image_that_its_registry_does_not_have_is_named(copy: Path) -> None:
    before = texts(copy)
    done = run(copy, "--write", MISSING="redis")
    assert done.returncode == 1
    assert re.search(r"pin_images: redis:\S+: ERROR: docker.io/redis:\S+: not found", done.stderr)
    assert texts(copy) == before


def test_without_docker_it_says_what_to_install(copy: Path) -> None:
    (copy / "bin" / "docker").unlink()
    done = run(copy)
    assert done.returncode == 1
    assert "install Docker with its plugin buildx" in done.stderr
