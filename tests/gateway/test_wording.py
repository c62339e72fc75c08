"""The gateway's own sentences, in the reader's language."""

import pytest

from gateway.answering.grounding import wording
from gateway.answering.grounding.prompt import DOUBT, REFUSAL
from gateway.answering.grounding.refusal import refuses
from tests.gateway.conftest import page


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("How do I rename a branch?", "en"),
        ("rename a branch", "en"),
        ("Wie kann ich das Passwort ändern?", "de"),
        ("Comment est-ce que je peux changer le mot de passe ?", "fr"),
        ("¿Cómo puedo cambiar la contraseña?", "es"),
        ("Come posso cambiare la mia password?", "it"),
        ("Como posso mudar a minha senha?", "pt"),
        ("Hoe kan ik mijn wachtwoord wijzigen?", "nl"),
        ("Jak mogę zmienić moje hasło?", "pl"),
        ("Hur kan jag byta lösenord?", "sv"),
        ("Şifremi nasıl değiştirebilirim, bu mümkün mü?", "tr"),
        ("Jak můžu změnit heslo, když je to nutné?", "cs"),
        ("Как сменить пароль?", "ru"),
        ("Як змінити пароль і ім'я?", "uk"),
        ("Πώς αλλάζω τον κωδικό;", "el"),
        ("איך משנים סיסמה?", "he"),
        ("كيف أغير كلمة المرور؟", "ar"),
        ("पासवर्ड कैसे बदलें?", "hi"),
        ("เปลี่ยนรหัสผ่านอย่างไร", "th"),
        ("비밀번호를 어떻게 바꾸나요?", "ko"),
        ("git rebase --interactive の使い方", "ja"),
        ("如何修改密码？", "zh"),
        ("", "en"),
        ("?", "en"),
        ("how do I write Ω in a title", "en"),
    ],
)
def test_a_question_is_answered_in_its_language(question: str, code: str) -> None:
    assert wording.language(question) == code
    assert (wording.refusal(question), wording.doubt(question)) == wording.SENTENCES[code]


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("Tastaturlayout ändern", "de"),
        ("HTTP/2", "de"),
        ("rotate a log", "en"),
        ("Comment est-ce que je peux changer le mot de passe ?", "fr"),
        ("", "en"),
        ("?", "en"),
    ],
)
def test_a_question_that_shows_no_language_has_that_of_the_wiki(question: str, code: str) -> None:
    german = page("a.md", "# Drucker\n\nDer Drucker ist im Flur, und das Papier ist im Schrank.\n")
    assert wording.language(question, [german]) == code
    english = page("b.md", "# Printer\n\nThe printer is in the corridor.\n")
    assert wording.refusal("HTTP/2", [english]) == REFUSAL
    assert wording.doubt("HTTP/2", [german]) == wording.SENTENCES["de"][1]


def test_english_is_what_the_prompt_says() -> None:
    assert wording.SENTENCES["en"] == (REFUSAL, DOUBT)


def test_only_the_beginning_of_a_question_tells_its_language() -> None:
    log = "x = 1\n" * wording.LOOKED_AT
    assert wording.language(f"Why does this fail?\n{log}\nWie kann ich das ändern?") == "en"


@pytest.mark.parametrize("code", wording.SENTENCES)
def test_every_refusal_is_recognised_and_every_caution_taken_away(code: str) -> None:
    refusal, doubt = wording.SENTENCES[code]
    assert refuses(refusal)
    assert wording.without_doubt(f"> Press it.\n\n{doubt}") == "> Press it."
    assert wording.without_doubt("Press it.") == "Press it."
