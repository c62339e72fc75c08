"""Settings: where each value comes from, and that nothing is overlooked."""

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from core.errors import AskdocsError, SettingsError
from core.settings import DEFAULT_FILE, Section, environment, load, variable
from gateway.settings import GatewaySettings
from widget.settings import WidgetSettings

ROOT = Path(__file__).parents[2]


class Sample(Section):
    """One setting of each kind."""

    section: ClassVar[str] = "eval"

    text: str = "default"
    number: int = 1
    switch: bool = False
    items: tuple[str, ...] = ()
    path: Path | None = None
    secret: SecretStr | None = None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "askdocs.toml"  # the working directory is tmp_path


def test_the_command_line_goes_before_the_environment_before_the_file_before_the_default(
    file: Path,
) -> None:
    env = {"ASKDOCS_EVAL_NUMBER": "3"}
    assert load(Sample, env={}).number == 1
    file.write_text("[eval]\nnumber = 2\n")
    assert load(Sample, env={}).number == 2
    assert load(Sample, env=env).number == 3
    assert load(Sample, env=env, number=4).number == 4


def test_an_option_that_was_not_given_changes_nothing() -> None:
    assert load(Sample, env={"ASKDOCS_EVAL_NUMBER": "3"}, number=None).number == 3


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASKDOCS_EVAL_TEXT", "from outside")
    assert load(Sample).text == "from outside"


def test_askdocs_config_names_the_file_and_an_option_overrules_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(f'[eval]\ntext = "{name}"\n')
    env = {"ASKDOCS_CONFIG": str(tmp_path / "a.toml")}
    assert load(Sample, env=env).text == "a"
    assert load(Sample, env=env, file=tmp_path / "b.toml").text == "b"


def test_other_sections_and_variables_are_somebody_elses(file: Path) -> None:
    file.write_text("[gateway]\nport = 1\n[eval]\nnumber = 2\n")
    env = {"PATH": "/bin", "ASKDOCS_HOME": "/x", "ASKDOCS_GATEWAY_PORT": "x"}
    assert load(Sample, env=env).number == 2


