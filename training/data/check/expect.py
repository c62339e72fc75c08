"""Validates rows with Great Expectations, and renders its Data Docs.

    PYTHON -I training/data/check/expect.py JOB.json FOUND.jsonl

Runs in the dataset environment's Python and imports nothing from this repository. JOB is an object:

    title: the name of the file
    rows: [{"line": 1, "question": ..., "answer": ..., "answerable": ..., "split": ..., "id": ...,
            "question_tokens": 7, "answer_tokens": 90, "row_tokens": 97,
            "found": {rule: value, ...}}, ...]
    rules: {name: {"severity": ..., "about": ..., "fix": ...}, ...}
    limits: {"fewest": 3, "answer": 1024, "row": 8192, "refusals": 0.1, "splits": [...]}
    report: a folder to create, or null

Column rules are expectations. Every other rule is checked elsewhere; its results go into a column
that is expected to be empty, so that the pages show every rule. FOUND gets one JSON object per line
for each row that breaks a column rule. Neither this program nor its pages use the network.
"""

import html
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

os.environ["GX_ANALYTICS_ENABLED"] = "false"

NAME = "questions-and-answers"
# Column rules: each is about a column of its own.
OF_COLUMNS = ("short", "long-answer", "long-row", "split", "id", "refusals")

# The Data Docs load styles, scripts and images from six hosts: a reader's browser would contact
# them, and in a closed network wait for them.
REMOTE = re.compile(
    # Atomic: a tag with several such attributes would otherwise backtrack to the tag's end.
    r"<script\b(?>[^<>]*?\bsrc=[\"']https?:)[^<>]*+>\s*+</script>"
    r"|<link\b(?>[^<>]*?\bhref=[\"']https?:)[^<>]*+>|<img\b(?>[^<>]*?\bsrc=[\"']https?:)[^<>]*+>"
    r"|<footer\b(?:(?!<footer\b).)*?</footer>",
    re.DOTALL | re.IGNORECASE,
)
HEADING = re.compile(r"<h5\b[^<>]*+>\s*([\w-]+)\s*</h5>")
HEAD = """<meta http-equiv="Content-Security-Policy" content="default-src 'none';
  style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self'">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: auto; padding: 1rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top;
  overflow-wrap: break-word; }
i.text-success::before { content: "\\2713  met"; color: #1a7f37; }
i.text-danger::before { content: "\\2717  broken"; color: #cf222e; }
i.text-warning::before { content: "!  warning"; color: #9a6700; }
.card:has([data-toggle=buttons]), .navbar-brand, [data-toggle=collapse], .collapse {
  display: none; }
.alert { border-top: 2px solid #ccc; margin-top: 2rem; padding-top: .5rem; font-size: 1.2rem; }
ul { columns: 3; }
</style>"""
OLD_LEAD = "Evaluates whether a batch of data matches expectations."
LEAD = (
    "Each rule: what it checks, how to fix a row that breaks it, and the first rows that do, with "
    "their lines. <code>askdocs dataset check --json</code> has them all."
)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    results = validated(job)
    about: dict[str, list[str]] = {}  # column descriptions shown in the pages
    with open(sys.argv[2], "w", encoding="utf-8") as output:
        for result in results:
            if result.exception_info.get("raised_exception"):
                raise RuntimeError(result.exception_info["exception_message"])
            meta, column = (
                result.expectation_config.meta,
                result.expectation_config.kwargs["column"],
            )
            if meta:
                rule = job["rules"][meta["rule"]]
                about.setdefault(column, []).append(f"{rule['about']} {rule['fix']}")
            if result.success or not meta or not meta["field"]:
                continue
            for row in result.result.get("unexpected_index_list") or [{"line": 0}]:
                thing = {"line": row["line"], **meta, "value": row.get(column)}
                output.write(json.dumps(thing, default=lambda number: number.item()) + "\n")
    if job["report"]:
        finish(Path(job["report"]), job["title"], about)


def finish(report: Path, title: str, about: dict[str, list[str]]) -> None:
    """Make the pages self-contained, describe each column, and write an index page."""

    def explained(heading: re.Match[str]) -> str:
        messages = dict.fromkeys(about.get(heading[1], []))
        return heading[0] + "".join(f"<p>{html.escape(text)}</p>" for text in messages)

    for page in report.rglob("*.html"):
        text = REMOTE.sub("", page.read_text(encoding="utf-8"))
        text = HEADING.sub(explained, text)
        text = text.replace("<head>", "<head>" + HEAD, 1)
        text = text.replace("Expectation Validation Result", f"Check of {html.escape(title)}")
        page.write_text(text.replace(OLD_LEAD, LEAD), encoding="utf-8")
    (page,) = report.glob("validations/**/*.html")
    address = quote(page.relative_to(report).as_posix())
    link = f'<a href="{address}">Findings in {html.escape(title)}</a>'
    first = f'<!DOCTYPE html><meta charset="utf-8"><title>askdocs dataset check</title>{link}\n'
    (report / "index.html").write_text(first, encoding="utf-8")


