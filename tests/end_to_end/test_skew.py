"""Gateway and widget of two schemas that follow each other, either way round, on one database.

The code before the last migration is taken out of the repository's history.
"""

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.storage import database
from tests import starting
from tests.chaos.load import ASK_ID, BOX_TOKEN

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("migrations")]

REPO = starting.REPO
# The last commit before the last migration.
BEFORE = "ff3e9686076f94be8f19a821422e482ee16bc1ac"
SITE = "https://wiki.example.com/"
PAGE = """# Coffee machine

The coffee machine stands in the kitchen on floor 3.

## Descaling

To descale the coffee machine, pour 40 ml of descaler into its tank.
"""
QUESTION = "How do I descale the coffee machine?"
# What each code reads of a question that the other one's box stored.
READ = """
import sys
from gateway.storage import database
from widget.service import store
assert database.__file__.startswith(sys.argv[1] + "/"), database.__file__
engine = database.open(sys.argv[2])
database.check(engine)
for id in sys.argv[3:]:
    kept = store.Store(engine).get(id)
    answered = kept.answered
    print(answered.state, kept.vote.vote, kept.asked.question, answered.answer.replace("\\n", " "))
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code before the last migration."""
    archive = ["git", "archive", BEFORE, "gateway", "widget"]
    done = subprocess.run(archive, cwd=REPO, capture_output=True)
    if done.returncode:  # in CI, too: it may have cloned the newest commit alone
        pytest.skip(f"the history lacks {BEFORE[:7]}: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
        packed.extractall(folder, filter="data")
    schema = f'HEAD = "{int(database.HEAD) - 1:04}"'
    code = (folder / "gateway" / "storage" / "database.py").read_text()
    assert schema in code, f"BEFORE is to have {schema}"
    return folder


@dataclass
class Setting:
    folder: Path
    engine: starting.Engine

    @property
    def database(self) -> str:
        return f"sqlite:///{self.folder / 'askdocs.db'}"

    def revision(self) -> str | None:
        engine = database.open(self.database)
        with database.reading(engine) as connection:
            found = database.revision(connection)
        engine.dispose()
        return found

    def ask(self, gateway: Path, widget: Path) -> str:
        """Ask in the box and vote, with a gateway and a widget of this code."""
        with (
            starting.gateway(
                self.folder,
                code=gateway,
                gateway_engine_url=self.engine.url,
                gateway_engine_model="base",
                gateway_docs=str(self.folder / "wiki"),
                gateway_site_url=SITE,
                gateway_answers="quote",
                database_url=self.database,
            ) as served,
            starting.widget(
                self.folder, served.url, code=widget, database_url=self.database
            ) as root,
            httpx.Client(base_url=root, headers={"hx-request": "true"}, timeout=60) as client,
        ):
            token = BOX_TOKEN.search(client.get("/box").text)
            assert token
            sent = {"question": QUESTION, "token": token[1]}
            asked = ASK_ID.search(client.post("/asks", data=sent).text)
            assert asked
            events = client.get(f"/asks/{asked[1]}/events").text
            assert "event: done" in events, events
            assert "40 ml of descaler" in events
            assert re.search(rf'href="{SITE}[^"]*#descaling', events), events
            vote = {"ask": asked[1], "vote": "up", "token": token[1]}
            assert client.post("/votes", data=vote).status_code == 200
        return asked[1]

    def read(self, code: Path, *asked: str) -> list[str]:
        """How this code shows the questions."""
        done = subprocess.run(
            [sys.executable, "-c", READ, code, self.database, *asked],
            env={"PYTHONPATH": str(code)},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    (tmp_path / "wiki").mkdir()
    (tmp_path / "wiki" / "coffee.md").write_text(PAGE)
    with starting.engine(tmp_path) as engine:
        yield Setting(tmp_path, engine)


def test_gateway_and_widget_may_be_one_schema_apart(setting: Setting, before: Path) -> None:
    # The gateway before makes the database; the widget brings it up to date while that one runs.
    asked = [setting.ask(gateway=before, widget=REPO)]
    assert setting.revision() == database.HEAD
    # On the newer schema the code before starts, too.
    asked.append(setting.ask(gateway=REPO, widget=before))
    lines = setting.read(REPO, *asked)
    assert lines == setting.read(before, *asked)
    assert len(lines) == 2
    for line in lines:
        assert re.fullmatch(rf"answered up {re.escape(QUESTION)} .*40 ml of descaler.*", line)
