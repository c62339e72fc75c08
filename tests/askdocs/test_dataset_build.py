"""`askdocs dataset build` as a process, with the real embedder."""

import hashlib
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from askdocs import cli
from tests.askdocs.conftest import COMMAND, Run
from tests.training import small

pytestmark = pytest.mark.slow


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command without --out; all that it reads is in the folder that it runs in."""
    # A third of the pages: all of their sections are embedded, in each run.
    for number, page in enumerate(sorted(small.wiki(tmp_path).iterdir())):
        if number % 3:
            page.unlink()
    small.write(tmp_path / "qa_pairs.jsonl", rows(tmp_path))
    small.tokenizer(tmp_path)
    return ["dataset", "build", "qa_pairs.jsonl", "--docs", "wiki", "--tokenizer", "tokenizer.json"]


def rows(folder: Path) -> list[dict[str, Any]]:
    """Every other question of the pages that are there, and some that none answers."""
    there = {f"docs/{page.name}" for page in (folder / "wiki").iterdir()}
    return [row for row in small.questions() if row.get("context_doc", "") in {"", *there}][::2]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_writes_a_whole_dataset_that_is_the_same_again(
    askdocs: Run, words: list[str], tmp_path: Path
) -> None:
    for out in ("out", "again"):
        done = askdocs(*words, "--out", out)
        assert (done.returncode, done.stderr) == (0, "")
    files = digests(tmp_path / "out")
    assert files == digests(tmp_path / "again")
    assert sorted(files) == [
        "card.json",
        "card.md",
        "lengths.png",
        "train.jsonl",
        "trained.json",
        "validation.jsonl",
    ]
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["distractors"] != "words only"
    assert card["sha256"]["outputs"] == {
        name: digest for name, digest in files.items() if not name.startswith("card")
    }
    other = json.loads(askdocs(*words, "--out", "other", "--seed", "1", "--json").stdout)
    assert other["sha256"]["outputs"]["train.jsonl"] != files["train.jsonl"]


def test_what_is_wrong_is_one_line_and_loses_nothing(
    askdocs: Run,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert askdocs(*words, "--out", "out", "--dry-run").returncode == 0
    assert not (tmp_path / "out").exists()
    assert askdocs(*words, "--out", "out").returncode == 0
    before = digests(tmp_path / "out")
    wrong_rows = rows(tmp_path)
    wrong_rows[2]["context_doc"] = "gone.md"
    small.write(tmp_path / "unknown.jsonl", wrong_rows)
    small.write(tmp_path / "few.jsonl", wrong_rows[:2])
    (tmp_path / "broken.jsonl").write_text('{"question": "Q"\n')
    wrong = [
        (["qa_pairs.jsonl"], "out: is not empty: name another --out DIR, or add --force"),
        (["unknown.jsonl", "--force"], "unknown.jsonl:3: the wiki has no page 'gone.md'"),
        (["few.jsonl", "--force"], "few.jsonl: its 2 rows in 2 clusters leave no rows for"),
        (["broken.jsonl", "--force"], "broken.jsonl:1: is not JSON"),
        (["none.jsonl", "--force"], "none.jsonl: cannot be read: No such file"),
        (["qa_pairs.jsonl", "--force", "--docs", "nowhere"], "nowhere does not exist"),
        (["qa_pairs.jsonl", "--force", "--tokenizer", "few.jsonl"], "few.jsonl: is not a token"),
    ]
    for (file, *more), line in wrong:
        more += ["--out", "out"]
        # In this process: a new one takes a second.
        monkeypatch.setattr("sys.argv", ["askdocs", *words[:2], file, *words[3:], *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr().err
        assert ended.value.code == 2
        assert said.count("\n") == 1
        assert line in said
        assert digests(tmp_path / "out") == before


def test_a_kill_leaves_the_old_dataset_whole(
    askdocs: Run, words: list[str], tmp_path: Path
) -> None:
    assert askdocs(*words, "--out", "out").returncode == 0
    before = digests(tmp_path / "out")
    there = names(tmp_path)
    killed = subprocess.Popen([COMMAND, *words, "--out", "out", "--seed", "1", "--force"])
    while not list(tmp_path.glob(".out.*.new/*/index.db")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert digests(tmp_path / "out") == before
    assert len(names(tmp_path)) == len(there) + 1
    assert askdocs(*words, "--out", "out", "--seed", "1", "--force").returncode == 0
    assert names(tmp_path) == there
    assert digests(tmp_path / "out")["train.jsonl"] != before["train.jsonl"]
