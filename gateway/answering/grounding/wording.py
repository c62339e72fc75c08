"""The gateway's own sentences to readers, in the language of the question.

The prompt asks the model for the English refusal, see `prompt.REFUSAL`.
"""

import re
from collections.abc import Sequence

from gateway.answering.grounding.prompt import DOUBT, REFUSAL
from wiki.pages.asking import language as language_by_stop_words
from wiki.pages.page import Page
from wiki.pages.words import STOP_WORDS, words

# The language is detected from the beginning of a question: a pasted log says nothing about it.
LOOKED_AT = 2_000
ENGLISH = "en"
# By language: the refusal, and the sentence appended to answers of low confidence.
SENTENCES: dict[str, tuple[str, str]] = {
    ENGLISH: (REFUSAL, DOUBT),
    "ar": (
        "ليست لدي معلومات كافية للإجابة عن ذلك.",
        "لست متأكدًا من أن هذا يجيب عن سؤالك: يُرجى قراءة المصدر.",
    ),
    "cs": (
        "Nemám dost informací, abych na to odpověděl.",
        "Nejsem si jistý, že to odpovídá na vaši otázku: přečtěte si prosím zdroj.",
    ),
    "de": (
        "Dazu habe ich nicht genug Informationen.",
        "Ich bin nicht sicher, ob das deine Frage beantwortet: Bitte sieh in der Quelle nach.",
    ),
    "el": (
        "Δεν έχω αρκετές πληροφορίες για να απαντήσω σε αυτό.",
        "Δεν είμαι σίγουρος ότι αυτό απαντά στην ερώτησή σας: δείτε την πηγή.",
    ),
    "es": (
        "No tengo suficiente información para responder a eso.",
        "No sé con seguridad si esto responde a tu pregunta: consulta la fuente.",
    ),
    "fr": (
        "Je n'ai pas assez d'informations pour répondre à cela.",
        "Je ne suis pas sûr que cela réponde à votre question : veuillez consulter la source.",
    ),
    "he": (
        "אין לי מספיק מידע כדי לענות על כך.",
        "אני לא בטוח שזה עונה על השאלה שלך: כדאי לקרוא את המקור.",
    ),
    "hi": (
        "इसका उत्तर देने के लिए मेरे पास पर्याप्त जानकारी नहीं है।",
        "यह आपके प्रश्न का उत्तर है या नहीं, यह निश्चित नहीं है: कृपया स्रोत पढ़ें।",
    ),
    "it": (
        "Non ho informazioni sufficienti per rispondere.",
        "Non so con certezza se questo risponda alla tua domanda: consulta la fonte.",
    ),
    "ja": (
        "回答するための十分な情報がありません。",
        "この回答が質問に合っているか確信がありません。出典を確認してください。",
    ),
    "ko": (
        "답변하기에 정보가 충분하지 않습니다.",
        "질문에 맞는 답변인지 확실하지 않습니다. 출처를 확인해 주세요.",
    ),
    "nl": (
        "Ik heb niet genoeg informatie om dat te beantwoorden.",
        "Ik weet niet zeker of dit je vraag beantwoordt: lees de bron.",
    ),
    "pl": (
        "Nie mam wystarczających informacji, aby na to odpowiedzieć.",
        "Nie mam pewności, czy to odpowiada na pytanie: sprawdź źródło.",
    ),
    "pt": (
        "Não tenho informações suficientes para responder a isso.",
        "Não tenho certeza de que isto responde à sua pergunta: consulte a fonte.",
    ),
    "ru": (
        "У меня недостаточно информации, чтобы ответить на это.",
        "Не уверен, что это отвечает на ваш вопрос: пожалуйста, проверьте источник.",
    ),
    "sv": (
        "Jag har inte tillräckligt med information för att svara på det.",
        "Det är inte säkert att detta svarar på din fråga: läs källan.",
    ),
    "th": (
        "ไม่มีข้อมูลเพียงพอที่จะตอบคำถามนี้",
        "ไม่แน่ใจว่านี่ตอบคำถามของคุณหรือไม่ โปรดอ่านแหล่งที่มา",
    ),
    "tr": (
        "Bunu yanıtlamak için yeterli bilgim yok.",
        "Bunun sorunuzu yanıtladığından emin değilim: lütfen kaynağı okuyun.",
    ),
    "uk": (
        "У мене недостатньо інформації, щоб відповісти на це.",
        "Не впевнений, що це відповідає на ваше запитання: перевірте джерело.",
    ),
    "zh": ("我没有足够的信息来回答这个问题。", "我不确定这是否回答了你的问题，请查看来源。"),
}
REFUSALS = tuple(refusal for refusal, _ in SENTENCES.values())
# Scripts that belong to one language, or nearly so. Japanese also uses Chinese characters, and
# Ukrainian Russian letters: the characters unique to one language come first.
_SCRIPTS = [
    ("ja", re.compile("[\u3041-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7a3]")),
    ("zh", re.compile("[\u3400-\u9fff]")),
    ("uk", re.compile("[іїєґІЇЄҐ]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
]
# The minimum characters that identify a question's script: it may contain English commands, and an
# English question may contain a foreign word.
_SIGNS = 2
_SHARE = 0.2
_BY_NAME = {
    "German": "de",
    "French": "fr",
    "Spanish": "es",
    "Italian": "it",
    "Portuguese": "pt",
    "Dutch": "nl",
    "Polish": "pl",
    "Russian": "ru",
    "Swedish": "sv",
    "Turkish": "tr",
    "Czech": "cs",
}


def language(question: str, pages: Sequence[Page] = ()) -> str:
    """The language of a question, if it is in SENTENCES; else English.

    A question of few words may show no language: then it is that of the first of `pages`, which the
    search found for it.
    """
    text = question[:LOOKED_AT]
    letters = sum(map(str.isalpha, text))
    for code, signs in _SCRIPTS:
        # Japanese and Ukrainian share most characters with others: a few of their own suffice.
        least = _SIGNS if code in ("ja", "uk") else max(_SIGNS, _SHARE * letters)
        if len(signs.findall(text)) >= least:
            return code
    name = language_by_stop_words(text)
    if not name and pages and letters and STOP_WORDS.isdisjoint(words(text)):
        name = pages[0].language
    return _BY_NAME.get(name, ENGLISH)


def refusal(question: str, pages: Sequence[Page] = ()) -> str:
    """The refusal, in the question's language: see `language`."""
    return SENTENCES[language(question, pages)][0]


def doubt(question: str, pages: Sequence[Page] = ()) -> str:
    """The caution to append to an answer of low confidence, see `language`."""
    return SENTENCES[language(question, pages)][1]


def without_doubt(text: str) -> str:
    """An answer without its appended caution."""
    for _, sentence in SENTENCES.values():
        if text.endswith(sentence):
            return text.removesuffix(sentence).rstrip()
    return text
