"""Pages and questions in several languages meet in every form of a word."""

import random
import string
from collections.abc import Callable

import pytest

from gateway.answering.evidence import Evidence
from gateway.answering.extract import marks
from gateway.answering.grounding.confidence import is_about
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.ground import Grounding
from gateway.answering.grounding.support import Support
from gateway.upstream.engine import estimates
from tests.gateway.conftest import page
from wiki.index.index import LANGUAGES as LANGUAGES_READ
from wiki.index.index import Index, writing
from wiki.pages.asking import LANGUAGES, asked_words, language
from wiki.pages.words import stem, stems, words
from wiki.search.search import Search

Make = Callable[..., Index]

# By language: a page, a question with other forms of its words, and other pages of the same wiki.
PAGES = {
    "German": (
        "# Drucker\n\nDie Drucker stehen im Flur und werden über die Einstellungen verwaltet.",
        "Wie verwaltest du einen Druckers Einstellung?",
        "# Urlaub\n\nDer Urlaub wird im Kalender eingetragen, und die Leitung stimmt ihm zu.",
    ),
    "French": (
        "# Imprimantes\n\nLes imprimantes sont dans le couloir, et vous les configurez ici.",
        "Comment faire pour configurer une imprimante ?",
        "# Congés\n\nLes congés sont dans le calendrier, et la direction les accepte.",
    ),
    "Spanish": (
        "# Impresoras\n\nLas impresoras están en el pasillo y se configuran en los ajustes.",
        "¿Cómo puedo configurar la impresora?",
        "# Vacaciones\n\nLas vacaciones se anotan en el calendario y las aprueba la dirección.",
    ),
    "Italian": (
        "# Stampanti\n\nLe stampanti sono nel corridoio e si configurano nelle impostazioni.",
        "Come posso configurare la stampante?",
        "# Ferie\n\nLe ferie sono nel calendario e la direzione le approva.",
    ),
    "Portuguese": (
        "# Impressoras\n\nAs impressoras estão no corredor. As configurações são feitas aqui.",
        "Como faço a configuração da impressora?",
        "# Férias\n\nAs férias são anotadas no calendário, e a direção deve dizer que sim.",
    ),
    "Dutch": (
        "# Printers\n\nDe printers staan in de gang en je kunt ze hier met een knop instellen.",
        "Hoe kan ik een printer met de knoppen instellen?",
        "# Verlof\n\nHet verlof staat in de kalender en wordt door de leiding goedgekeurd.",
    ),
    "Polish": (
        "# Drukarki\n\nDrukarki są na korytarzu, a serwery drukarek można znaleźć w sieci.",
        "Gdzie jest serwer drukarki?",
        "# Urlop\n\nUrlop jest w kalendarzu, a kierownik musi go zatwierdzić przed wyjazdem.",
    ),
    "Swedish": (
        "# Skrivare\n\nSkrivarna finns i korridoren och du kan ändra inställningarna här.",
        "Var finns inställningen för en skrivare?",
        "# Semester\n\nSemestern står i kalendern och ledningen ska säga ja till den.",
    ),
    "Danish": (
        "# Printere\n\nPrinterne er på gangen, og du kan ændre indstillingerne her.",
        "Hvor er indstillingen til printeren?",
        "# Ferie\n\nFerien er i kalenderen, og ledelsen siger ja, hvis der også er nogen af os.",
    ),
    "Norwegian": (
        "# Skrivere\n\nSkriverne er på gangen, og du kan endre innstillingene her etter å ha bedt.",
        "Hvor er innstillingen noen har endret?",
        "# Ferie\n\nFerien er i kalenderen, og ledelsen må si noe etter at du har bedt om den.",
    ),
    "Finnish": (
        "# Tulostimet\n\nTulostimet ovat käytävällä, ja niiden asetuksia voi muuttaa täällä.",
        "Missä on tulostimen asetus?",
        "# Loma\n\nLoma on kalenterissa, ja se hyväksytään, jos johtaja on paikalla.",
    ),
    "Hungarian": (
        "# Nyomtatók\n\nA nyomtatók a folyosón vannak, és a beállításokat itt lehet megadni.",
        "Hol van a nyomtató beállítása és mi az?",
        "# Szabadság\n\nA szabadság a naptárban van, és azt csak a vezető hagyja jóvá.",
    ),
    "Romanian": (
        "# Imprimante\n\nImprimantele sunt pe hol și se configurează din setările lor.",
        "Unde este setarea unei imprimante?",
        "# Concediu\n\nConcediul este în calendar și se aprobă de către conducere.",
    ),
    "Czech": (
        "# Tiskárny\n\nTiskárny jsou na chodbě a jejich nastavení je možné změnit na serverech.",
        "Kde je server pro tiskárnu?",
        "# Dovolená\n\nDovolená je v kalendáři a vedoucí ji musí schválit, než začne.",
    ),
    "Turkish": (
        "# Yedekler\n\nYedekler her gece sunucularda saklanır ve bir ay için orada kalır.",
        "Bu yedek hangi sunucuda ve nerede?",
        "# İzin\n\nİzin takvimde yazılır ve bir yönetici bunu onaylar.",
    ),
    "Russian": (
        "# Принтеры\n\nПринтеры стоят в коридоре, и их можно настроить здесь на новый сервер.",
        "Где настройка нового принтера и что это?",
        "# Отпуск\n\nОтпуск есть в календаре, и его надо утвердить у начальника.",
    ),
    "Greek": (
        "# Εκτυπωτές\n\nΟι εκτυπωτές είναι στον διάδρομο και μπορείτε να τους ρυθμίσετε εδώ.",
        "Πού είναι ο εκτυπωτής και πώς τον αλλάζω;",
        "# Άδειες\n\nΟι άδειες είναι στο ημερολόγιο και τις εγκρίνει η διεύθυνση.",
    ),
}


