"""A report: true to its run, whole in itself, and safe to open whatever models and wikis wrote."""

import itertools
import json
import math
import random
import re
from collections.abc import Callable
from datetime import date
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.errors import AskdocsError
from eval.report import claim, cost, tables
from eval.report import report as reports
from eval.report.build import WORST, report
from eval.report.cost import Cost, CostEstimate
from eval.report.html import html
from eval.report.markdown import markdown
from eval.report.plots import plots
from eval.report.report import Report
from eval.running.answer import Answer
from eval.scoring.scored import score
from eval.statistics import bootstrap
from eval.systems.rag.settings import RagSettings
from gateway.answering.grounding.prompt import REFUSAL, fingerprint
from tests.eval import runs
from tests.eval.runs import Behaviour
from tests.wikis.host import browsing

EVIL = "</p></script><script>alert(1)</script>| **x** [y](javascript:1) <img src=//evil.example>"
SYSTEMS = {
    "base-closed": Behaviour(accuracy=0.1),
    "base-pages": Behaviour(accuracy=0.4),
    "tuned-pages": Behaviour(accuracy=0.7),
    "base-rag": Behaviour(accuracy=0.45, seconds=2),
    "first-sentence": Behaviour(first_sentence=True),
}
PAGES = {"base-pages": Behaviour()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of a run whose questions, written answers, answers and page names want to break out."""
    folder = tmp_path_factory.mktemp("run") / "evil <b>& run"
    asked = [
        one.model_copy(
            update={
                # With words of its own: of those that ask almost the same, one counts.
                "text": " ".join([one.text, *(f"{one.id}{n}" for n in "abcdef"), EVIL]),
                "answer": one.answer and one.answer + EVIL,
                "pages": one.pages and (one.pages[0] + EVIL,),
            }
        )
        for one in runs.questions(60, 20, 5)
    ]

    def change(one: Answer) -> Answer:
        cited = tuple(f"{page}{EVIL}" for page in one.cited_pages)
        return one.model_copy(update={"text": one.text + EVIL, "cited_pages": cited})

    run = runs.write(folder, SYSTEMS, asked, manifest="e" * 64, change=change)
    return measured(run)


def measured(run: Path, *assume: str) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "SAMPLES", 300)
        patch.setattr(bootstrap, "SAMPLES_OF_PERCENTILES", 150)
        return report(score(run), cost.read(assume=assume))


def taking(tokens: Callable[[], tuple[int, int]]) -> Callable[[Answer], Answer]:
    """Rewrites an answer: so many tokens were read and written for it."""

    def change(one: Answer) -> Answer:
        reads, writes = tokens()
        return one.model_copy(update={"prompt_tokens": reads, "completion_tokens": writes})

    return change


def ends(found: CostEstimate | None) -> tuple[Cost, CostEstimate, Cost]:
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return found.low, found, found.high


@pytest.fixture(scope="module")
def page(made: Report) -> str:
    return html(made)


class _Read(HTMLParser):
    """What stands in a page: tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else_and_runs_nothing(page: str) -> None:
    tags = _Read(page).tags
    names = {name for name, _ in tags}
    assert not names & {"script", "img", "iframe", "link", "object", "form", "b"}
    for _, attributes in tags:
        for key, value in attributes.items():
            assert not key.startswith("on"), key
            if key in ("href", "src", "xlink:href"):
                assert value is not None
                assert value.startswith("#")
    assert not re.search(r"url\((?!#)|@import", page)
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_can_be_read_without_seeing_it(page: str) -> None:
    tags = _Read(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name, attributes in tags:
        if label := attributes.get("aria-labelledby"):
            assert label in ids
        if name == "th":
            assert attributes["scope"] in ("col", "row")
        if name == "svg":
            assert attributes["role"] == "img"
        if name == "a":
            assert (attributes["href"] or "").removeprefix("#") in ids
    count = [name for name, _ in tags].count
    assert count("table") == count("caption") >= 6
    assert count("svg") == count("figcaption") == 6
    assert ("html", {"lang": "en"}) in tags


def test_the_plots_take_their_colours_from_the_page(page: str) -> None:
    drawn = re.findall(r"<svg.*?</svg>", page, re.S)
    labels = [re.findall(r'aria-labelledby="(\w+)-title"', svg) for svg in drawn]
    front = [["differences"], ["outcomes"]]
    assert labels == [*front, ["accuracy"], ["refusals"], ["calibration"], ["cost"]]
    assert "FillBetween" in drawn[-1]
    for svg in drawn:
        used = set(re.findall(r"var\(--(\w+)\)", svg))
        assert "ink" in used
        assert all(f"--{name}: #" in page for name in used)
        assert not re.search(r"#0\d0\d0\d|<metadata|font-family|http", svg)
    assert "tuned-pages</text>" in drawn[2]
    bands = re.findall(r"fill: var\(--(\w+)\); fill-opacity", drawn[-1])
    assert bands == ["base", "base", "tuned"], "of costs: RAG on both, the subject on its own"


def test_markdown_quotes_nobody_and_holds_its_tables(made: Report) -> None:
    text = markdown(made)
    assert "alert" not in text
    assert "# Report of evil \\<b\\>&amp; run" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1
    assert "59 %" in text
    assert "within noise" in text


def test_the_claim_is_reported_in_words(made: Report) -> None:
    told = tables.in_words(made)
    assert told.startswith("tuned-pages beside base-rag: accuracy (word comparison): +")
    assert ", which is better" in told
    noise = [
        one.model_copy(update={"says": "within noise", "holm": 0.4}) for one in made.comparisons
    ]
    told = tables.in_words(made.model_copy(update={"comparisons": noise}))
    assert told.count("which is not significant (p = 0.40)") == 2
    assert tables.in_words(made.model_copy(update={"comparisons": []})) == ""


def test_a_report_comes_back_from_its_file(made: Report, tmp_path: Path) -> None:
    file = tmp_path / reports.FILE
    with pytest.raises(AskdocsError, match="eval report"):
        reports.read(tmp_path)
    file.write_text(made.model_dump_json())
    assert reports.read(tmp_path) == made
    file.write_text('{"run": 3}')
    with pytest.raises(AskdocsError, match=r"report\.json: .*create it again"):
        reports.read(tmp_path)


def test_everything_is_compared_with_the_product(made: Report) -> None:
    assert made.subject == "tuned-pages"
    assert {one.first for one in made.comparisons} == {"tuned-pages"}
    best = made.comparison("base-closed", "accuracy")
    assert best is not None
    assert best.says == "better"
    assert all(one.p <= one.holm <= 1 for one in made.comparisons)
    slow = made.comparison("base-rag", "total_p50")
    assert slow is not None
    assert slow.says == "better", "less is better"
    assert slow.value < 0
    assert made.questions == {"answerable": 60, "unanswerable": 20, "contaminated": 5}
    for one in made.systems:
        for number in one.measures.values():
            assert number.low - 1e-9 <= number.value <= number.high + 1e-9


def test_a_percentile_of_few_answers_has_no_upper_end(made: Report, page: str) -> None:
    rag = made.system("base-rag")
    assert rag is not None
    slowest = rag.measures["total_p99"]
    assert slowest.low < slowest.value < slowest.high == math.inf
    cell = f"{1000 * slowest.value:,.0f} ms ({1000 * slowest.low:,.0f} or more)"
    assert cell in claim.rows(made)[1].measured
    assert f"| {cell} |" in markdown(made)
    assert f"<td>{cell}</td>" in page
    text = made.model_dump_json()
    assert f'"high":null,"n":{slowest.n}' in text
    assert Report.model_validate_json(text) == made


def test_a_mean_of_few_questions_has_no_interval(tmp_path: Path) -> None:
    does = Behaviour(accuracy=1, false_refusals=0)
    asked = runs.questions(8, 4)
    found = measured(runs.write(tmp_path, {"base-rag": does, "base-pages": does}, asked))
    text = markdown(found)
    assert "| token F1 | 0.947 (no interval) | 0.947 (no interval) |" in text
    assert "| token F1 | base-pages minus base-rag | +0.000 (no interval) |" in text
    assert "| base-pages | $734.38 (no interval) |" in text
    assert "FillBetween" not in plots(found)[-1].svg
    assert '"low":null,"high":null,"n":8' in found.model_dump_json()
    assert Report.model_validate_json(found.model_dump_json()) == found


def test_a_bar_without_an_end_reaches_the_edge_of_its_plot(tmp_path: Path) -> None:
    run = runs.write(tmp_path, PAGES, runs.questions(3, 2))
    svg = plots(measured(run))[0].svg
    lines = re.findall(r'd="M ([\d.]+) ([\d.]+) \nL ([\d.]+) \2 \n"', svg)
    # One of them is the axis.
    assert len(lines) == 2
    assert len({(left, right) for left, _, right in lines}) == 1


def test_what_is_detectable_is_corrected_as_the_verdict_is(made: Report) -> None:
    assert len({one.second for one in made.comparisons}) == 4
    for one in made.comparisons:
        if one.measure == "accuracy":
            # Of a normal distribution 2.498 leaves out 0.05 / 4 on both sides, 0.842 a fifth.
            standard_errors = (2.498 + 0.842) / (1.960 + 0.842)
            assert one.detectable_holm is not None
            assert one.detectable_holm == pytest.approx(standard_errors * one.detectable, rel=1e-3)
            cells = tables.compared([one]).body[0]
            assert cells[-1] == f"{100 * one.detectable_holm:.1f} points"


def test_the_worst_answers_are_wrong_ones_beside_the_others(made: Report) -> None:
    assert 0 < len(made.worst) <= WORST
    for case in made.worst:
        names = [answer.system for answer in case.answers]
        assert names == ["tuned-pages", "base-pages", "base-rag"]
        assert not case.answers[0].right


def test_what_has_no_model_costs_nothing_and_a_tuned_one_is_not_hosted(made: Report) -> None:
    costs = {one.name: (one.own, one.hosted) for one in made.systems}
    assert costs["first-sentence"] == (None, None)
    own, hosted = costs["tuned-pages"]
    assert own is not None
    assert hosted is None
    rag, pages = costs["base-rag"][1], costs["base-pages"][1]
    assert rag is not None
    assert pages is not None
    assert rag.month > pages.month


def test_the_interval_of_a_cost_holds_the_true_one(tmp_path: Path) -> None:
    """Of questions that read 1,000 tokens and write 100, give or take a half."""
    asked, times, luck = runs.questions(60, 20), 10, random.Random(7)
    change = taking(lambda: (luck.randint(500, 1500), luck.randint(50, 150)))
    made = []
    for _ in range(times):
        run = runs.write(tmp_path, PAGES, asked, change=change)
        made.append(measured(run, "questions_a_day=1e6"))
    prices = made[0].prices
    own = cost.own(cost.gpu_seconds(1000, 100, prices), prices)
    hosted = cost.hosted(cost.token_dollars(1000, 100, prices), prices)
    found = [[ends(one.own), ends(one.hosted)] for (one,) in (each.systems for each in made)]
    for side, true in enumerate((own, hosted)):
        intervals = [each[side] for each in found]
        assert sum(low.month <= true.month <= high.month for low, _, high in intervals) >= 8
        assert all(low.month < high.month for low, _, high in intervals)
    # The standard error of a mean of evenly spread values, by hand.
    shares = (cost.token_dollars(1000, 0, prices), cost.token_dollars(0, 100, prices))
    error = cost.hosted(math.hypot(*shares) / math.sqrt(12 * len(asked)), prices)
    width = sum(high.thousand - low.thousand for _, (low, _, high) in found) / times
    assert width == pytest.approx(2 * 1.96 * error.thousand, rel=0.1)


def test_what_a_question_reads_and_writes_is_drawn_together(tmp_path: Path) -> None:
    """Each question writes less by as much money as it reads more."""
    tokens = ((1000 + 5 * more, 200 - more) for more in range(0, 100, 4))
    change = taking(lambda: next(tokens))
    run = runs.write(tmp_path, PAGES, runs.questions(20, 5), change=change)
    (one,) = measured(run).systems
    low, found, high = ends(one.hosted)
    assert low.month == pytest.approx(found.month)
    assert high.month == pytest.approx(found.month)
    assert one.measures["prompt_tokens"].low < one.measures["prompt_tokens"].high - 50


def test_costs_stand_in_the_tables_with_their_intervals(made: Report, page: str) -> None:
    """Which have no width where all questions are alike, nor where one GPU is enough."""
    cells = "$734.38 (734.38 to 734.38)", "$24.14 (24.14 to 24.14)", "–", "–"
    text = markdown(made)
    assert "| cost a month, own GPU | – | – | $734 (734 to 734) | $734 (734 to 734) |" in text
    assert "| cost a month, hosted | – | – | $198 (198 to 198) | – |" in text
    assert f"| tuned-pages | {' | '.join(cells)} |" in text
    for cell in cells:
        assert f"<td>{cell}</td>" in page


def test_memory_on_gpus_in_processes_and_on_disk_are_reported_apart(
    made: Report, page: str
) -> None:
    rows = {row.what: (row.published, row.measured) for row in claim.rows(made)}
    assert [one.name for one in claim.beside(made)] == ["base-rag", "tuned-pages"]
    assert rows["memory on GPUs"] == (("32 GB", "16 GB"), ["–", "15.00 GiB (one measurement)"])
    assert rows["engine's processes, RSS"] == (("–", "–"), ["1.00 GiB (one measurement)", "–"])
    assert rows["index on disk"] == (("–", "–"), ["–", "1.0 MiB (one measurement)"])
    for text in (markdown(made), page):
        assert "they have no interval. Repeat the run" in text


def test_where_an_evaluation_went_on_is_reported(made: Report) -> None:
    run = made.provenance
    later = run.provenance.model_copy(update={"commit": "d" * 40})
    went_on = made.model_copy(update={"provenance": run.model_copy(update={"resumed": (later,)})})
    rows = dict(tables.provenance(went_on))
    assert f"commit {'d' * 40}, llama.cpp <tiny> & co" in rows["went on"]
    assert "went on" not in dict(tables.provenance(made))


def test_costs_are_what_one_works_out_by_hand() -> None:
    prices = cost.read(assume=["questions_a_day=1000", "utilisation=0.5"])
    seconds = cost.gpu_seconds(2400, 490, prices)
    assert seconds == 2  # 2,000 a day
    own = cost.own(seconds, prices)
    assert own.gpus == 1
    assert own.month == pytest.approx(730 * 1.006)
    assert cost.own(seconds, cost.at(prices, 43_200)).gpus == 2
    dollars = cost.token_dollars(1000, 100, prices)
    hosted = cost.hosted(dollars, prices)
    assert hosted.thousand == pytest.approx(3.0 + 1.5)
    assert hosted.month == pytest.approx(4.5 * 365 / 12)
    for settings, thousand in (
        (RagSettings(), 2 + 0.0048),
        (RagSettings(rerank=False), 0.0048),
    ):
        rag = cost.hosted(dollars, prices, settings)
        assert rag.month - hosted.month == pytest.approx(thousand * 365 / 12)


def test_every_price_says_when_and_where_it_was_read() -> None:
    prices = cost.read()
    named = [getattr(prices, name) for name in cost.Prices.model_fields]
    single = [price for price in named if isinstance(price, cost.Price)]
    assert len(single) == len(named) - 2  # the assumptions, and a table of GPUs
    for price in [*single, *prices.gpu_hours.values()]:
        assert price.source.startswith("https://")
        assert date(2026, 1, 1) < price.read


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("questions=3", "NAME is one of questions_a_day"),
        ("utilisation=2", "--assume utilisation=2: write a number from 0.001 to 1"),
        ("utilisation=0", "--assume utilisation=0: write a number from 0.001 to 1"),
        ("questions_a_day", "--assume questions_a_day=: write a number from 0.01 to 1,000,000,000"),
        ("questions_a_day=inf", "questions_a_day=inf: write a number from 0.01 to 1,000,000,000"),
        ("questions_a_day=1e300", "=1e300: write a number from 0.01 to 1,000,000,000"),
        ("prompt_tokens_a_second=-1", "=-1: write a number from 0.1 to 1,000,000,000"),
        ("question_tokens=1e7", "question_tokens=1e7: write a number from 0 to 1,000,000"),
    ],
)
def test_a_wrong_assumption_is_named(given: str, says: str) -> None:
    with pytest.raises(AskdocsError) as error:
        cost.read(assume=["questions_a_day=1", given])
    assert says in str(error.value)


