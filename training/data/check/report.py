"""The findings as a self-contained web page."""

from collections import defaultdict
from collections.abc import Iterable
from html import escape

from training.data.check.rules import RULES, Finding, shown

LISTED = 20
"""Findings per rule; `askdocs dataset check --json` has all of them."""
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: auto; padding: 1rem; }}
li {{ overflow-wrap: anywhere; }}
.error {{ color: #cf222e; }} .warning {{ color: #9a6700; }} .met {{ color: #1a7f37; }}
</style></head><body>
<h1>{title}</h1>
"""


def html(file: str, rows: int, findings: Iterable[Finding]) -> str:
    """Each rule with its purpose and fix, broken ones first, and the first lines that break it."""
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_rule[finding.rule].append(finding)
    parts = [_HEAD.format(title=escape(f"Check of {file}")), f"<p>{rows:,} rows</p>"]
    for rule in sorted(RULES.values(), key=lambda rule: (rule.name not in by_rule, rule.severity)):
        broken = by_rule[rule.name]
        state, count = (rule.severity, f"{len(broken):,}") if broken else ("met", "0")
        parts.append(f'<h2 class="{state}">{rule.name} ({rule.severity}): {count}</h2>')
        parts.append(f"<p>{escape(rule.about)} {escape(rule.fix)}</p>")
        lines = [f"line {f.line}: {f.message}" if f.line else f.message for f in broken[:LISTED]]
        if len(broken) > LISTED:
            lines.append(f"and {len(broken) - LISTED:,} more; --json lists all")
        parts += ["<ul>", *(f"<li>{escape(shown(line, 500))}</li>" for line in lines), "</ul>"]
    return "\n".join([*parts, "</body></html>", ""])
