"""Of a question the words that carry its subject, in whatever language it is asked."""

from collections.abc import Callable

import pytest

from wiki.index.index import Index
from wiki.pages.asking import asked_stems, asked_words, language
from wiki.pages.words import content_words
from wiki.search.search import Search


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("Wie richte ich einen Drucker ein?", ["richte", "drucker"]),
        ("Où puis-je changer mon mot de passe ?", ["changer", "mot", "passe"]),
        ("¿Cómo puedo cambiar la contraseña?", ["cambiar", "contrasena"]),
        ("Come posso cambiare la mia password?", ["cambiare", "password"]),
        ("Como posso mudar a minha senha?", ["mudar", "senha"]),
        ("Hoe kan ik mijn wachtwoord wijzigen?", ["wachtwoord", "wijzigen"]),
        ("Jak mogę zmienić moje hasło?", ["zmienic", "hasło"]),
        ("Как мне изменить свой пароль?", ["изменить", "пароль"]),
    ],
)
def test_words_without_a_subject_are_dropped_in_the_questions_language(
    question: str, subject: list[str]
) -> None:
    assert asked_words(question) == subject


@pytest.mark.parametrize(
    "question",
    [
        "Why do my pods die on a Mac?",
        "How do I hide a comment from my son?",
        "pods die",
        "comment template",
        "docker run --net host",
        "face care",
        "pot sale",
        "go to next monitor",
        "several domains on one server",
        "rate in requests per second",
        "man pages in Italian",
        "Wo?",
        "",
    ],
)
def test_a_question_in_english_and_one_in_no_certain_language_keep_their_words(
    question: str,
) -> None:
    assert asked_words(question) == content_words(question)


def test_order_and_repetitions_stay() -> None:
    assert asked_stems("Wie lade ich Pakete und wo sind die Pakete?") == ["lade", "paket", "paket"]


def test_a_page_on_which_somebody_says_i_is_not_the_answer(indexed: Callable[..., Index]) -> None:
    index = indexed(
        drucken="# Drucken\n\nDer Drucker wird am Server angemeldet, der ihn im Netz anbietet.",
        dank="# Dank\n\nIch danke allen. Wie ich das ohne sie geschafft hätte? Ein Wunder.",
        netz="# Netz\n\nDas Kabel wird gesteckt, und der Rechner meldet sich am Server.",
    )
    found = Search(index, None).find("Wie lege ich einen Drucker an?")
    assert [hit.page.path for hit in found] == ["drucken.md"]


def test_of_a_pasted_log_both_ends_are_searched_for() -> None:
    log = "error at line 17 of the daemon\n" * 270_000  # 8 MiB
    found = asked_words(f"Where is the coffee machine?\n{log}\nAnd the kettle?")
    assert (found[0], found[-1]) == ("coffee", "kettle")
    assert len(found) <= 1000
    assert language(f"{log}\nWie richte ich einen Drucker ein?") == ""
    assert language("Wie richte ich einen Drucker ein? " * 200_000) == "German"


def test_a_question_of_any_size_is_cut_before_the_search_works_on_it(
    indexed: Callable[..., Index],
) -> None:
    """60,000 times the letter a took 20 GB to look for a mistake of one letter, 8 MiB of distinct
    words two minutes."""
    search = Search(indexed(coffee="# Coffee\n\nThe coffee machine is on floor 3."), None)
    letters = search.sought("a" * 60_000)
    assert not letters.words
    signs = search.sought("".join(chr(0x4E00 + n % 20_000) for n in range(60_000)))
    assert len(signs.words) <= 1000
    many = search.sought(" ".join(f"w{n}" for n in range(1_000_000)) + " coffee", ["b " * 10**6])
    assert "coffe" in many.words
    assert len(many.words) <= 1000
    assert len(many.question) < 20_000
    assert len(many.text) < 40_000
