"""Versions on a hub: one commit with a card, a tag, and back again as they were."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

from core.errors import AskdocsError
from tests.training.hub import TOKEN, Repository, UploadHub
from tests.training.versions import FACTS, everything, trained, verdict
from tests.widget.stand_in import serve
from training.versions.hub import Hub
from training.versions.open import open_store
from training.versions.store import Store, quiet

# huggingface_hub 1.33 sends files as httpx does not like it any more.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[UploadHub, str]]:
    hub = UploadHub()
    with serve(hub.app) as url:
        disable_progress_bars()
        yield hub, url
        enable_progress_bars()


@pytest.fixture
def hub(
    server: tuple[UploadHub, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> UploadHub:
    """A hub with two base models, to which the library has the way."""
    hub, url = server
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    # Its own protocol for large files, Xet, has no stand-in.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hub.repositories.clear()
    for name, license in ((LLAMA, "llama3.1"), (SMOL, "apache-2.0"), ("team/own", None)):
        base = Repository(private=False)
        metadata = {"license": license} if license else {"tags": ["x"]}
        base.commits[base.head]["README.md"] = f"---\n{yaml.dump(metadata)}---\n".encode()
        hub.repositories[name] = base
    return hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Has docs@v1."""
    store = open_store(None, tmp_path)
    run = trained(tmp_path / "run")
    (run / "adapter" / "README.md").write_text("written by peft")
    store.add("docs", run, FACTS)
    return store


def push(store: Store, name: str = "docs@v1", to: str = "hf://team/wiki") -> bool:
    return Hub(to, TOKEN).push(name, store, None, False, quiet)


def based_on(store: Store, base: str) -> str:
    return store.add(
        "docs", store.fetch("docs@v1") / "adapter", FACTS.model_copy(update={"base_model": base})
    )


def test_a_version_is_one_commit_with_the_adapter_on_top_and_a_tag(
    hub: UploadHub, store: Store
) -> None:
    assert push(store)
    repository = hub.repositories["team/wiki"]
    assert repository.private
    assert repository.messages == ["Add docs@v1"]
    assert repository.tags == {"docs@v1": repository.head}
    files = repository.commits[repository.head]
    assert sorted(files) == [
        ".gitattributes",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "askdocs/adapter/README.md",
        "askdocs/manifest.json",
        "askdocs/training.json",
    ]
    assert files["adapter_model.safetensors"] == b"weights"
    assert list(hub.objects.values()) == [b"weights"]
    assert files["askdocs/manifest.json"] == store.manifest_bytes("docs@v1")


def test_the_card_says_what_the_model_is(hub: UploadHub, store: Store) -> None:
    store.add_verdict("docs@v1", verdict("docs@v1", decision="stop"))
    store.add_verdict("docs@v1", verdict("docs@v1", hour=1))
    push(store)
    repository = hub.repositories["team/wiki"]
    _, metadata, text = repository.commits[repository.head]["README.md"].decode().split("---\n")
    facts = yaml.safe_load(metadata)
    assert facts["base_model"] == SMOL
    assert (facts["license"], facts["library_name"]) == ("apache-2.0", "peft")
    assert "askdocs" in facts["tags"]
    for words in (
        "900 examples for train, 100 examples for validation",
        '"rank": 8',
        "| eval loss | 1.25 |",
        "The gate's verdict was *promote* on 2026-01-01.",
        "under the licence `apache-2.0`",
        "askdocs models pull docs@v1 hf://team/wiki",
    ):
        assert words in text
    assert "Llama" not in text


def test_a_llama_is_built_with_llama(hub: UploadHub, store: Store) -> None:
    name = based_on(store, LLAMA)
    with pytest.raises(AskdocsError, match=r"hf://team/wiki: .*\(llama3.1\) requires a name that"):
        push(store, name)
    assert "team/wiki" not in hub.repositories
    push(store, name, "hf://team/Llama-wiki")
    repository = hub.repositories["team/Llama-wiki"]
    files = repository.commits[repository.head]
    card = files["README.md"].decode()
    assert "**Built with Llama.**" in card
    assert "https://www.llama.com/llama3_1/license/" in card
    assert files["NOTICE"].decode() == (
        "Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright © Meta Platforms,"
        " Inc. All Rights Reserved.\n"
    )


