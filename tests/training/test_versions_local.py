"""Versions in a folder: whole or not at all, and every change to a file is reported."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import AskdocsError
from tests.training.versions import FACTS, everything, trained
from training.versions import manifest
from training.versions.local import FIX, Folder
from training.versions.open import open_store
from training.versions.store import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Folder(tmp_path / "versions"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return trained(tmp_path / "run")


# Adds versions until it is killed; the copy is slow enough to be cut in two.
ADD = """
import sys, time
from pathlib import Path
from training.versions import files, local
from training.versions.store import Store
from tests.training.versions import FACTS
real = files.digest
def slow(path, count):
    if str(path).startswith(sys.argv[1]):
        print(path, flush=True)
        time.sleep(60)
    return real(path, count)
files.digest = slow
Store(local.Folder(Path(sys.argv[1]))).add("docs", Path(sys.argv[2]), FACTS)
"""


def test_a_kill_while_a_version_is_written_leaves_those_of_before(
    store: Store, run: Path, tmp_path: Path
) -> None:
    store.add("docs", run, FACTS)
    root = tmp_path / "versions"
    before = everything(root)
    writer = subprocess.Popen(
        [sys.executable, "-c", ADD, root, run],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline().startswith(os.fsencode(root))
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    (left,) = store.place.remains()
    assert store.names() == ["docs@v1"]
    assert {path for path in everything(root) if not path.startswith(left)} == set(before)
    assert not any(path.startswith(left) for path in store.place.list())
    assert store.add("docs", run, FACTS) == "docs@v2"
    store.place.remove(left)
    assert store.place.remains() == {}
    assert store.names() == ["docs@v1", "docs@v2"]


def test_every_file_that_is_not_what_it_was_is_named(store: Store, run: Path) -> None:
    store.add("docs", run, FACTS)
    folder = store.fetch("docs@v1")
    weights = folder / "adapter" / "adapter_model.safetensors"
    weights.write_text("Weights")
    (folder / "training.json").unlink()
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "adapter" / "more.bin").write_text("x")
    with pytest.raises(AskdocsError) as raised:
        store.fetch("docs@v1")
    lines = str(raised.value).splitlines()
    known = store.manifest("docs@v1").files
    assert lines == [
        f"{folder}/adapter/more.bin: is not in the manifest: remove it",
        f"{folder}/adapter/adapter_config.json: has 2 bytes, not 8: {FIX}",
        f"{weights}: has the SHA-256 {manifest.sha256(b'Weights')}, not"
        f" {known['adapter/adapter_model.safetensors'].sha256}: {FIX}",
        f"{folder}/training.json: is in the manifest, but missing: {FIX}",
    ]
    assert "askdocs restore FILE --only versions" in FIX


def test_an_artefact_of_another_version_is_refused(store: Store, run: Path, tmp_path: Path) -> None:
    for _ in range(2):
        store.add("docs", run, FACTS)
    store.add_artefact("docs@v1", "merged", run, {})
    (tmp_path / "versions/docs@v1/artefacts").rename(tmp_path / "versions/docs@v2/artefacts")
    with pytest.raises(AskdocsError, match=r"docs@v2/artefacts/merged.*belongs to another version"):
        store.fetch("docs@v2", "merged")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "a\\b", ".", ""])
def test_a_manifest_from_elsewhere_cannot_name_a_file_outside(
    store: Store, run: Path, tmp_path: Path, path: str
) -> None:
    store.add("docs", run, FACTS)
    place = tmp_path / "versions" / "docs@v1" / "manifest.json"
    facts: dict[str, Any] = store.manifest("docs@v1").model_dump(mode="json")
    facts["files"] = {path: facts["files"]["training.json"]}
    place.write_text(json.dumps(facts))
    with pytest.raises(AskdocsError, match="is not a path inside the version"):
        store.fetch("docs@v1")


def test_a_manifest_that_is_cut_off_is_named(store: Store, run: Path, tmp_path: Path) -> None:
    store.add("docs", run, FACTS)
    place = tmp_path / "versions" / "docs@v1" / "manifest.json"
    place.write_bytes(place.read_bytes()[:-10])
    with pytest.raises(AskdocsError, match=r"docs@v1/manifest.json: is not a manifest .*: put it"):
        store.manifest("docs@v1")


def test_a_store_that_cannot_be_written_is_reported(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AskdocsError, match=r"file/versions.*: Not a directory: .* \[training\]"):
        Store(Folder(tmp_path / "file" / "versions")).add("docs", run, FACTS)


def test_the_store_lies_in_the_state_folder_unless_the_settings_say_otherwise(
    tmp_path: Path,
) -> None:
    assert str(open_store(None, tmp_path).place) == str(tmp_path / "versions")
    assert str(open_store(f"{tmp_path}/other", tmp_path).place) == str(tmp_path / "other")
    with pytest.raises(AskdocsError, match="ftp://x"):
        open_store("ftp://x", tmp_path)


def test_a_version_that_was_copied_by_hand_to_another_name_is_refused(
    store: Store, run: Path, tmp_path: Path
) -> None:
    store.add("docs", run, FACTS)
    shutil.copytree(tmp_path / "versions/docs@v1", tmp_path / "versions/docs@v5")
    with pytest.raises(
        AskdocsError, match=r"docs@v5/manifest.json: is the manifest of docs@v1: remove"
    ):
        store.fetch("docs@v5")
    assert store.add("docs", run, FACTS) == "docs@v6"


def test_what_a_kill_left_in_a_version_does_not_make_it_broken(
    store: Store, run: Path, tmp_path: Path
) -> None:
    name = store.add("docs", run, FACTS)
    left = tmp_path / "versions" / name / ".retired.json.0123abcd.new"
    left.write_text("{")
    store.fetch(name)
    assert list(store.place.remains()) == [f"{name}/{left.name}"]
