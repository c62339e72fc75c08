"""Versions in a bucket: uploads that are cut off or at the same time, and what S3 refuses."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from core.errors import AskdocsError
from tests.training.versions import FACTS, everything, trained
from training.versions import garbage
from training.versions.local import Folder
from training.versions.open import cache, open_store
from training.versions.storage import FileInfo
from training.versions.store import Store

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = "adapter/adapter_model.safetensors"

# A server and processes that talk to it.
pytestmark = pytest.mark.slow


@pytest.fixture
def store(bucket: str, tmp_path: Path) -> Store:
    return open_store(f"{bucket}/team/models", tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return trained(tmp_path / "run")


def keys(bucket: str) -> dict[str, int]:
    """Everything in the bucket, with its size."""
    found = boto3.client("s3").list_objects_v2(Bucket=bucket.removeprefix("s3://"))
    return {item["Key"]: item["Size"] for item in found.get("Contents", ())}


def key_of(bucket: str, end: str) -> dict[str, str]:
    (key,) = (key for key in keys(bucket) if key.endswith(end))
    return {"Bucket": bucket.removeprefix("s3://"), "Key": key}


# Adds a version, slowly when it is nearly done, until it is killed.
ADD = """
import sys, time
from pathlib import Path
from tests.training.versions import FACTS
from training.versions import s3
from training.versions import garbage
from training.versions.open import open_store
s3.PART = 5 * 2**20
def tell(step, done, total):
    if step.startswith("uploading") and done >= 52:
        time.sleep(0.2)