def test_a_version_comes_back_as_it_went(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    push(store)
    arrived = open_store(None, tmp_path / "other")
    (tmp_path / "work").mkdir()
    Hub("hf://team/wiki", TOKEN).pull("docs@v1", arrived, tmp_path / "work", quiet)
    assert everything(arrived.fetch("docs@v1")) == everything(store.fetch("docs@v1"))


def test_a_later_version_replaces_the_files_and_the_tag_of_the_earlier_stays(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    push(store)
    run = trained(tmp_path / "next", "more weights")
    (run / "training.json").rename(run / "facts.json")
    store.add("docs", run, FACTS)
    push(store, "docs@v2")
    assert not push(store, "docs@v2")
    repository = hub.repositories["team/wiki"]
    assert repository.messages == ["Add docs@v1", "Add docs@v2"]
    files = repository.commits[repository.head]
    assert "askdocs/training.json" not in files
    assert "askdocs/facts.json" in files
    for name in ("docs@v1", "docs@v2"):
        arrived = open_store(None, tmp_path / f"from {name}")
        (work := tmp_path / f"work {name}").mkdir()
        Hub("hf://team/wiki", TOKEN).pull(name, arrived, work, quiet)
        assert everything(arrived.fetch(name)) == everything(store.fetch(name))


def test_another_version_of_the_same_name_is_not_replaced(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    push(store)
    other = open_store(None, tmp_path / "other")
    other.add("docs", trained(tmp_path / "another", "another"), FACTS)
    with pytest.raises(AskdocsError, match="hf://team/wiki: has a different docs@v1: name another"):
        push(other)
    assert hub.repositories["team/wiki"].messages == ["Add docs@v1"]


def test_a_file_that_was_changed_on_the_hub_is_refused(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    push(store)
    repository = hub.repositories["team/wiki"]
    repository.commits[repository.head]["adapter_model.safetensors"] = b"Weights"
    (tmp_path / "work").mkdir()
    arrived = open_store(None, tmp_path / "other")
    with pytest.raises(AskdocsError, match=r"^hf://team/wiki@docs@v1/adapter/adapter_model.* has"):
        Hub("hf://team/wiki", TOKEN).pull("docs@v1", arrived, tmp_path / "work", quiet)
    assert arrived.names() == []


def test_what_the_hub_refuses_is_one_line(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match="hf://team/wiki: set HF_TOKEN to a token that may"):
        Hub("hf://team/wiki", None).push("docs@v1", store, "apache-2.0", False, quiet)
    with pytest.raises(
        AskdocsError,
        match=r"401 Invalid credentials.*: check the permissions of "
        "HF_TOKEN",
    ):
        Hub("hf://team/wiki", "hf_other").push("docs@v1", store, None, False, quiet)
    assert "team/wiki" not in hub.repositories
    with pytest.raises(AskdocsError, match="'hf://wiki' is no repository of the hub"):
        Hub("hf://wiki", TOKEN)
    with pytest.raises(AskdocsError, match="hf://team/none: there is no such repository"):
        Hub("hf://team/none", TOKEN).pull("docs@v1", store, tmp_path, quiet)
    with pytest.raises(AskdocsError, match="hf://team/own: has no such version"):
        Hub("hf://team/own", TOKEN).pull("docs@v1", store, tmp_path, quiet)


def test_a_licence_that_nobody_knows_must_be_said(hub: UploadHub, store: Store) -> None:
    for base in ("models/own.gguf", "team/unknown", "team/own"):
        with pytest.raises(AskdocsError, match=f"^{base}: .*licence: name it with --license"):
            push(store, based_on(store, base))
    name = store.names()[-1]
    assert Hub("hf://team/wiki", TOKEN).push(name, store, "mit", True, quiet)
    repository = hub.repositories["team/wiki"]
    assert not repository.private
    assert "license: mit\n" in repository.commits[repository.head]["README.md"].decode()


def test_a_hub_that_cannot_be_reached_is_reported(
    hub: UploadHub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(AskdocsError, match=r"hf://team/wiki: .*: check the network and HF_END"):
        Hub("hf://team/wiki", TOKEN).push("docs@v1", store, "mit", False, quiet)