def paths(index: Index, question: str) -> list[str]:
    return [hit.page.path for hit in Search(index, None).find(question)]


def test_every_language_has_a_page_here() -> None:
    assert {"", *PAGES} == set(LANGUAGES)


@pytest.mark.parametrize("name", PAGES)
def test_other_forms_of_a_word_find_the_page(name: str, indexed: Make) -> None:
    text, question, other = PAGES[name]
    assert [language(each) for each in (text, question, other)] == [name] * 3
    index = indexed(right=text, other=other)
    assert index.languages() == (name,)
    (first, *_) = Search(index, None).find(question)
    assert first.page.path == "right.md"
    asked = asked_words(question)
    meet = [word for word in asked if stem(word, name) in index.vocabulary()]
    before = [word for word in asked if stem(word) in map(stem, words(text))]
    assert len(meet) > len(before), "Porter's stems are for English"


@pytest.mark.parametrize("name", ["German", "French", "Russian", "Finnish"])
def test_each_language_of_a_mixed_wiki_is_searched_in_its_own_forms(
    name: str, indexed: Make
) -> None:
    mixed = {lang.lower(): text for lang, (text, _, _) in PAGES.items()}
    index = indexed(
        **{key: mixed[key] for key in ("german", "french", "russian", "finnish")},
        printers="# Printers\n\nThe printers stand in the corridor and are managed here.",
    )
    assert set(index.languages()) == {"", "German", "French", "Russian", "Finnish"}
    assert paths(index, PAGES[name][1])[0] == f"{name.lower()}.md"
    assert paths(index, "Where is a managed printer?")[0] == "printers.md"


def test_a_question_of_a_few_words_is_read_in_every_language_of_the_wiki(indexed: Make) -> None:
    index = indexed(
        a="# Calendars\n\nThe calendars are shared with all the teams that you are in.",
        b=PAGES["German"][0],
        c=PAGES["Finnish"][0],
    )
    assert paths(index, "Einstellung")[0] == "b.md"  # no stop word says that it is German
    assert paths(index, "asetus tulostimessa")[0] == "c.md"
    assert paths(index, "calendar sharing")[0] == "a.md"


def test_english_stems_are_porters_as_before(indexed: Make) -> None:
    index = indexed(a="# Calendars\n\nOne for each team.", b="# B\n\nOther things.")
    assert index.languages() == ("",)
    assert set(index.vocabulary()) == {"calendar", "team", "thing"} | set(stems("One each Other"))
    (spoken,) = Search(index, None).sought("Wie teile ich einen Kalender mit dem Team?").spoken
    assert spoken.language == ""


def test_accents_may_be_left_out(indexed: Make) -> None:
    index = indexed(
        a="# Configurações\n\nAs configurações da aplicação são feitas pelo administrador.",
        b="# Férias\n\nAs férias são anotadas no calendário e a direção as aprova.",
    )
    for question in ("Como faço a configuração?", "configuracao", "configuracoes", "configurações"):
        assert paths(index, question)[0] == "a.md", question


