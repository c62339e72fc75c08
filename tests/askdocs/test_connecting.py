"""The settings of clients: what is there is kept, and nothing is half written."""

import json
import os
import tomllib
from pathlib import Path

import pytest
import yaml

from askdocs.clients.editors import CLIENTS, Target, content, merged, replace
from core.errors import AskdocsError

MODELS = {"docs": 32768, "base": 32768, "minilm": None, "local": None, "autocomplete": 8192}
URL = "http://127.0.0.1:4000/v1"
TARGET = Target(URL, "ask-key", "docs", MODELS, "autocomplete")
WRITTEN = [name for name, client in CLIENTS.items() if client.files]


def parsed(text: str, form: str) -> object:
    if form == "json":
        return json.loads(text)
    return yaml.safe_load(text) if form == "yaml" else tomllib.loads(text)


@pytest.mark.parametrize("name", WRITTEN)
def test_new_settings_have_the_gateway_and_are_the_same_the_second_time(name: str) -> None:
    for file in CLIENTS[name].files:
        text = merged("", file, TARGET)
        assert parsed(text, file.form)
        if name != "cline":  # it has a time
            assert merged(text, file, TARGET) == text
    whole = merged("", CLIENTS[name].files[0], TARGET)
    assert "127.0.0.1:4000" in whole
    assert "ask-key" in whole or name == "zed", "Zed keeps keys apart"


def test_continue_has_a_model_for_each_of_its_roles() -> None:
    read = yaml.safe_load(merged("", CLIENTS["continue"].files[0], TARGET))
    roles = {role: model for model in read["models"] for role in model["roles"]}
    assert roles.keys() == {"chat", "edit", "apply", "autocomplete", "embed", "rerank"}
    assert roles["chat"]["model"] == "docs"
    assert roles["edit"]["model"] == roles["apply"]["model"] == "base", "docs would refuse to code"
    assert roles["rerank"]["apiBase"].endswith("/v1/")
    assert (read["name"], read["version"], read["schema"]) == ("askdocs", "1.0.0", "v1")


@pytest.mark.parametrize("name", ["continue", "opencode", "codex", "claude-code"])
def test_clients_that_show_no_annotations_ask_for_sources_in_the_text(name: str) -> None:
    assert "x-askdocs-sources" in merged("", CLIENTS[name].files[0], TARGET)


@pytest.mark.parametrize("name", ["continue", "opencode", "codex", "claude-code"])
def test_agents_get_the_tools_of_the_wiki(name: str) -> None:
    assert "127.0.0.1:4000/mcp" in merged("", CLIENTS[name].files[-1], TARGET)


def test_clients_learn_the_context_and_use_the_small_tasks_model() -> None:
    claude = json.loads(merged("", CLIENTS["claude-code"].files[0], TARGET))["env"]
    assert claude["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "32768"
    assert claude["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "8192"
    assert json.loads(merged("", CLIENTS["opencode"].files[0], TARGET))["small_model"] == (
        "askdocs/base"
    )


def test_yaml_keeps_its_comments_its_order_and_other_models() -> None:
    before = (
        "# mine\nname: Work  # not askdocs\nversion: 2.0.0\nschema: v1\nmodels:\n"
        "- name: Other  # keep\n  provider: ollama\n  model: 'x'\n"
        "- name: askdocs\n  provider: openai\n  model: old\n"
    )
    after = merged(before, CLIENTS["continue"].files[0], TARGET)
    assert after.startswith("# mine\nname: Work  # not askdocs\nversion: 2.0.0\n")
    assert "- name: Other  # keep\n" in after
    assert "model: 'x'" in after
    names = [model["name"] for model in yaml.safe_load(after)["models"]]
    assert names[:2] == ["Other", "askdocs"]
    assert names.count("askdocs") == 1
    assert "old" not in after


def test_toml_keeps_its_comments() -> None:
    before = '# mine\nmodel = "x"  # which\n\n[model_providers.other]\nname = "o"  # keep\n'
    after = merged(before, CLIENTS["codex"].files[0], TARGET)
    assert after.startswith('# mine\nmodel = "docs"  # which\n')
    assert '[model_providers.other]\nname = "o"  # keep\n' in after
    assert tomllib.loads(after)["model_providers"]["askdocs"]["base_url"] == URL


def test_json_keeps_other_settings() -> None:
    before = json.dumps({"theme": "dark", "language_models": {"openai_compatible": {"x": {}}}})
    after = json.loads(merged(before, CLIENTS["zed"].files[0], TARGET))
    assert after["theme"] == "dark"
    assert after["language_models"]["openai_compatible"].keys() == {"x", "askdocs"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("zed", '{\n  // mine\n  "theme": "dark"\n}', "it is not JSON without comments"),
        ("zed", "[1]", "without names at its top"),
        ("zed", "[" * 100_000, "it is not JSON"),
        ("zed", '{"language_models": 5}', "language_models is not a group of settings in the file"),
        ("continue", "models: 5", "models is not a list in the file"),
        ("continue", "a: [", "it is not YAML"),
        ("continue", "a: !!python/object:os.system x\nb: *c", "it is not YAML"),
        ("codex", "model = ", "it is not TOML"),
    ],
)
def test_what_cannot_be_kept_is_not_touched(name: str, text: str, reason: str) -> None:
    with pytest.raises(AskdocsError, match=reason):
        merged(text, CLIENTS[name].files[0], TARGET)


def test_a_file_is_replaced_whole_behind_its_link_with_a_copy(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "settings.json"
    assert replace(real, "{}") is None
    assert real.stat().st_mode & 0o777 == 0o600, "it holds a key"
    real.chmod(0o640)
    link = tmp_path / "settings.json"
    link.symlink_to(real)
    backup = replace(link, '{"a": 1}')
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ('{"a": 1}', 0o640)
    assert backup is not None
    assert (backup.read_text(), backup.parent) == ("{}", real.parent)
    assert sorted(os.listdir(real.parent)) == sorted([backup.name, "settings.json"])


def test_a_file_that_cannot_be_read_or_is_huge_is_named(tmp_path: Path) -> None:
    assert content(tmp_path / "none") == ""
    with pytest.raises(AskdocsError, match="cannot be read"):
        content(tmp_path)
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(AskdocsError, match=r"x cannot be read"):
        content(tmp_path / "x")
    (tmp_path / "y").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(AskdocsError, match="larger than"):
        content(tmp_path / "y")