open_store(sys.argv[1], Path(sys.argv[2])).add("docs", Path(sys.argv[3]), FACTS, tell)
"""


def test_a_kill_in_the_middle_of_an_upload_leaves_no_version(
    store: Store, run: Path, tmp_path: Path
) -> None:
    store.add("docs", run, FACTS)
    large = trained(tmp_path / "large")
    (large / "adapter" / "z.bin").write_bytes(os.urandom(64 * 2**20))
    uploader = subprocess.Popen(
        [sys.executable, "-c", ADD, str(store.place), tmp_path, large],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    left: dict[str, FileInfo] = {}
    while not any("?uploadId=" in path and entry.bytes for path, entry in left.items()):
        assert uploader.poll() is None
        time.sleep(0.1)
        left = store.place.remains()
    uploader.send_signal(signal.SIGKILL)
    uploader.wait()
    assert store.names() == ["docs@v1"]
    whole, parts = sorted(left)
    assert parts.startswith(f"{whole}/adapter/z.bin?uploadId=")
    assert left[parts].bytes < 64 * 2**20
    assert left[whole].bytes == 15  # the two small files that were complete
    next_one = store.add("docs", run, FACTS)
    later = datetime.now(UTC) + timedelta(days=2)
    for one in garbage.find(store, cache(tmp_path), "none@v1", later):
        assert one.what in left
        for path in one.paths:
            one.place.remove(path)
    assert store.place.remains() == {}
    assert store.names() == ["docs@v1", next_one]
    for name in store.names():
        assert (store.fetch(name) / WEIGHTS).read_text() == "weights"


def test_of_two_that_create_the_same_exactly_one_wins(store: Store) -> None:
    contents = [f"{number}".encode() for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda content: store.place.create("docs@v1/x", content), contents))
    assert won.count(True) == 1
    assert store.place.read("docs@v1/x") == contents[won.index(True)]


def test_a_large_file_comes_back_as_it_went(
    store: Store, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.versions import s3

    monkeypatch.setattr(s3, "PART", 5 * 2**20)
    content = os.urandom(11 * 2**20)
    (run / "large.bin").write_bytes(content)
    seen: list[tuple[str, int, int | None]] = []
    name = store.add("docs", run, FACTS, lambda *told: seen.append(told))
    assert (
        store.fetch(name, None, lambda *told: seen.append(told)) / "large.bin"
    ).read_bytes() == (content)
    for step in ("reading run", "uploading docs@v1", "downloading docs@v1"):
        assert (f"{step} (MB)", 11, 11) in seen


def test_what_was_fetched_is_not_fetched_again_unless_it_is_broken(store: Store, run: Path) -> None:
    name = store.add("docs", run, FACTS)
    steps: list[str] = []

    def fetched() -> tuple[str, bool]:
        steps.clear()
        folder = store.fetch(name, None, lambda step, done, total: steps.append(step))
        return (folder / WEIGHTS).read_text(), f"downloading {name} (MB)" in steps

    assert fetched() == ("weights", True)
    assert fetched() == ("weights", False)
    (store.fetch(name) / WEIGHTS).write_text("Weights")
    assert fetched() == ("weights", True)


def test_copies_of_a_retired_version_go_though_another_machine_has_removed_its_files(
    store: Store, run: Path, tmp_path: Path
) -> None:
    store.add("docs", run, FACTS)
    store.add_artefact("docs@v1", "gguf", run, {})
    for artefact in (None, "gguf"):
        store.fetch("docs@v1", artefact)
    copies = cache(tmp_path)
    trained(other := copies.root / "docs@v10-0123456789abcdef")
    trained(copies.root / ".docs@v1-0123.4567abcd.new")
    store.retire("docs@v1")

    def found(there: Folder = copies) -> list[garbage.Garbage]:
        later = datetime.now(UTC) + timedelta(days=2)
        return list(garbage.find(store, there, "docs@v1", later))

    def remove(there: Folder) -> None:
        for one in found(there):
            for path in one.paths:
                one.place.remove(path)

    remove(cache(tmp_path / "other"))
    (left, one) = found()
    assert left.what == ".docs@v1-0123.4567abcd.new"
    assert one.what == f"copies of docs@v1 in {copies}"
    copied = [everything(folder) for folder in copies.root.glob("docs@v1-*")]
    assert len(copied) == 2
    assert one.bytes == sum(len(content) for files in copied for content in files.values())
    remove(copies)
    assert list(copies.root.iterdir()) == [other]
    assert found() == []


def test_a_file_that_is_not_what_it_was_in_the_bucket_is_named(
    store: Store, run: Path, bucket: str
) -> None:
    name = store.add("docs", run, FACTS)
    client = boto3.client("s3")
    client.put_object(**key_of(bucket, WEIGHTS), Body=b"Weights")
    with pytest.raises(AskdocsError) as raised:
        store.fetch(name)
    place = key_of(bucket, WEIGHTS)["Key"]
    assert str(raised.value).startswith(f"{bucket}/{place}: has the SHA-256 ")
    client.delete_object(**key_of(bucket, WEIGHTS))
    missing = rf"^{bucket}/{place}: is in the manifest, but missing: push the version"
    with pytest.raises(AskdocsError, match=missing):
        store.fetch(name)


def test_another_version_with_a_longer_number_is_not_of_this_one(store: Store, run: Path) -> None:
    for _ in range(10):
        store.add("docs", run, FACTS)
    store.add_artefact("docs@v10", "gguf", run, {})
    assert store.artefacts("docs@v1") == []
    store.place.remove("docs@v1")
    assert store.names() == [f"docs@v{number}" for number in range(2, 11)]


def test_what_else_is_in_the_bucket_is_left_alone(store: Store, run: Path, bucket: str) -> None:
    client = boto3.client("s3")
    others = ["other", "team/other", "team/models/notes.txt", "team/models/docs@v7/notes.txt"]
    for key in others:
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"x")
    assert store.names() == []
    assert store.place.remains() == {}
    assert store.add("docs", run, FACTS) == "docs@v8"
    assert set(others) < set(keys(bucket))


def test_a_bucket_that_is_not_there_is_reported(bucket: str, run: Path, tmp_path: Path) -> None:
    store = open_store("s3://no-such-bucket", tmp_path)
    with pytest.raises(AskdocsError, match=r"^s3://no-such-bucket: no such bucket: "):
        store.add("docs", run, FACTS)


def test_an_address_without_a_bucket_is_reported(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match="'s3:///x' is not an address of S3"):
        open_store("s3:///x", tmp_path)


def test_missing_credentials_are_reported(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AskdocsError, match="no credentials: set AWS_ACCESS_KEY_ID"):
        open_store(str(store.place), tmp_path / "other").names()


def test_a_server_that_cannot_be_reached_is_reported(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(AskdocsError, match=r"cannot be reached .*127.0.0.1:1.*AWS_ENDPOINT_URL"):
        open_store(str(store.place), tmp_path / "other").names()


@pytest.fixture
def strict(s3_server: str, bucket: str) -> Iterator[dict[str, Any]]:
    """The keys of a user who may do nothing, at a server that asks who it is."""
    iam = boto3.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    with httpx.Client(trust_env=False) as client:
        client.post(f"{s3_server}/moto-api/reset-auth", content="0").raise_for_status()
        yield key
        client.post(f"{s3_server}/moto-api/reset-auth", content="inf").raise_for_status()


def test_refused_credentials_and_missing_rights_are_reported(
    strict: dict[str, Any], store: Store, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AskdocsError, match=r"credentials are refused \(InvalidAccessKeyId\)"):
        store.names()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", strict["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", strict["SecretAccessKey"])
    with pytest.raises(AskdocsError, match=r"ListObjectsV2 is not allowed: .*s3:PutObject"):
        open_store(str(store.place), tmp_path / "other").add("docs", run, FACTS)
