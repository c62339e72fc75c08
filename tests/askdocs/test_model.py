import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from askdocs.models import curated, model
from core.errors import AskdocsError
from tests.askdocs.conftest import ROOT
from tests.askdocs.hub import Hub
from tests.widget.stand_in import serve

pytestmark = pytest.mark.slow

SMALL = b"GGUF" + bytes(60)


def find(name: str | None, engine: str = "llama.cpp") -> model.Model:
    return model.find(name, engine, lambda text: None)


def gguf(path: Path) -> Path:
    path.write_bytes(SMALL)
    return path


def test_the_shipped_model_is_a_real_gguf_file() -> None:
    found = find(None)
    assert found.name == model.SHIPPED
    assert found.is_gguf
    with open(found.source, "rb") as file:
        assert file.read(4) == b"GGUF"
    assert found == find(None, "vllm")


def test_a_gguf_file_is_found_by_its_path(tmp_path: Path) -> None:
    gguf(tmp_path / "tiny.Q8_0.gguf")
    assert find("tiny.Q8_0.gguf") == model.Model("tiny.Q8_0", str(tmp_path / "tiny.Q8_0.gguf"))


def test_a_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    gguf(tmp_path / "tiny.gguf")
    assert find("~/tiny.gguf").source == str(tmp_path / "tiny.gguf")