def refusal(env: dict[str, str] | None = None, file: Path | None = None, **options: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(Sample, env=env or {}, file=file, **options)
    return str(caught.value)


def test_an_unknown_key_in_the_file_is_an_error_that_lists_the_known(file: Path) -> None:
    file.write_text("[eval]\nnumbr = 2\n")
    text = refusal()
    assert text.startswith("askdocs.toml:2: [eval] numbr: no such setting; [eval] has text, number")


def test_an_unknown_section_is_an_error_that_lists_the_known(file: Path) -> None:
    file.write_text("[evl]\nnumber = 2\n")
    assert refusal() == (
        "askdocs.toml: 'evl' is not a section; the sections are gateway, search, widget, slack,"
        " training, eval, up, sites"
    )


def test_a_key_outside_of_a_section_is_an_error(file: Path) -> None:
    file.write_text("number = 2\n")
    assert "is not a section" in refusal()


@pytest.mark.parametrize("line", ["eval = 2", "[[eval]]\nnumber = 2"])
def test_a_section_that_is_not_written_as_one_is_an_error_that_says_how(
    file: Path, line: str
) -> None:
    file.write_text(line + "\n")
    assert refusal() == (
        "askdocs.toml: eval is a section: write [eval], and its settings on the lines below"
    )


def test_an_unknown_variable_is_an_error() -> None:
    text = refusal({"ASKDOCS_EVAL_NUMBR": "2"})
    assert text.startswith("ASKDOCS_EVAL_NUMBR: no such setting; [eval] has text, number")


@pytest.mark.parametrize(
    "name",
    ["ASKDOCS_EVL_NUMBER", "ASKDOCS_NUMBER", "ASKDOCS_EVAL", "ASKDOCS_", "ASKDOCS_eval_text"],
)
def test_a_misspelt_section_in_the_environment_is_an_error(name: str) -> None:
    text = refusal({name: "2"})
    assert text.startswith(f"{name} (environment) is not a setting")
    assert "ASKDOCS_EVAL_" in text


def test_a_secret_in_the_file_is_refused_and_not_repeated(file: Path) -> None:
    file.write_text('[eval]\nsecret = "hunter2"\n')
    text = refusal()
    assert "[eval] secret is a secret" in text
    assert "ASKDOCS_EVAL_SECRET" in text
    assert "hunter2" not in text


def test_a_secret_is_read_from_the_environment_and_printed_as_stars() -> None:
    read = load(Sample, env={"ASKDOCS_EVAL_SECRET": "hunter2"})
    assert read.secret is not None
    assert read.secret.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(read)


@pytest.mark.parametrize("secret", ["key", "engine_key"])
def test_the_gateways_keys_are_secrets(file: Path, secret: str) -> None:
    file.write_text(f'[gateway]\n{secret} = "hunter2"\n')
    with pytest.raises(SettingsError, match=f"ASKDOCS_GATEWAY_{secret.upper()}"):
        load(GatewaySettings, env={})


def test_a_value_of_the_wrong_type_names_its_origin_and_itself(file: Path) -> None:
    file.write_text('[eval]\nnumber = "many"\n')
    assert refusal().startswith("askdocs.toml:2: [eval] number: ")
    assert "'many'" in refusal()
    assert refusal({"ASKDOCS_EVAL_NUMBER": "lots"}).startswith("ASKDOCS_EVAL_NUMBER: ")
    assert refusal(number="all").startswith("--number: ")
    with pytest.raises(SettingsError, match=r"^--page-budget: .*\(it is 1\)$"):
        load(GatewaySettings, env={}, page_budget=1)


def test_every_wrong_value_is_reported_at_once() -> None:
    text = refusal({"ASKDOCS_EVAL_NUMBER": "x", "ASKDOCS_EVAL_SWITCH": "perhaps"})
    assert [line.split(":")[0] for line in text.splitlines()] == [
        "ASKDOCS_EVAL_NUMBER",
        "ASKDOCS_EVAL_SWITCH",
    ]


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert f"{gone}: no such settings file" in refusal(file=gone)
    assert f"{gone}: no such settings file" in refusal({"ASKDOCS_CONFIG": str(gone)})


def test_the_usual_file_need_not_be_there() -> None:
    assert not DEFAULT_FILE.exists()
    assert load(Sample, env={}) == Sample()


@pytest.mark.parametrize("content", [b"[eval", b"number: 2", b"\xff\xfe", b"[eval]\n[eval]\n"])
def test_a_file_that_is_not_toml_is_said_to_be(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert refusal().startswith("askdocs.toml: not valid TOML: ")


def test_a_list_is_written_with_commas_in_the_environment() -> None:
    for text, items in (("a, b,,c", ("a", "b", "c")), ("", ()), ("a", ("a",))):
        assert load(Sample, env={"ASKDOCS_EVAL_ITEMS": text}).items == items


def test_settings_do_not_change_once_they_are_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(Sample, env={}).number = 2  # type: ignore[misc]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0,")).map(str.strip)


@given(
    st.builds(
        Sample,
        text=NAMES,
        number=st.integers(),
        switch=st.booleans(),
        items=st.lists(NAMES.filter(bool)).map(tuple),
        path=st.none() | NAMES.filter(bool).map(Path),
        secret=st.none() | NAMES.map(SecretStr),
    )
)
def test_environment_is_the_inverse_of_load(sample: Sample) -> None:
    assert load(Sample, env=environment(sample)) == sample


def test_a_child_process_gets_exactly_the_gateways_settings() -> None:
    settings = load(
        GatewaySettings,
        env={"ASKDOCS_GATEWAY_KEY": "kéy"},
        port=1234,
        docs="a b",
        answers="quote",
        prefill=True,
    )
    assert load(GatewaySettings, env=environment(settings)) == settings


def test_a_child_process_gets_exactly_the_widgets_settings() -> None:
    settings = load(
        WidgetSettings,
        env={"ASKDOCS_WIDGET_GATEWAY_KEY": "k"},
        origins=("https://a.example", "https://b.example"),
    )
    assert load(WidgetSettings, env=environment(settings)) == settings


def test_variables_are_named_after_section_and_key() -> None:
    assert variable(GatewaySettings, "page_budget") == "ASKDOCS_GATEWAY_PAGE_BUDGET"


def test_a_settings_error_is_one_that_the_command_line_shows() -> None:
    assert issubclass(SettingsError, AskdocsError)


@pytest.mark.slow
def test_the_gateway_says_a_wrong_setting_in_one_line_and_ends(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env={"PYTHONPATH": str(ROOT), "ASKDOCS_GATEWAY_PROT": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("gateway: ASKDOCS_GATEWAY_PROT: no such setting; [gateway] has")
    assert "Traceback" not in run.stderr


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    weight: int = Field(1, description="A number.")


class Nested(Section):
    section: ClassVar[str] = "eval"
    things: dict[str, Inner] = Field({}, description="Tables.")
    database_url: SecretStr | None = Field(None, description="Shared.")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[eval]\n\n[eval.things.one]\nweight = 2\n\n[eval.things.two]\nweight = "x"\n', 7),
        ('[eval.things.one]\nweight = 2\n[eval.things."two"]\nwiegt = 1\n', 4),
        ('[eval]\nthings.one = { weight = 2 }\nthings.two = { weight = "x" }\n', 3),
        ("[eval.things]\none = { weight = 2 }\ntwo = 4\n", 3),
    ],
)
def test_a_mistake_in_a_nested_table_names_its_line(file: Path, text: str, where: int) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=rf"^askdocs.toml:{where}: \[eval.things") as caught:
        load(Nested)
    assert "two" in str(caught.value)


def test_tables_go_through_the_environment_as_json_and_come_back() -> None:
    settings = load(Nested, env={"ASKDOCS_EVAL_THINGS": '{"one": {"weight": 3}}'})
    assert settings.things == {"one": Inner(weight=3)}
    assert load(Nested, env=environment(settings)) == settings
    with pytest.raises(SettingsError, match="ASKDOCS_EVAL_THINGS: not valid JSON"):
        load(Nested, env={"ASKDOCS_EVAL_THINGS": "{"})


def test_a_shared_variable_has_one_short_name() -> None:
    settings = load(Nested, env={"ASKDOCS_DATABASE_URL": "sqlite://"})
    assert settings.database_url == SecretStr("sqlite://")
    assert load(Nested, env=environment(settings)) == settings
    with pytest.raises(SettingsError, match="it is ASKDOCS_DATABASE_URL"):
        load(Nested, env={"ASKDOCS_EVAL_DATABASE_URL": "sqlite://"})