def test_costs_are_finite_wherever_assumptions_and_prices_may_be() -> None:
    bounds = cost.Assumptions.model_json_schema()["properties"]
    dearest = cost.Price.model_json_schema()["properties"]["usd"]["maximum"]
    price = cost.read().gpu_hour.model_copy(update={"usd": dearest})
    prices = cost.read().model_copy(update=dict.fromkeys(cost.Prices.model_fields, price))
    for ends in itertools.product(("minimum", "maximum"), repeat=len(bounds)):
        values = {name: bounds[name][end] for name, end in zip(bounds, ends, strict=True)}
        assumed = prices.model_copy(update={"assumptions": cost.Assumptions(**values)})
        own = cost.own(cost.gpu_seconds(1e6, 1e5, assumed), assumed)
        dollars = cost.token_dollars(1e6, 1e5, assumed)
        hosted = cost.hosted(dollars, assumed, RagSettings())
        for made in (own, hosted):
            assert math.isfinite(made.month)
            assert math.isfinite(made.thousand)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[gpu_hour]", "[gpu_hours.other]", "gpu_hour: Field required"),
        ("usd = 1.006\n", "", "gpu_hour.usd: Field required"),
        ("usd = 1.006", "usd = inf", "gpu_hour.usd = inf: write a number from 0 to 1,000,000"),
        ("usd = 1.006", "usd = -1", "gpu_hour.usd = -1: write a number from 0 to 1,000,000"),
    ],
)
def test_a_wrong_price_is_named_alone(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(cost.FILE.read_text().replace(old, new, 1))
    with pytest.raises(AskdocsError) as error:
        cost.read(file)
    assert str(error.value) == f"{file}: {says}: see prices.toml of askdocs"


def test_assumptions_that_are_no_table_are_named(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(f"assumptions = 3\n{cost.FILE.read_text().partition('[assumptions]')[0]}")
    with pytest.raises(AskdocsError, match="assumptions = 3: Input should be a valid dictionary"):
        cost.read(file, ["utilisation=0.5"])


def test_the_summary_says_whether_leaks_were_looked_for(made: Report) -> None:
    assert "5 more are contaminated" in tables.summary(made)
    one, *others = made.systems
    short = [one.model_copy(update={"answers": 7}), *others]
    told = tables.summary(made.model_copy(update={"systems": short}))
    assert told.endswith("Not finished: base-closed answered 7 of 80.")
    none = made.model_copy(update={"questions": {**made.questions, "contaminated": 0}})
    assert "contaminated" not in tables.summary(none)
    asked = made.provenance.questions.model_copy(update={"trained_sha256": None})
    run = made.provenance.model_copy(update={"questions": asked})
    assert "contaminated was not checked" in tables.summary(
        none.model_copy(update={"provenance": run})
    )


def test_the_first_page_says_where_the_questions_come_from(made: Report) -> None:
    source = "TechQA-RAG-Eval (Apache-2.0), https://huggingface.co/datasets/nvidia/TechQA-RAG-Eval"
    untuned = "docs is base, the base model"
    place = made.provenance.provenance.model_copy(update={"sources": (source,), "untuned": untuned})
    run = made.provenance.model_copy(update={"provenance": place})
    recorded = made.systems[0].model_copy(update={"name": "recorded-bot", "answers": 7})
    update = {"provenance": run, "systems": [*made.systems, recorded]}
    told = made.model_copy(update=update)
    summary = tables.summary(told)
    assert f"Source: {source}. " in summary
    assert f"No tuned model: {untuned}, so the tuned systems are left out." in summary
    assert "recorded-bot has answers to 7 of them." in summary
    assert "Not finished" not in summary
    for shown in (html(told), markdown(told)):
        assert shown.index(source) < shown.index("Published claim")
        assert shown.index("No tuned model") < shown.index("Published claim")


def test_the_provenance_says_what_was_measured_with_what_and_where(made: Report, page: str) -> None:
    found = dict(tables.provenance(made))
    told = {
        "made": "2026-01-02 00:00 UTC",
        "commit": f"{'c' * 40}-dirty",
        "questions, SHA-256": "a" * 64,
        "wiki, SHA-256": "b" * 64,
        "training rows, SHA-256": "d" * 64,
        "manifest of docs@v1, SHA-256": "e" * 64,
        "drawn": "85 by seed 1",
        "prompt": fingerprint(),
        "model, base": "base",
        "model, tuned": "docs@v1",
        "engine": "llama.cpp <tiny> & co",
        "decoding": "temperature 0, at most 200 tokens",
        "python": "3.11",
        "lancedb": "0.3",
        "system": "Linux",
        "cores": "2",
        "memory": f"{2**34}",
    }
    assert told.items() <= found.items()
    assert re.fullmatch("[0-9a-f]{64}", found["answers, SHA-256"])
    of_markdown = markdown(made)
    for name, value in told.items():
        assert f"<dt>{name}</dt><dd>{escape(value)}</dd>" in page
        assert f"| {name} |" in of_markdown
    assert f"| commit | {'c' * 40}-dirty |" in of_markdown


def test_the_calibration_says_what_the_confidence_is_of(made: Report, page: str) -> None:
    assert "the probability that the first source is the right page" in page
    of_rag = plots(made.model_copy(update={"subject": "base-rag"}))
    assert not any("first source" in plot.says for plot in of_rag)


def test_what_is_reported_of_answers_about_one_page_is_less_sure(tmp_path: Path) -> None:
    """Agreement, calibration and costs as all else."""
    asked = runs.questions(60, 10)
    one_page = [
        question.model_copy(update={"pages": ("valve.md",)}) if question.pages else question
        for question in asked
    ]
    luck = {question.id: luck for luck, question in enumerate(asked)}

    def change(given: Answer) -> Answer:
        tokens = 800 + 10 * luck[given.question]
        return given.model_copy(update={"prompt_tokens": tokens, "confidence": 0.5})

    labels = {("tuned-pages", question.id): luck[question.id] % 3 > 0 for question in asked}
    apart, together = (
        report(
            score(runs.write(tmp_path / name, {"tuned-pages": Behaviour()}, of, change=change)),
            cost.read(),
            labels=labels,
        )
        for name, of in (("apart", asked), ("together", one_page))
    )

    def widths(made: Report) -> list[float]:
        (system,), (words,) = made.systems, made.agreements
        (bin_,) = system.calibration
        assert system.gpu_seconds is not None
        return [one.high - one.low for one in (words, bin_.right, system.gpu_seconds)]

    assert all(
        wide > 1.3 * narrow for narrow, wide in zip(*map(widths, (apart, together)), strict=True)
    )


def test_agreement_is_of_answers_that_somebody_has_looked_at(tmp_path: Path) -> None:
    """Of refusals a rule says what they are: they would make a judge agree more, or words less."""
    asked = runs.questions(8, 4)

    def change(given: Answer) -> Answer:
        number = int(given.question[1:])
        right = asked[number].answer
        refused = number >= 4
        return given.model_copy(update={"text": REFUSAL if refused else right, "error": ""})

    run = runs.write(tmp_path, {"tuned-pages": Behaviour()}, asked, change=change)
    # A person takes three of four answers for right; the judge takes two, and is silent on one.
    labels = {("tuned-pages", f"q{number}"): number < 3 or number >= 8 for number in range(12)}
    judged = {"q0": True, "q1": True, "q2": False, "q3": None}
    scored = score(run, judged=lambda question, _: judged[question.id])
    found = report(scored, cost.read(), judge="j", labels=labels)
    words, judge = found.agreements
    assert (words.rater, words.n, words.share) == ("word comparison", 3, 1.0)
    assert words.kappa is None
    assert (judge.rater, judge.n) == ("j", 3)
    assert judge.share == pytest.approx(2 / 3)
    assert judge.kappa == 0
    assert judge.low < -0.9 < 0.8 < judge.high
    assert [row[1] for row in tables.agreed(found).body] == [
        "none: all verdicts are equal",
        f"0.00 ({judge.low:.2f} to {judge.high:.2f})",
    ]
    (said, _) = json.loads(found.model_dump_json())["agreements"]
    assert (said["kappa"], said["low"], said["high"]) == (None, None, None)
    assert Report.model_validate_json(found.model_dump_json()) == found
    (words,) = report(score(run), cost.read(), labels=labels).agreements
    assert (words.n, words.share) == (4, 0.75)


@pytest.mark.parametrize(
    ("does", "how"),
    [
        (Behaviour(), {"answerable": 0, "unanswerable": 0, "contaminated": 3}),
        (Behaviour(0, 1, 1), {"answerable": 1, "unanswerable": 0}),
        (Behaviour(fails=1.1), {"answerable": 3, "unanswerable": 3}),
    ],
)
def test_a_run_that_shows_nothing_is_reported_too(
    tmp_path: Path, does: Behaviour, how: dict[str, int]
) -> None:
    asked = runs.questions(**how)
    run = runs.write(tmp_path, {"tuned-pages": does, "base-pages": does}, asked)
    found = report(score(run), cost.read())
    assert Report.model_validate_json(found.model_dump_json()) == found
    assert "tuned-pages beside the others" in html(found)
    assert markdown(found)
    assert {one.says for one in found.comparisons} <= {"within noise"}


@pytest.mark.slow
def test_the_page_fits_a_phone_and_asks_nobody(page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    with browsing() as browser:
        inks = []
        for scheme in ("light", "dark"):
            size = {"width": 390, "height": 844}
            opened = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            problems: list[str] = []
            opened.on("console", lambda message, found=problems: found.append(message.text))
            opened.on("request", lambda request, found=problems: found.append(request.url))
            opened.goto(file.as_uri())
            assert problems == [file.as_uri()]
            assert opened.evaluate("document.documentElement.scrollWidth") == 390
            label = "getComputedStyle(document.querySelector('svg text')).fill"
            inks.append(json.dumps(opened.evaluate(label)))
    assert len(set(inks)) == 2
