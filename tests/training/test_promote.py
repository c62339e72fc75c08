"""What speaks against a version, and when it is overruled."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.errors import AskdocsError
from eval.gate import verdict as verdicts
from eval.gate.verdict import Verdict
from tests.training.versions import FACTS, verdict
from training.versions.manifest import File, Manifest
from training.versions.promote import check, objections

PROMPT = FACTS.prompt_fingerprint
MANIFEST = Manifest(
    name="docs@v7",
    created=datetime.now(UTC),
    files={"training.json": File(sha256="a" * 64, bytes=1)},
    **dict(FACTS),
)


def test_a_version_that_passed_with_this_prompt_may_answer() -> None:
    assert objections(MANIFEST, verdict("docs@v7"), PROMPT) == []


def refused() -> Verdict:
    found = verdict("docs@v7", decision="stop")
    return found.model_copy(update={"reasons": ("token F1 is 0.41, below 0.45",)})


@pytest.mark.parametrize(
    ("given", "prompt", "words"),
    [
        (None, PROMPT, ["the release gate has no verdict on docs@v7"]),
        (verdict("docs@v6"), PROMPT, ["the verdict is about docs@v6, not about docs@v7"]),
        (refused(), PROMPT, ["the release gate rejected docs@v7: token F1 is 0.41, below 0.45"]),
        (
            verdict("docs@v7"),
            "another",
            [
                f"docs@v7 was trained with the prompt {PROMPT}, and the gateway uses another",
                f"the verdict measured docs@v7 with the prompt {PROMPT}",
            ],
        ),
    ],
)
def test_what_speaks_against_it_is_named(
    given: Verdict | None, prompt: str, words: list[str]
) -> None:
    found = objections(MANIFEST, given, prompt)
    assert [text[: len(start)] for text, start in zip(found, words, strict=True)] == words
    with pytest.raises(AskdocsError, match="or overrule this with --force --why TEXT"):
        check(found, force=False, why=None)
    check(found, force=True, why="the gate is being repaired")


def test_a_canary_s_readers_decide_where_the_gate_leaves_it_open() -> None:
    given = verdict("docs@v7", decision="canary")
    assert objections(MANIFEST, given, PROMPT, "canary") == []
    (said,) = objections(MANIFEST, given, PROMPT, "promote")
    assert said.startswith("the release gate allows docs@v7 only as a canary")
    assert objections(MANIFEST, given, PROMPT, "promote", readers="promote") == []
    assert objections(MANIFEST, refused(), PROMPT, "canary")
    assert objections(MANIFEST, refused(), PROMPT, "promote", readers="promote")


@pytest.mark.parametrize(
    ("force", "why", "words"),
    [(True, None, "--force needs a reason"), (True, "  ", "--force needs"), (False, "x", "--why")],
)
def test_force_and_its_reason_come_together(force: bool, why: str | None, words: str) -> None:
    with pytest.raises(AskdocsError, match=words):
        check([], force, why)


def test_a_file_that_is_no_verdict_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    with pytest.raises(AskdocsError, match=r"verdict.json: cannot be read"):
        verdicts.read(file)
    file.write_text('{"version": "docs@v7"}')
    with pytest.raises(AskdocsError, match=r"verdict.json: prompt_fingerprint: Field required"):
        verdicts.read(file)
    file.write_text(verdict("docs@v7").model_dump_json())
    assert verdicts.read(file) == verdict("docs@v7")
