"""The folder for what llama.cpp has read is one model's at one version of the engine."""

from pathlib import Path

import pytest

from gateway.upstream.engines import llamacpp


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(3 * 2**20))
    return file


def test_the_same_model_finds_its_folder_again(tmp_path: Path, model: Path) -> None:
    root = tmp_path / "states"
    folder = llamacpp.states_folder(root, model)
    (folder / "a.state").touch()
    elsewhere = tmp_path / "other.gguf"
    elsewhere.write_bytes(model.read_bytes())
    assert llamacpp.states_folder(root, elsewhere) == folder
    assert (folder / "a.state").exists()
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("at", [5, -5])
def test_another_model_gets_an_empty_folder_and_the_old_one_goes(
    tmp_path: Path, model: Path, at: int
) -> None:
    root = tmp_path / "states"
    old = llamacpp.states_folder(root, model)
    (old / "a.state").touch()
    data = bytearray(model.read_bytes())
    data[at] ^= 1
    model.write_bytes(data)
    new = llamacpp.states_folder(root, model)
    assert new != old
    assert not old.exists()
    assert list(new.iterdir()) == []


def test_another_version_of_the_engine_gets_another_folder(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = llamacpp.states_folder(tmp_path / "states", model)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2027.1")
    assert llamacpp.states_folder(tmp_path / "states", model) != old


def test_what_is_not_ours_stays(tmp_path: Path, model: Path) -> None:
    root = tmp_path / "states"
    (root / "photos").mkdir(parents=True)
    (root / "0123456789abcdef0").mkdir()
    llamacpp.states_folder(root, model)
    assert (root / "photos").is_dir()
    assert (root / "0123456789abcdef0").is_dir()
