"""`askdocs dataset check`: find faulty rows, and repair what is safe to repair."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs import environments
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models import model
from askdocs.models.deriving import run
from askdocs.state import home
from askdocs.state.home import write
from askdocs.terminal.bar import Bar
from askdocs.terminal.consoles import say
from core.errors import AskdocsError
from eval.questions import rows
from training.data.check import check as checking
from training.data.check import entries, measure
from training.data.check import fix as fixing
from training.data.check import report as reporting
from training.data.check.rules import RULES, shown
from training.data.locate import locate, written
from training.data.tokens import Tokens
from training.output import output
from wiki.pages.page import Page
from wiki.sources.source import Broken, Changed
from wiki.sources.spec import Spec

if TYPE_CHECKING:
    from training.data.check.entries import DatasetLine
    from training.data.check.rules import Finding

# Findings of a rule that are listed; JSON has all of them.
LISTED = 5
# Characters of a value in JSON.
MOST = 200

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="Rows, one JSON object per line.")
]
FieldOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=PATH",
        help="Path of a field in the file: answer=answers.0.content. Can be repeated.",
    ),
]


def check(
    file: FileArgument,
    docs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the wiki, to check pages and answers."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Evaluation rows, to detect contamination. Can be repeated."
        ),
    ] = None,
    field: FieldOption = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The model's tokenizer.json or GGUF file (default: the bundled model's).",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the findings as a web page.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="New file: the rows with all safe fixes and, with --docs, the page of each "
            "context.",
        ),
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report faulty rows, with line and fix; exit code 1 if errors are left."""
    if out:
        fixing.refuse_existing(out)
    read = entries.read(file, entries.named(field or []))
    others = {str(other): rows.read(other) for other in against or []}
    wiki = _pages(docs) if docs else []
    tokens = Tokens(tokenizer or Path(model.shipped().source))
    otherwise = "it is not overwritten: name another --report DIR"
    with output(report, False, otherwise) if report else nullcontext() as pages:
        python = environments.ensure(environments.DATASET, home.find(home_dir).root, say)
        with Bar() as bar:

            def inspect(texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
                argv = [str(python), "-I", measure.__file__]
                found: list[dict[str, Any]] = run(argv, {"rows": texts}, bar.show, "the check")
                return found

            findings = checking.check(file, read, inspect, tokens, wiki, others)
        if pages:
            write(pages / "index.html", reporting.html(file.name, len(read), findings))
    repaired = _repaired(file, read, wiki, findings, out) if out else None
    if as_json:
        facts = _facts(file, len(read), findings, report)
        if repaired:
            facts["repaired"] = repaired
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _show(file, len(read), findings, report, repaired)
    if repaired["errors"] if repaired else _count(findings)["error"]:
        raise typer.Exit(1)


def _repaired(
    file: Path,
    read: Sequence["DatasetLine"],
    wiki: Sequence[Page],
    found: Sequence["Finding"],
    out: Path,
) -> dict[str, Any]:
    """Write the rows with all safe fixes, and with the page of each context.

    Raises AskdocsError: no row would be left.
    """
    fixed = fixing.fix(read, entries.has_byte_order_mark(file))
    if not fixed.lines:
        raise AskdocsError(f"{file}: none of {len(read):,} rows would be left: correct it first")
    lines = fixed.lines
    if wiki:
        parsed = [rows.parse_row(n, json.loads(line)) for n, line in enumerate(lines, 1)]
        kept = [row for row in parsed if isinstance(row, rows.Row)]
        places = locate(kept, ((page.path, page.text) for page in wiki))
        for row, located in zip(kept, places, strict=True):
            if located.outcome == "located":
                fields = written(json.loads(lines[row.line - 1]), located)
                lines[row.line - 1] = json.dumps(fields, ensure_ascii=False).encode()
        outcomes = Counter(located.outcome for located in places)
    else:
        outcomes = Counter()
    fixing.write(out, lines)
    left = _count(finding for finding in found if not RULES[finding.rule].safe)
    return {
        "out": str(out),
        "written": len(lines),
        "changes": [_finding(file, change) for change in fixed.changes],
        "pages": outcomes,
        "errors": left["error"],
    }


def _show(
    file: Path,
    rows: int,
    findings: Sequence["Finding"],
    report: Path | None,
    repaired: dict[str, Any] | None,
) -> None:
    _list(file, findings)
    counts = _count(findings)
    print(f"{file}: {rows:,} rows, errors: {counts['error']:,}, warnings: {counts['warning']:,}")
    if repaired:
        print(f"{repaired['out']}: {repaired['written']:,} of {rows:,} rows")
        for outcome, count in repaired["pages"].items():
            print(f"  {outcome}: {count:,}")
    elif any(_finding(file, finding)["safe"] for finding in findings):
        print("--out NEWFILE repairs the findings marked [fix]")
    if report:
        print(f"as a web page: {report / 'index.html'}")


def _list(file: Path, all_findings: Iterable["Finding"]) -> None:
    """By rule, the errors first."""
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for finding in all_findings:
        by_rule[finding.rule].append(finding)
    for rule in sorted(RULES.values(), key=lambda rule: rule.severity):
        if findings := by_rule.get(rule.name):
            mark = " [fix]" if rule.safe else ""
            print(f"{rule.severity} {rule.name}{mark}: {len(findings):,}. {rule.about} {rule.fix}")
            for finding in findings[:LISTED]:
                print(f"  {_place(file, finding)}: {shown(finding.message, 500)}")
            if len(findings) > LISTED:
                print(f"  and {len(findings) - LISTED:,} more; --json lists all")


def _facts(
    file: Path, rows: int, findings: Sequence["Finding"], report: Path | None
) -> dict[str, Any]:
    counts = _count(findings)
    return {
        "file": str(file),
        "rows": rows,
        "errors": counts["error"],
        "warnings": counts["warning"],
        "report": str(report / "index.html") if report else None,
        "findings": [_finding(file, finding) for finding in findings],
    }


def _finding(file: Path, finding: "Finding") -> dict[str, Any]:
    rule = RULES[finding.rule]
    return {
        "place": _place(file, finding),
        "line": finding.line,
        "rule": rule.name,
        "severity": rule.severity,
        "field": finding.field,
        "value": finding.value[:MOST],
        "message": finding.message,
        "fix": rule.fix,
        "safe": rule.safe,
    }


def _place(file: Path, finding: "Finding") -> str:
    return f"{file}:{finding.line}" if finding.line else str(file)


def _count(findings: Iterable["Finding"]) -> Counter[str]:
    return Counter(RULES[finding.rule].severity for finding in findings)


def _pages(docs: Path) -> list["Page"]:
    if not docs.is_dir():
        raise AskdocsError(f"--docs {docs}: is not a folder: name the folder of the wiki")
    read = list(Spec.named(str(docs)).open().read({}))
    pages = [change.page for change in read if isinstance(change, Changed)]
    # One that cannot be read is there all the same.
    return pages + [Page(change.path, "", "", ()) for change in read if isinstance(change, Broken)]