def validated(job: dict[str, Any]) -> list[Any]:
    """The result of each expectation; writes the Data Docs where the job says so."""
    print(json.dumps({"step": "Great Expectations", "done": 0, "total": None}), flush=True)
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    actions = []
    if job["report"]:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": job["report"]}
        context.add_data_docs_site(
            "report",
            {
                "class_name": "SiteBuilder",
                "store_backend": store,
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            },
        )
        actions.append(gx.checkpoint.UpdateDataDocsAction(name="report", site_names=["report"]))
    rows = context.data_sources.add_pandas("dataset").add_dataframe_asset(job["title"])
    batch = rows.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=NAME, expectations=expectations(job)))
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name="check", data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name="check",
            validation_definitions=[validation],
            actions=actions,
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": ["line"],
                "return_unexpected_index_query": False,
            },
        )
    )
    name = gx.RunIdentifier(run_name=job["title"])
    run = checkpoint.run(batch_parameters={"dataframe": table(job)}, run_id=name)
    return [outcome for result in run.run_results.values() for outcome in result.results]


def expectations(job: dict[str, Any]) -> list[Any]:
    import great_expectations.expectations as gxe

    limits, rules = job["limits"], job["rules"]

    def of(name: str, field: str = "") -> dict[str, Any]:
        rule = rules[name]
        severity = "critical" if rule["severity"] == "error" else "warning"
        return {"severity": severity, "meta": {"rule": name, "field": field}}

    answerable = {"row_condition": "answerable == True", "condition_parser": "pandas"}
    expected: list[Any] = [
        *(gxe.ExpectColumnToExist(column=name) for name in ("question", "answer", "answerable")),
        gxe.ExpectColumnValuesToNotBeNull(column="question", **of("field", "question")),
        gxe.ExpectColumnValuesToNotBeNull(column="answer", **answerable, **of("field", "answer")),
    ]
    for field in ("question", "answer"):
        tokens = f"{field}_tokens"
        expected += [
            gxe.ExpectColumnValuesToBeOfType(column=field, type_="str", **of("field", field)),
            gxe.ExpectColumnValuesToBeBetween(
                column=tokens, min_value=limits["fewest"], **of("short", field)
            ),
        ]
    expected += [
        gxe.ExpectColumnValuesToBeBetween(
            column="answer_tokens", max_value=limits["answer"], **of("long-answer", "answer")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="row_tokens", max_value=limits["row"], **of("long-row", "context")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="split", value_set=limits["splits"], **of("split", "split")
        ),
        gxe.ExpectColumnValuesToBeUnique(column="id", **of("id", "id")),
        gxe.ExpectColumnMeanToBeBetween(
            column="refusal", min_value=limits["refusals"], **of("refusals", "answerable")
        ),
    ]
    others = [name for name in rules if name not in OF_COLUMNS]
    return expected + [gxe.ExpectColumnValuesToBeNull(column=name, **of(name)) for name in others]


def table(job: dict[str, Any]) -> Any:
    import pandas as pd

    rows = job["rows"]

    def column(values: list[Any]) -> Any:
        return pd.Series([_safe(value) for value in values], dtype=object)

    data: dict[str, Any] = {"line": [row["line"] for row in rows]}
    for name in ("question", "answer", "answerable", "split", "id"):
        data[name] = column([row.get(name) for row in rows])
    for name in ("question_tokens", "answer_tokens", "row_tokens", "refusal"):
        data[name] = pd.Series([row.get(name) for row in rows], dtype=float)
    for name in job["rules"].keys() - {*OF_COLUMNS}:
        data[name] = column([row["found"].get(name) for row in rows])
    return pd.DataFrame(data)


def _safe(value: Any) -> Any:
    """The value in a form safe for the pages, which do not escape what they quote."""
    if isinstance(value, list | dict):
        return (_safe(json.dumps(value)),)  # a tuple is not text, and has a length
    return html.escape(value).replace("$", "&#36;") if isinstance(value, str) else value


if __name__ == "__main__":
    main()
