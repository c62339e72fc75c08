"""Promotions without a running askdocs: what is refused, and what the database then says."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from askdocs.commands.models_compare import compare
from askdocs.commands.models_serve import promote, rollback
from askdocs.models import serving
from askdocs.state.home import Home
from askdocs.supervision.deployed import Deployed, Host, check_memory, derived
from core import database
from core.errors import AskdocsError
from eval.gate.verdict import Verdict
from gateway.answering.grounding import prompt
from gateway.routing import aliases, promotions
from gateway.routing.deployments import Deployment
from gateway.settings import Alias
from gateway.telemetry.answer_statistics import AnswerStatistics
from tests import starting
from tests.training.versions import FACTS, threshold, trained, verdict
from training.artefacts import probe
from training.versions.open import open_store
from training.versions.store import Store
from widget.service.store import Answered, NewQuestion, Vote
from widget.service.store import Store as Questions

V1 = {"docs@v1": 1.0}


@pytest.fixture
def store(home: Home, tmp_path: Path) -> Store:
    """With two versions, of this gateway's prompt and without a verdict."""
    made = open_store(None, home.root)
    facts = FACTS.model_copy(update={"prompt_fingerprint": prompt.fingerprint()})
    for name in ("docs@v1", "docs@v2"):
        assert made.add("docs", trained(tmp_path / name, content=name), facts) == name
    return made


@pytest.fixture
def stored(home: Home) -> Iterator[sa.Engine]:
    engine = database.open(f"sqlite:///{home.database}")
    database.migrate(engine)
    yield engine
    engine.dispose()


async def test_what_no_version_should_raise_fails_what_follows_them(
    home: Home, stored: sa.Engine
) -> None:
    """So it is logged, begun again after a pause, and shown."""

    async def breaks() -> None:
        raise KeyError("tokenizer")

    host = Host("gguf", "http://127.0.0.1:1/v1", None, gpu=False, launch=None, timeout=1)  # type: ignore[arg-type]
    deployed = Deployed(stored, host, home, {}, lambda name, text: None, lambda: None)
    deployed._begin("docs@v1", breaks())
    async with asyncio.timeout(60):
        with pytest.raises(KeyError, match="tokenizer"):
            await deployed.follow()
    assert deployed._tasks == {}


def passed(of: str) -> Verdict:
    return verdict(of).model_copy(update={"prompt_fingerprint": prompt.fingerprint()})


def test_the_newest_artefact_of_a_kind_is_served(store: Store, tmp_path: Path) -> None:
    for kind in ("gguf-q8_0", "gguf-q4_1", "merged"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "model.gguf").write_text(kind)
        store.add_artefact("docs@v1", kind, tmp_path / kind, {})
    assert derived(store, "docs@v1", "gguf") == "gguf-q4_1"
    assert derived(store, "docs@v1", "merged") == "merged"
    with pytest.raises(AskdocsError, match="create it with `askdocs models export docs@v2`"):
        derived(store, "docs@v2", "gguf")
    with pytest.raises(
        AskdocsError, match="create it with `askdocs models export docs@v2 --type merged`"
    ):
        derived(store, "docs@v2", "merged")


def test_a_model_that_does_not_fit_into_the_free_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    with file.open("wb") as made:
        made.truncate(3 * 2**30)  # a hole: no disk is used
    check_memory("docs@v1", file, 4 * 2**30)
    with pytest.raises(AskdocsError, match=r"needs about 3.5 GiB .* and 3.0 GiB are free"):
        check_memory("docs@v1", tmp_path, 3 * 2**30)


