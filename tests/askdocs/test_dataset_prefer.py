"""Votes and reviews as pairs of answers, which TRL's DPOTrainer takes."""

import json
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from askdocs.cli import app
from askdocs.state.home import Home
from core import database
from eval.questions.rows import Row
from gateway.answering.grounding.prompt import REFUSAL
from tests.training.test_finetune import base, python  # noqa: F401 -- fixtures
from training.data import leaks
from widget.review.clusters import Sorter
from widget.review.judged import judged
from widget.review.reviews import Draft, Reviews
from widget.review.wiki import ReviewIndex
from widget.service.store import Answered, NewQuestion, Store, Vote
from wiki.index.index import writing
from wiki.sources.spec import Spec
from wiki.sources.sync import sync

PUMP = (
    "# The pump\n\nHow to service the pump.\n\n## Filter\n\nReplace the filter of the pump every 14"
    " weeks with a wrench.\n\n## Motor\n\nThe motor of the pump takes oil of the type XK30.\n"
)
GOOD, BAD = "Replace the filter every 14 weeks [7].", "Replace the filter every 99 weeks."


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A wiki in the index, and readers who asked, voted and were answered again."""
    home = Home(tmp_path / "home")
    home.root.mkdir()
    wiki = tmp_path / "wiki"
    wiki.mkdir()
    (wiki / "pump.md").write_text(PUMP)
    (wiki / "lamp.md").write_text("# The lamp\n\nA lamp takes a bulb of 60 watts.\n")
    spec = Spec.named(str(wiki), site_url="https://wiki.example.com/")
    sync(spec.open(), partial(writing, home.index), spec=spec.stored)
    engine = database.open(f"sqlite:///{home.root}/askdocs.db")
    database.migrate(engine)
    store = Store(engine)
    filter_question = "How often do I replace the filter of the pump?"
    for id, question, said in (
        ("good", filter_question, Answered("answered", answer=GOOD)),
        ("bad", filter_question, Answered("answered", answer=BAD)),
        ("oil", "Which oil does the motor of the pump take?", Answered("refused")),
        ("far", "Who invented the zeppelin balloon?", Answered("answered", answer="Nobody.")),
        ("mail", "Replace the filter of the pump for ann@corp.test?", Answered("answered", GOOD)),
        ("closed", filter_question, Answered("answered", answer="Secret.", readers="legal")),
    ):
        store.asked(NewQuestion(id, question, id))
        store.answered(id, said)
    for id, vote in (("good", "up"), ("bad", "down"), ("far", "up"), ("mail", "up")):
        store.vote(id, Vote(vote), "")
    store.vote("closed", Vote("down"), "")
    Sorter(engine, load=lambda: None).sort()
    with engine.connect() as connection:
        cluster = connection.exec_driver_sql(
            "select cluster from members where question = 'oil'"
        ).scalar_one()
    draft = Draft("Which oil?", "The motor takes oil of the type XK30.", "pump.md")
    Reviews(engine).change(cluster, 0, "wendy@example.com", "approve", draft)
    engine.dispose()
    return home


def prefer(home: Home, *words: str) -> Result:
    argv = ["dataset", "prefer", "--home", str(home.root), "--json", *words]
    return CliRunner().invoke(app, argv)


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def said(row: dict[str, Any], name: str) -> str:
    (message,) = row[name]
    return str(message["content"])


def test_votes_and_reviews_become_pairs(home: Home, tmp_path: Path) -> None:
    looked = prefer(home, "--dry-run")
    assert looked.exit_code == 0, (looked.output, looked.exception)
    done = prefer(home, "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, (done.output, done.exception)
    facts = json.loads(done.stdout)
    assert facts == {**json.loads(looked.stdout), "folder": str(tmp_path / "out")}
    names = ("pairs", "questions", "unpaired", "page_not_found")
    assert [facts[name] for name in names] == [2, 2, 0, 1]
    pairs = {said(row, "rejected"): row for row in rows(tmp_path / "out" / "pairs.jsonl")}
    assert set(pairs) == {BAD, REFUSAL}
    filters = pairs[BAD]
    chosen = said(filters, "chosen")
    number = chosen.removeprefix("Replace the filter every 14 weeks [").removesuffix("].")
    assert f"[{number}] ## Filter" in filters["prompt"][0]["content"]  # not the 7 of another prompt
    assert said(pairs[REFUSAL], "chosen").startswith("The motor takes oil of the type XK30 [")
    text = (tmp_path / "out" / "pairs.jsonl").read_text()
    assert "Secret" not in text
    assert "corp.test" not in text


def test_an_answer_that_a_reader_liked_is_not_called_bad_beside_a_writers(home: Home) -> None:
    engine = database.open(f"sqlite:///{home.root}/askdocs.db")
    store = Store(engine)
    for id in ("liked", "plain"):
        store.asked(NewQuestion(id, "Which oil does the motor of the pump take?", id))
        store.answered(id, Answered("answered", answer=f"{id} oil"))
        store.vote(id, Vote("down"), "")
    Sorter(engine, load=lambda: None).sort()
    store.vote("liked", Vote("up"), "")  # somebody thought again
    with closing(ReviewIndex(home.index, engine)) as wiki:
        bad = {one.answer for one in judged(engine, wiki) if not one.is_good}
    engine.dispose()
    assert "plain oil" in bad
    assert "liked oil" not in bad


def test_evaluations_know_the_questions_of_preferences(home: Home, tmp_path: Path) -> None:
    assert prefer(home, "--out", str(tmp_path / "out")).exit_code == 0
    known = leaks.read(tmp_path / "out" / leaks.FILE)
    asked = [
        Row(1, "How often do I replace the filter of a pump?", ""),
        Row(2, "Where is the lamp?", ""),
        Row(3, "Is XK30 right?", "", cluster=known_cluster(home)),
        Row(4, "Who invented the zeppelin balloon?", ""),  # left out: no page has it
    ]
    assert leaks.contaminated(asked, known) == {1, 3}


def known_cluster(home: Home) -> str:
    """Of the writer's answer, as `feedback pull` writes it."""
    engine = database.open(f"sqlite:///{home.root}/askdocs.db")
    (review,) = Reviews(engine).approved()
    engine.dispose()
    return f"review-{review.cluster}"


