"""The page of rules says what the check says."""

from pathlib import Path

from tests.headings import below
from training.data.check.rules import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference/dataset.md"


def test_every_rule_has_its_row_with_what_it_is_about_and_its_fix() -> None:
    section = below(PAGE, "rules-of-the-check").split("\n## ")[0]
    lines = [line for line in section.splitlines() if line[:3] == "| `"]
    assert lines == [
        f"| `{rule.name}` | {rule.severity} | {rule.about} | {rule.fix} |"
        for rule in RULES.values()
    ]