@pytest.mark.slow
def test_an_engine_that_serves_something_else_fails_the_probes(
    store: Store, tmp_path: Path
) -> None:
    # What the model has never said: the first of two tokens, and the other way round its base.
    place = probe.ProbePoint(after=0, tokens=(5, 6), logprobs=(-0.1, -3.0), base=(-3.0, -0.1))
    asked = probe.Probe(
        messages=[{"role": "user", "content": "Hello"}], prompt=(1, 2), answer=(), places=(place,)
    )
    probes = probe.Probes(dtype="float32", seed=1, probes=(asked,))
    (trained(tmp_path / "v3") / probe.FILE).write_text(probes.model_dump_json())
    name = store.add("docs", tmp_path / "v3", FACTS)
    store.add_artefact(name, "gguf-q4_1", trained(tmp_path / "gguf"), {})
    with starting.engine(tmp_path) as engine:
        now = datetime.now(UTC)
        one = Deployment(name, "", "ready", "", "gguf", engine.url, "base", now)
        with pytest.raises(AskdocsError, match=f"{name}: fails its probes: .*adapter: 50% of its"):
            serving.probed(store, one, "gguf")


def test_a_version_that_no_engine_serves_is_not_promoted(
    home: Home, store: Store, stored: sa.Engine
) -> None:
    store.add_verdict("docs@v1", passed("docs@v1"))
    with pytest.raises(AskdocsError, match="there is no model 'docs@v1'"):
        promote("docs@v1", home_dir=home.root)
    assert aliases.stored(stored) == {}
    assert promotions.history(stored, "docs") == []


