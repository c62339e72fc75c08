"""Versions, in a folder and in a bucket: never changed, numbered once, verified when used."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from tests.training.versions import FACTS, everything, threshold, trained, verdict
from training.versions import manifest, name
from training.versions.manifest import Manifest
from training.versions.open import open_store
from training.versions.store import Store


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "bucket":
        return open_store(f"{request.getfixturevalue('bucket')}/models", tmp_path)
    return open_store(None, tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return trained(tmp_path / "run")


def test_a_version_has_the_files_and_facts_that_it_was_added_with(store: Store, run: Path) -> None:
    before = everything(run)
    assert store.add("docs", run, FACTS) == "docs@v1"
    found = store.manifest("docs@v1")
    assert (found.name, found.dataset, found.metrics) == ("docs@v1", FACTS.dataset, FACTS.metrics)
    assert list(found.files) == sorted(before)
    fetched = everything(store.fetch("docs@v1"))
    assert fetched.pop("manifest.json") == store.manifest_bytes("docs@v1")
    assert fetched == before == everything(run)


def test_each_alias_counts_its_own_versions(store: Store, run: Path) -> None:
    assert store.names() == []
    for _ in range(11):
        store.add("docs", run, FACTS)
    assert store.add("hr", run, FACTS) == "hr@v1"
    assert store.names() == [*(f"docs@v{number}" for number in range(1, 12)), "hr@v1"]


def test_versions_that_are_added_at_once_get_numbers_and_files_of_their_own(
    store: Store, tmp_path: Path
) -> None:
    runs = [trained(tmp_path / f"run{number}", f"weights {number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        added = list(pool.map(lambda run: store.add("docs", run, FACTS), runs))
    assert len(set(added)) == 6
    assert set(store.names()) == set(added)
    for run, each in zip(runs, added, strict=True):
        fetched = everything(store.fetch(each))
        assert fetched.pop("manifest.json") == store.manifest_bytes(each)
        assert fetched == everything(run)


def test_what_is_derived_lies_beside_the_version_and_does_not_change_it(
    store: Store, run: Path, tmp_path: Path
) -> None:
    store.add("docs", run, FACTS)
    before = everything(store.fetch("docs@v1"))
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "model.gguf").write_text("GGUF")
    store.add_artefact("docs@v1", "gguf", tmp_path / "gguf", {"type": "Q8_0"})
    assert store.artefacts("docs@v1") == ["gguf"]
    assert store.artefact("docs@v1", "gguf").facts == {"type": "Q8_0"}
    assert (store.fetch("docs@v1", "gguf") / "model.gguf").read_text() == "GGUF"
    after = everything(store.fetch("docs@v1"))
    assert {path: after[path] for path in before} == before
    with pytest.raises(AskdocsError, match="already has an artefact 'gguf'"):
        store.add_artefact("docs@v1", "gguf", tmp_path / "gguf", {})
    with pytest.raises(AskdocsError, match=r"no artefact 'fp8'; there are: gguf"):
        store.fetch("docs@v1", "fp8")
    with pytest.raises(AskdocsError, match=r"'\.\./x': cannot be an artefact"):
        store.add_artefact("docs@v1", "../x", tmp_path / "gguf", {})


def test_verdicts_are_kept_in_the_order_of_time(store: Store, run: Path) -> None:
    store.add("docs", run, FACTS)
    said = [verdict("docs@v1", 9, decision="stop"), verdict("docs@v1", 10)]
    for one in (said[1], said[0], said[0]):
        store.add_verdict("docs@v1", one)
    assert store.verdicts("docs@v1") == said
    store.fetch("docs@v1")
    with pytest.raises(AskdocsError, match=r"about docs@v2, not about docs@v1"):
        store.add_verdict("docs@v1", verdict("docs@v2"))


def test_thresholds_are_kept_beside_the_version_that_they_are_about(
    store: Store, run: Path
) -> None:
    store.add("docs", run, FACTS)
    content = store.manifest_bytes("docs@v1")
    one = threshold("docs@v1", content)
    newer = one.model_copy(update={"value": 0.5, "made": one.made + timedelta(hours=1)})
    for kept in (newer, one, one):
        store.add_threshold("docs@v1", kept)
    assert store.thresholds("docs@v1") == [one, newer]
    assert store.manifest_bytes("docs@v1") == content
    store.fetch("docs@v1")
    with pytest.raises(
        AskdocsError, match="the threshold is about a different docs@v1 from the one in"
    ):
        store.add_threshold("docs@v1", threshold("docs@v1", b"another"))


def test_a_retired_version_is_listed_and_not_given_out(store: Store, run: Path) -> None:
    store.add("docs", run, FACTS)
    assert store.retired("docs@v1") is None
    assert store.retire("docs@v1")
    assert not store.retire("docs@v1")
    retired = store.retired("docs@v1")
    assert retired is not None
    assert datetime.now(UTC) - retired < timedelta(minutes=1)
    assert store.names() == ["docs@v1"]
    with pytest.raises(AskdocsError, match="docs@v1: was retired on"):
        store.fetch("docs@v1")
    assert store.add("docs", run, FACTS) == "docs@v2"


@pytest.mark.parametrize("call", ["manifest", "fetch", "retire"])
def test_a_version_that_is_not_there_is_reported_with_those_that_are(
    store: Store, run: Path, call: str
) -> None:
    store.add("docs", run, FACTS)
    with pytest.raises(AskdocsError, match=r"docs@v2: no such version .* it has: docs@v1"):
        getattr(store, call)("docs@v2")
    with pytest.raises(AskdocsError, match="'docs' is not the name of a version"):
        getattr(store, call)("docs")


@pytest.mark.parametrize(
    "taken", ["manifest.json", "retired.json", "artefacts/a", "verdicts/b", "thresholds/c"]
)
def test_names_that_the_store_needs_are_refused_in_a_version(
    store: Store, run: Path, taken: str
) -> None:
    (run / taken).parent.mkdir(exist_ok=True)
    (run / taken).write_text("{}")
    with pytest.raises(AskdocsError, match=f"{taken.split('/')[0]}: is not allowed in a version"):
        store.add("docs", run, FACTS)


def test_a_folder_without_files_is_no_version(store: Store, tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match="nothing: has no files"):
        store.add("docs", tmp_path / "nothing", FACTS)


def test_an_alias_that_cannot_be_a_name_is_refused(store: Store, run: Path) -> None:
    for alias in ("", "../x", "docs@v1", "a b", ".x", "x" * 81):
        with pytest.raises(AskdocsError, match="cannot have versions"):
            store.add(alias, run, FACTS)


@given(st.from_regex(name.ALIAS, fullmatch=True), st.integers(1, 10**9 - 1))
def test_a_name_is_read_as_it_is_written(alias: str, number: int) -> None:
    assert name.parse(str(name.Name(alias, number))) == (alias, number)


@given(st.text(max_size=20))
def test_what_is_no_name_is_an_error_that_shows_it(text: str) -> None:
    if not name.is_version(text):
        with pytest.raises(AskdocsError) as raised:
            name.parse(text)
        assert repr(text) in str(raised.value)


def test_a_manifest_is_read_as_it_was_written(store: Store, run: Path) -> None:
    store.add("docs", run, FACTS)
    content = store.manifest_bytes("docs@v1")
    assert manifest.encode(manifest.decode(Manifest, content, "x")) == content
