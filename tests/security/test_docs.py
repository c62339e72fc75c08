"""The threat model: true to the tests and files that it names, and to what it says of the code."""

import ast
import re
from pathlib import Path

import pytest

from tests.headings import below
from tests.security.conftest import ROOT

DOCS = ROOT / "docs"
THREATS = ROOT / "research/threats.md"
PAGES = (
    THREATS,
    DOCS / "explanation/security.md",
    DOCS / "how-to/production.md",
)
FOUND = ROOT / "tests/security/README.md"
CODE = ("askdocs", "training", "eval", "widget", "gateway")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|requirements|scripts|deploy)/[\w./*-]+)`", text)
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_every_threat_has_its_letters_what_is_done_and_a_test() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in THREATS.read_text(encoding="utf-8").partition("\n## ")[2].splitlines()
        if line.startswith("| ") and not line.startswith("| threat")
    ]
    assert len(rows) >= 60
    for threat, done, tested, *remains in rows:
        assert re.match(r"[STRIDE](, [STRIDE])*: \S", threat), threat
        assert done
        assert "`tests/" in tested, threat
        assert len(remains) == 1


def test_every_hole_that_was_found_is_held_by_tests_that_are_there() -> None:
    rows = re.findall(r"^\| (?!vulnerability|-)(.+) \| (.+) \|$", FOUND.read_text("utf-8"), re.M)
    assert len(rows) >= 45
    for hole, held in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", held)
        assert named, hole
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text("utf-8"), test


def test_all_six_kinds_of_threats_are_there() -> None:
    text = THREATS.read_text(encoding="utf-8")
    found = set("".join(re.findall(r"^\| ([STRIDE, ]+):", text, re.M)).replace(", ", ""))
    assert found == set("STRIDE")


def test_every_part_of_the_picture_has_threats() -> None:
    model = (DOCS / "explanation/security.md").read_text(encoding="utf-8")
    picture = re.findall(r"```text\n(.*?)```", model, re.S)[0]
    # Between them are lines, which Unicode has a block of, commas, and room.
    parts = {part.strip() for part in re.split("[\u2500-\u257f]|,|  |\n", picture)} - {""}
    rows = re.findall(r"^\| ([\w', ]+) \|(?: [^|\n]+ \|){3}$", below_model(model), re.M)
    assert {part for row in rows for part in row.split(", ")} == parts | {"part"}
    table = re.findall(
        r"^\| (.+) \| \[.+\]\(#(.+)\) \|$", THREATS.read_text(encoding="utf-8"), re.M
    )
    where = {part: anchor for names, anchor in table for part in names.split(", ")}
    assert where.keys() == parts
    for anchor in where.values():
        section = below(THREATS, anchor).split("\n## ")[0]
        assert re.search(r"^\| [STRIDE](, [STRIDE])*: ", section, re.M), anchor


def below_model(text: str) -> str:
    return text.partition("## Threat model")[2].partition("\n## ")[0]


def sources() -> dict[Path, str]:
    files = [file for folder in CODE for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 300
    return {file: file.read_text(encoding="utf-8") for file in files}


def test_no_code_of_a_models_author_is_run_and_no_weights_are_unpickled() -> None:
    for file, text in sources().items():
        assert "trust_remote_code=True" not in text, file
        assert not re.search(r"\btorch\.load\(|\bjoblib\.load\(", text), file


def test_no_code_of_ours_loads_litellm() -> None:
    users = set()
    for file, text in sources().items():
        for node in ast.walk(ast.parse(text)) if "litellm" in text else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "litellm" for name in names):
                users.add(file.relative_to(ROOT).parts[0])
    assert users == set()