def test_a_dry_run_says_what_would_be_and_changes_nothing(
    home: Home, store: Store, stored: sa.Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "verdict.json"
    file.write_text(passed("docs@v1").model_dump_json())
    promote("docs@v1", verdict=file, dry_run=True, home_dir=home.root)
    assert "is base 100%, would be docs@v1 100% (dry run" in capsys.readouterr().out
    promote("docs@v1", weight=10, verdict=file, dry_run=True, home_dir=home.root)
    assert "would be base 90%, docs@v1 10%" in capsys.readouterr().out
    assert store.verdicts("docs@v1") == []
    assert aliases.stored(stored) == {}


def test_a_promotion_brings_the_thresholds_of_the_version_and_settings_go_before(
    home: Home, store: Store, stored: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("docs@v1", "docs@v2")
    models = {name: {"url": "http://127.0.0.1:9/v1"} for name in names}
    monkeypatch.setenv("ASKDOCS_GATEWAY_MODELS", json.dumps(models))
    for name in names:
        store.add_verdict(name, passed(name))
    store.add_threshold("docs@v1", threshold("docs@v1", store.manifest_bytes("docs@v1")))
    promote("docs@v1", home_dir=home.root)
    own = {"docs@v1": {"rules": 0.6}}
    assert aliases.stored(stored)["docs"].thresholds == own
    promote("docs@v2", weight=10, home_dir=home.root)  # has none: as before
    promote("docs@v2", home_dir=home.root)
    rollback(home_dir=home.root)
    alias = aliases.stored(stored)["docs"]
    assert (alias.targets, alias.thresholds) == (V1, own)
    for given in ({"rules": 0.7}, {"judge": 0.3}):
        alias = {"docs": {"targets": "base", "thresholds": {"docs@v1": given}}}
        monkeypatch.setenv("ASKDOCS_GATEWAY_ALIASES", json.dumps(alias))
        promote("docs@v1", home_dir=home.root)
        applied = aliases.stored(stored)["docs"].thresholds
        assert applied == {"docs@v1": {**own["docs@v1"], **given}}


@pytest.mark.parametrize(
    ("targets", "weight", "words"),
    [
        (V1, 10, "docs@v1 already gets all requests to docs"),
        ({"base": 90, "docs@v2": 10}, 10, "docs@v2 already has a share of docs"),
        ({"base": 1}, 0, "docs@v1 has no share of docs"),
    ],
)
def test_a_canary_that_makes_no_sense_is_refused(
    home: Home,
    store: Store,
    stored: sa.Engine,
    targets: dict[str, float],
    weight: float,
    words: str,
) -> None:
    store.add_verdict("docs@v1", passed("docs@v1"))
    aliases.save(stored, "docs", Alias(targets=targets), "ada")
    with pytest.raises(AskdocsError, match=words):
        promote("docs@v1", weight=weight, home_dir=home.root)


def test_a_retired_version_is_not_promoted(home: Home, store: Store) -> None:
    store.retire("docs@v1")
    with pytest.raises(AskdocsError, match="docs@v1 is retired"):
        promote("docs@v1", force=True, why="x", home_dir=home.root)


def test_a_rollback_needs_no_running_askdocs(
    home: Home, stored: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AskdocsError, match="no promotion for 'docs'"):
        rollback(home_dir=home.root)
    with pytest.raises(AskdocsError, match="no alias 'hr'"):
        rollback("hr", home_dir=home.root)
    promotions.write(stored, "promote", "docs", None, aliases.DEFAULT["docs"], V1, "ada")
    rollback(home_dir=home.root)
    assert "docs: was docs@v1 100%, is base 100%" in capsys.readouterr().out
    assert aliases.stored(stored)["docs"] == aliases.DEFAULT["docs"]
    assert [e.action for e in promotions.history(stored, "docs")] == ["promote", "rollback"]


async def test_what_answers_is_compared_with_what_answered_before(
    home: Home, stored: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AskdocsError, match="only base has answered for docs"):
        compare(home_dir=home.root)
    promotions.write(stored, "promote", "docs", None, aliases.DEFAULT["docs"], V1, "ada")
    with pytest.raises(AskdocsError, match="neither docs@v1 nor base was asked as docs"):
        compare(home_dir=home.root)
    outcomes = AnswerStatistics(stored)
    for number in range(100):
        outcomes.count("docs", "docs@v1", "answers", *(["refused"] if number < 10 else []))
        outcomes.count("docs", "base", "answers", *(["refused"] if number < 50 else []))
        outcomes.took("docs", "base", "duration", 1.0)
        outcomes.took("docs", "docs@v1", "duration", 1.0)
    await outcomes.flush()
    compare(home_dir=home.root)
    lines = capsys.readouterr().out.splitlines()
    (refused,) = (line for line in lines if line.startswith("refused"))
    assert " ".join(refused.split()) == (
        "refused 10.0% (5.5% to 17.4%) 50.0% (40.4% to 59.6%) docs@v1 is better"
    )
    assert any("whole answer p50" in line and "beyond chance" in line for line in lines)
    compare("base", "docs@v1", as_json=True, home_dir=home.root)
    told = json.loads(capsys.readouterr().out)
    assert (told["models"], told["answers"]) == (["base", "docs@v1"], [100, 100])
    refused = told["measures"][0]
    assert (refused["measure"], refused["first"]["value"], refused["differs"]) == (
        "refused",
        0.5,
        True,
    )


def test_readers_of_a_canary_complete_what_the_gate_left_open(
    home: Home, store: Store, stored: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    given = passed("docs@v1").model_copy(update={"decision": "canary", "reasons": ("few",)})
    store.add_verdict("docs@v1", given)
    shares = {"base": 50.0, "docs@v1": 50.0}
    promotions.write(stored, "canary", "docs", None, aliases.DEFAULT["docs"], shares, "ada")
    with pytest.raises(AskdocsError, match="only as a canary, until its readers have shown"):
        promote("docs@v1", dry_run=True, home_dir=home.root)
    promote("docs@v1", weight=20, dry_run=True, home_dir=home.root)
    questions = Questions(stored)
    for number in range(300):
        served = ("base", "docs@v1")[number % 2]
        good = served == "docs@v1" or number % 3
        asked = NewQuestion(f"q{number}", "How?", f"c{number}", visitor=f"v{number}")
        questions.asked(asked)
        verdict = "supported" if good else "unsupported"
        questions.answered(asked.id, Answered("answered", model=served, verdict=verdict))
        if number == 1:
            questions.vote(asked.id, Vote("down"), "v1")
    compare("docs@v1", "base", as_json=True, home_dir=home.root)
    told = json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))["canary"]
    assert (told["version"], told["readers"], told["decision"]) == (
        "docs@v1",
        [150, 150],
        "promote",
    )
    assert told["difference"] == pytest.approx(2 / 3 - 2 / 150, abs=0.001)
    promote("docs@v1", dry_run=True, home_dir=home.root)
    compare(home_dir=home.root)
    assert "as good: `askdocs models promote docs@v1`" in capsys.readouterr().out