def test_a_misspelt_word_is_corrected_in_its_own_alphabet(indexed: Make) -> None:
    index = indexed(a=PAGES["Russian"][0], b=PAGES["Russian"][2])
    assert paths(index, "Где наш приннтер, и что он печатает?")[0] == "a.md"
    assert paths(index, "календарр")[0] == "b.md"


def test_a_word_of_one_language_is_not_a_misspelt_one_of_another(indexed: Make) -> None:
    index = indexed(
        date="# Dates\n\nThe dates of the meetings are in the calendar that you all have.",
        datei="# Dateien\n\nDie Dateien liegen auf dem Server, und sie werden nachts gesichert.",
    )
    sought = Search(index, None).sought("Dateien")
    assert {spoken.language: set(spoken.words) for spoken in sought.spoken} == {
        "": {"dateien"},
        "German": {"datei"},
    }


def test_chinese_pages_beside_german_ones_keep_their_pairs_of_signs(indexed: Make) -> None:
    index = indexed(a="# 打印机\n\n打印机在走廊里，请选择设置。", b=PAGES["German"][0])
    assert paths(index, "怎么设置打印机")[0] == "a.md"
    (pair, *_) = words("打印机")
    assert all(stem(pair, name) == pair for name in LANGUAGES)
    assert stem("バス", "German") == "バス"


@pytest.mark.parametrize(
    ("question", "answered"),
    [("打印机在哪里设置", True), ("怎么烤面包和蛋糕", False)],
)
async def test_a_chinese_wiki_with_a_german_page_still_refuses(
    question: str, answered: bool, indexed: Make
) -> None:
    index = indexed(
        a="# 打印机设置\n\n打印机在走廊里，请在设置里选择打印机。",
        b="# 假期\n\n假期写在日历里，由主管批准。",
        c=PAGES["German"][0],
    )
    looked = await Grounding(index, estimates).look_up(question)
    assert looked.is_answered is answered
    assert looked.signals.words <= len(question)


@pytest.mark.parametrize("name", ["German", "Spanish", "Finnish", "Russian"])
async def test_a_wiki_in_another_language_refuses_by_the_share_of_its_words(
    name: str, indexed: Make
) -> None:
    text, question, other = PAGES[name]
    index = indexed(right=text, other=other)
    looked = await Grounding(index, estimates).look_up(question)
    assert looked.signals.share > 0.4
    assert is_about(looked.signals) is looked.is_answered
    nothing = await Grounding(index, estimates).look_up("qwertz asdfgh yxcvbn")
    assert (nothing.signals.share, nothing.is_answered) == (0, False)


def test_a_page_that_goes_takes_its_language_along(indexed: Make) -> None:
    index = indexed(a=PAGES["German"][0], b="# Printers\n\nThey are in the corridor with you.")
    assert set(index.languages()) == {"", "German"}
    with writing(index.file) as writer:
        writer.remove("", "a.md")
    assert index.languages() == ("",)
    with writing(index.file) as writer:
        writer.put("", page("b.md", PAGES["French"][0]), "")
    assert index.languages() == ("French",)
    assert set(index.vocabulary()) >= {stem("imprimantes", "French")}


def test_a_long_question_is_read_in_one_language_only(indexed: Make) -> None:
    index = indexed(
        **{name.lower(): text for name, (text, _, _) in PAGES.items()},
        p="# Printers\n\nThe printers are in the corridor for all of you.",
    )
    search = Search(index, None)
    assert len(search.sought("printer").spoken) == LANGUAGES_READ
    letters = random.Random(1)
    log = " ".join("".join(letters.choices(string.ascii_lowercase, k=9)) for _ in range(100_000))
    stem.cache_clear()
    assert [spoken.language for spoken in search.sought(log).spoken] == [""]
    assert stem.cache_info().currsize < 10_000, "both ends of a log are read"


def test_the_check_compares_the_stems_of_the_pages_language(indexed: Make) -> None:
    read = page("a.md", PAGES["German"][0])
    index = indexed(a=PAGES["German"][0], b=PAGES["German"][2])
    excerpts = [Excerpt(read, read.sections, 1)]
    support = Support(excerpts, "Wo stehen sie?", index.idf)
    assert support.of("Einen Drucker verwaltest du mit einer Einstellung.") > 0.9
    evidence = Evidence(excerpts, index.idf)
    assert evidence.language == "German"
    assert evidence.stems_of("Einstellung") <= evidence.stems


def test_words_are_marked_in_the_forms_of_the_pages_language() -> None:
    text = "Die Einstellungen der Drucker."
    found = marks(text, [stem("einstellung", "German")], "German")
    assert [text[start:end] for start, end in found] == ["Einstellungen"]