def test_answers_whose_pages_were_closed_since_are_left_out(home: Home, tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{home.root}/askdocs.db")
    store = Store(engine)
    store.asked(NewQuestion("more", "Which oil does the motor of the pump take?", "more"))
    store.answered("more", Answered("refused"))
    Sorter(engine, load=lambda: None).sort()
    # Not the writer's answer either: it may say what the closed page says.
    store.narrow({"good": '[["legal"]]', "oil": '[["legal"]]'}, "two")
    engine.dispose()
    done = prefer(home, "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, (done.output, done.exception)
    facts = json.loads(done.stdout)
    assert (facts["pairs"], facts["unpaired"]) == (0, 1)


def test_without_a_folder_it_says_how_to_look_first(home: Home) -> None:
    assert "--out DIR, or look first with --dry-run" in str(prefer(home).exception)


def test_a_full_folder_is_refused_by_options_that_there_are(home: Home) -> None:
    done = prefer(home, "--out", str(home.root))
    assert str(done.exception) == f"{home.root}: is not empty: name another --out DIR"


TRAIN = """
import json, sys
from pathlib import Path
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer
base, folder, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
rows = load_dataset("json", data_files=f"{folder}/pairs.jsonl", split="train")
config = DPOConfig(output_dir=out, max_steps=1, per_device_train_batch_size=2, use_cpu=True,
    report_to="none", beta=0.1, max_length=2048, bf16=False, gradient_checkpointing=False)
adapter = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
trainer = DPOTrainer(AutoModelForCausalLM.from_pretrained(base), args=config, train_dataset=rows,
    processing_class=tokenizer, peft_config=adapter)
print("loss", trainer.train().training_loss)
"""


@pytest.mark.slow
def test_trl_trains_a_step_on_the_pairs(
    home: Home,
    tmp_path: Path,
    python: Path,  # noqa: F811
    base: Path,  # noqa: F811
) -> None:
    assert prefer(home, "--out", str(tmp_path / "pairs")).exit_code == 0
    argv = [str(python), "-I", "-c", TRAIN, str(base), str(tmp_path / "pairs"), str(tmp_path / "o")]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "loss 0.69" in done.stdout  # ln 2: both answers are as likely as before