def test_a_file_of_another_kind_is_refused_by_its_suffix(tmp_path: Path) -> None:
    gguf(tmp_path / "model.safetensors")
    with pytest.raises(AskdocsError, match=r"model\.safetensors is not a GGUF file"):
        find(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("inside", [False, True])
def test_a_pointer_that_git_left_instead_of_the_file_is_refused(
    tmp_path: Path, inside: bool
) -> None:
    path = tmp_path / "model.gguf"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(AskdocsError, match=r"model\.gguf is not a valid GGUF .*again"):
        find(str(tmp_path if inside else path))


def test_of_several_gguf_files_in_a_folder_the_usual_quantisation_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("BF16", "IQ2_M", "Q8_0", "Q4_K_M", "Q4_0"):
        gguf(folder / f"tiny.{name}.gguf")
    assert find(str(folder)).name == "tiny.Q4_K_M"
    (folder / "tiny.Q4_K_M.gguf").unlink()
    assert find(str(folder)).name == "tiny.Q4_0"


def test_a_quantisation_is_a_word_and_not_a_part_of_one() -> None:
    names = ["m-BF16.gguf", "m-F16.gguf", "m-Q4_0_4_4.gguf", "m-Q4_0.gguf", "m-IQ4_XS.gguf"]
    assert model.pick(names, "F16") == "m-F16.gguf"
    assert model.pick(names, "bf16") == "m-BF16.gguf"
    assert model.pick(names, "q4_0") == "m-Q4_0.gguf"
    assert model.pick(names, "IQ4") == "m-IQ4_XS.gguf"


def test_the_first_part_of_a_split_file_is_taken_and_no_projector() -> None:
    parts = [f"m-Q4_K_M-{n:05}-of-00012.gguf" for n in range(1, 13)]
    assert model.pick([*reversed(parts), "mmproj-Q4_K_M.gguf"]) == parts[0]


def test_a_quantisation_that_is_not_there_is_an_error_that_lists_what_is() -> None:
    with pytest.raises(AskdocsError, match=r"no GGUF file with 'Q9' among: a\.Q4_0\.gguf"):
        model.pick(["a.Q4_0.gguf"], "Q9")


def test_a_hugging_face_folder_is_for_vllm_and_llama_cpp_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert find(str(folder), "vllm") == model.Model("tiny", str(folder))
    with pytest.raises(AskdocsError, match="--engine vllm"):
        find(str(folder))


def test_each_engine_takes_its_own_kind_from_a_folder_with_both(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    gguf(folder / "tiny.gguf")
    assert find(str(folder)).source == str(folder / "tiny.gguf")
    assert find(str(folder), "vllm").source == str(folder)


def test_an_empty_folder_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"holds no model: neither \*\.gguf nor config\.json"):
        find(str(tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        *("llama", "no/such/file.gguf", "owner/x.gguf", "a b/c", "../x"),
        *(
            "owner/a..b",
            "owner/a--b",
            "owner/a.",
            "owner/ä",
            f"owner/{'a' * 97}",
        ),  # the hub's rules
    ],
)
def test_a_name_that_is_nothing_is_an_error_that_says_what_it_could_be(name: str) -> None:
    with pytest.raises(AskdocsError, match="is neither a local file or folder, nor a hub id"):
        find(name)


def test_vllm_is_given_a_hub_id() -> None:
    assert find("owner/Tiny-1B", "vllm") == model.Model("Tiny-1B", "owner/Tiny-1B")


def test_two_files_of_one_name_get_two_folders() -> None:
    one, two = model.Model("m", "/a/m.gguf"), model.Model("m", "/b/m.gguf")
    assert model.folder_name(one) != model.folder_name(two)


# From the hub. Its address is read when its library is imported: in processes of their own.

FIND = """
import sys
from askdocs.models import model
from core.errors import AskdocsError
for name in sys.argv[1:]:
    try:
        found = model.find(name, "llama.cpp", lambda text: print("said", text))
        print("found", found.name, found.source)
    except AskdocsError as error:
        print("error", error)
    print(end="\\f")
"""


class Asker:
    """Asks a hub for a model."""

    def __init__(self, hub: Hub, url: str, cache: Path) -> None:
        self.hub = hub
        self.cache = cache
        self.env = os.environ | {
            "HF_ENDPOINT": url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(ROOT),
        }

    def __call__(self, name: str) -> str:
        (said,) = self.each(name)
        return said

    def each(self, *names: str) -> list[str]:
        """What one process says of each of them."""
        done = subprocess.run(
            [sys.executable, "-c", FIND, *names],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\f")[:-1]

    def file(self, name: str) -> bytes:
        """What a call with `name` finds."""
        return found(self(name))


def found(said: str) -> bytes:
    """The file that was found."""
    word, _, file = said.splitlines()[-1].split(maxsplit=2)
    assert word == "found", said
    return Path(file).read_bytes()


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Asker]:
    """A hub with two repositories, and an empty cache."""
    files = {f"tiny.{q}.gguf": SMALL + q.encode() for q in ("F16", "Q8_0", "Q4_K_M", "Q2_K")}
    hub = Hub(
        {
            "owner/tiny-GGUF": {"README.md": b"# Tiny", **files},
            "owner/tiny": {"config.json": b"{}", "model.safetensors": b"x"},
            "owner/gated-GGUF": {"gated.gguf": SMALL},
        },
        gated={"owner/gated-GGUF"},
    )
    with serve(hub.app) as url:
        yield Asker(hub, url, tmp_path / "hub")


PREFETCH = """
import sys
from askdocs.models import model
model.TELL = 0.01
model.prefetch(sys.argv[1], lambda text: print("said", text))
"""


def prefetch(asker: Asker, repo: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", PREFETCH, repo]
    return subprocess.run(argv, env=asker.env, capture_output=True, text=True, timeout=60)


def test_what_vllm_serves_is_fetched_once_and_then_found_without_the_hub(asker: Asker) -> None:
    weights = bytes(range(256)) * 8000
    asker.hub.files["owner/whole"] = {
        "config.json": b"{}",
        "model.safetensors": weights,
        "original.pth": b"not wanted",
    }
    done = prefetch(asker, "owner/whole")
    assert done.returncode == 0, done.stderr
    assert "said fetching owner/whole, unless it is here" in done.stdout
    assert sorted(asker.hub.fetched) == ["config.json", "model.safetensors"]
    (stored,) = asker.cache.rglob("snapshots/*/model.safetensors")
    assert stored.read_bytes() == weights
    again = prefetch(asker, "owner/whole")
    assert again.returncode == 0
    assert len(asker.hub.fetched) == 2
    asker.env["HF_ENDPOINT"] = "http://127.0.0.1:9"
    assert "fetched before" in prefetch(asker, "owner/whole").stdout
    assert "the hub cannot be reached" in prefetch(asker, "owner/other").stderr


def test_a_prefetch_that_broke_off_goes_on_where_it_was(asker: Asker) -> None:
    weights = os.urandom(25 * 2**20)
    asker.hub.files["owner/big"] = {"model.safetensors": weights}
    asker.hub.break_off = 15 * 2**20
    done = prefetch(asker, "owner/big")
    assert done.returncode == 0, done.stderr
    (stored,) = asker.cache.rglob("snapshots/*/model.safetensors")
    assert stored.read_bytes() == weights
    assert asker.hub.ranges == [f"bytes={10 * 2**20}-"]


def test_a_model_without_all_its_weights_is_not_taken_for_fetched(asker: Asker) -> None:
    asker.hub.files["owner/parts"] = {
        "config.json": b"{}",
        "model-1.safetensors": b"one",
        "model-2.safetensors": b"two",
        "original.pth": b"not wanted",
    }
    assert prefetch(asker, "owner/parts").returncode == 0
    (part,) = asker.cache.rglob("snapshots/*/model-2.safetensors")
    part.unlink()  # as after a kill between the two
    asker.env["HF_ENDPOINT"] = "http://127.0.0.1:9"
    assert "the hub cannot be reached" in prefetch(asker, "owner/parts").stderr


def test_a_hub_id_fetches_the_usual_quantisation_alone_or_the_one_after_a_colon(
    asker: Asker,
) -> None:
    said = asker("owner/tiny-GGUF")
    assert "said fetching tiny.Q4_K_M.gguf from owner/tiny-GGUF" in said
    assert "found tiny-GGUF " in said
    again, other = asker.each("owner/tiny-GGUF", "owner/tiny-GGUF:Q8_0")
    assert found(again) == SMALL + b"Q4_K_M"
    assert found(other) == SMALL + b"Q8_0"
    assert asker.hub.fetched == ["tiny.Q4_K_M.gguf", "tiny.Q8_0.gguf"]  # each once


def test_a_download_that_broke_off_goes_on_where_it_was(asker: Asker) -> None:
    content = b"GGUF" + os.urandom(25 * 2**20)
    asker.hub.files["owner/big"] = {"big.gguf": content}
    asker.hub.break_off = 15 * 2**20
    assert asker.file("owner/big") == content
    # Its library keeps what it has in steps of 10 MiB.
    assert asker.hub.ranges == [f"bytes={10 * 2**20}-"]


def test_a_download_that_arrived_damaged_is_refused_and_fetched_again(asker: Asker) -> None:
    asker.hub.damage = 1
    said = asker("owner/tiny-GGUF").splitlines()[-1]
    assert said.startswith("error tiny.Q4_K_M.gguf arrived damaged (its SHA-256 is ")
    assert said.endswith("and was deleted: run the command again to download it")
    assert not [file for file in asker.cache.rglob("*.gguf") if file.is_file()]
    assert asker.file("owner/tiny-GGUF") == SMALL + b"Q4_K_M"
    assert asker.hub.fetched == ["tiny.Q4_K_M.gguf"] * 2


def test_the_half_of_a_broken_download_is_checked_with_its_rest(asker: Asker) -> None:
    content = b"GGUF" + os.urandom(25 * 2**20)
    asker.hub.files["owner/big"] = {"big.gguf": content}
    asker.hub.break_off = 15 * 2**20
    asker.hub.damage = 2
    assert "big.gguf arrived damaged" in asker("owner/big")
    assert asker.file("owner/big") == content


def test_a_curated_name_is_checked_like_every_file_of_the_hub(asker: Asker) -> None:
    known = curated.MODELS[0]
    name = f"{known.repo.split('/')[1].removesuffix('-GGUF')}-Q4_K_M.gguf"
    asker.hub.files[known.repo] = {name: SMALL}
    asker.hub.damage = 1
    assert f"error {name} arrived damaged" in asker(known.name)
    said, again = asker.each(known.name, known.name)
    assert f"said checking the SHA-256 of {name}" in said
    assert f"found {known.name} " in said
    assert "checking" not in again, "it is checked where it was fetched"


def test_what_the_hub_does_not_give_is_an_error_with_the_fix(asker: Asker) -> None:
    names = ("owner/tiny-GGUF:Q5_K_M", "owner/tiny", "owner/nothing", "owner/gated-GGUF")
    quantisation, no_gguf, nothing, gated = asker.each(*names)
    assert quantisation.startswith("error no GGUF file with 'Q5_K_M' among: tiny.F16.gguf, ")
    assert no_gguf.startswith("error owner/tiny on the hub has no GGUF file")
    assert "-GGUF" in no_gguf
    assert "--engine vllm" in no_gguf
    assert nothing.startswith("error the hub has no repository owner/nothing")
    assert "check the name" in nothing
    assert nothing.count("\n") == 1
    gated = gated.splitlines()[-1]
    assert gated.startswith("error owner/gated-GGUF on the hub is gated")
    assert "HF_TOKEN" in gated


def test_a_hub_that_cannot_be_reached_is_an_error_within_seconds(asker: Asker) -> None:
    asker.env["HF_ENDPOINT"] = "http://127.0.0.1:9"
    began = time.monotonic()
    said = asker("owner/tiny-GGUF")
    assert time.monotonic() - began < 60
    assert said.startswith("error owner/tiny-GGUF could not be fetched: the hub cannot be reached")
    assert "connect this machine, or name a file" in said


def test_a_model_that_was_fetched_before_is_found_without_the_hub(asker: Asker) -> None:
    asker.file("owner/tiny-GGUF:Q8_0")
    asker.env["HF_ENDPOINT"] = "http://127.0.0.1:9"
    there, other = asker.each("owner/tiny-GGUF:Q8_0", "owner/tiny-GGUF:F16")
    assert found(there) == SMALL + b"Q8_0"
    assert other.startswith("error owner/tiny-GGUF could not be fetched")


@pytest.mark.slow
def test_a_hub_that_accepts_and_says_nothing_is_an_error_within_half_a_minute(
    asker: Asker,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        asker.env["HF_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        said = asker("owner/tiny-GGUF")
        assert time.monotonic() - began < 30
    assert said.startswith("error owner/tiny-GGUF could not be fetched from the hub")
