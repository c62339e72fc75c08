"""Facts that can be verified verbatim: numbers, versions, addresses, paths, options, labels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.answering.plain import plain, unescaped

FactKind = Literal["number", "address", "path", "option", "code", "label", "name"]

_ADDRESS = re.compile(
    r"(?:https?|ftp|file|chrome|about|imaps?|smtps?)://?[^\s<>\"'`|\])]+"
    r"|(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+"
    r"|(?<![a-z0-9-])(?:[a-z0-9-]{1,63}\.){1,20}(?:com|org|net|io|dev|de|fr|eu|gov|edu|local)\b"
    r"(?:/[^\s<>\"'`|\])]*)?",
    re.IGNORECASE,
)
_TARGET = re.compile(r"\]\(((?:[^)\s\]]|\](?!\())++)(?:[^)\]]|\](?!\())*+\)")
_CODE = re.compile(r"(?<!`)(`++)([^`\n]++)\1")
_PATH = re.compile(r"(?<![\w/.:])(?:~|\.{1,2}|[A-Za-z]:)?[/\\][\w.@%~-]+(?:[/\\][\w.@%~-]*)+")
_FILE = re.compile(
    r"(?<![\w/.-])[\w-]++\.(?:toml|ya?ml|json[l5]?|ini|conf|cfg|env|md|txt|csv|sqlite|db|log|py|js|ts|sh"
    r"|exe|msi|dmg|deb|rpm|zip|tar|gz|xml|html?|css|mab|msf|ics|eml|mbox|pdf|service|lock)\b"
)
_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
_LABEL = re.compile(r"\*\*([^*\n]{1,80})\*\*|(?<![\w*])\*([^*\n]{1,80})\*(?!\w)")
_NUMBER = re.compile(
    r"(?<![\w.,])[vV]?(\d+(?:[.,:\u202f ]\d{3}(?!\d))*(?:[.,:]\d+)*)"
    r"(?:\s?(%|°|[A-Za-z]{1,3}\b))?(?![\w]*://)"
)
_WORDS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "twice": "2", "fourteen": "14",
    "fifteen": "15", "twenty": "20", "thirty": "30", "sixty": "60", "ninety": "90",
    "zwei": "2", "drei": "3", "vier": "4", "fünf": "5", "sechs": "6", "sieben": "7", "acht": "8",
    "neun": "9", "zehn": "10", "zwölf": "12",
    "deux": "2", "trois": "3", "quatre": "4", "cinq": "5", "huit": "8", "dix": "10", "douze": "12",
    "dos": "2", "tres": "3", "cuatro": "4", "cinco": "5", "seis": "6", "siete": "7", "ocho": "8",
    "nueve": "9", "diez": "10", "doce": "12",
}  # fmt: skip
_NUMBER_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
# Units in a canonical spelling: 24h is 24 hours. A number with a unit differs from a bare number.
_UNITS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds", "millisekunden"), "ms"),
    **dict.fromkeys(
        ("s", "sec", "second", "seconds", "sekunden", "secondes", "segundos"), "second"
    ),
    **dict.fromkeys(("min", "minute", "minutes", "minuten", "minutos"), "minute"),
    **dict.fromkeys(("h", "hour", "hours", "stunde", "stunden", "heures", "horas"), "hour"),
    **dict.fromkeys(("d", "day", "days", "tag", "tage", "tagen", "jours", "días"), "day"),
    **dict.fromkeys(("week", "weeks", "woche", "wochen", "semaines", "semanas"), "week"),
    **dict.fromkeys(("month", "months", "monat", "monate", "monaten", "mois", "meses"), "month"),
    **dict.fromkeys(("year", "years", "jahr", "jahre", "jahren", "ans", "années", "años"), "year"),
    **dict.fromkeys(("kb", "kib", "ko", "kilobytes"), "kb"),
    **dict.fromkeys(("mb", "mib", "mo", "megabytes"), "mb"),
    **dict.fromkeys(("gb", "gib", "go", "gigabytes"), "gb"),
    **dict.fromkeys(("tb", "tib", "terabytes"), "tb"),
    **dict.fromkeys(("%", "percent", "prozent", "pourcent"), "%"),
    **dict.fromkeys(("bit", "bits"), "bit"),
    **dict.fromkeys(("px", "pixel", "pixels"), "px"),
}
_UNIT = re.compile(r"(?:\s(?:more|additional|further|full|other))?[\s\u00a0-]?(%|[^\W\d_]+)")
_ITEM = re.compile(r"^\s*(?:>\s*)*\(?\d{1,3}[.)]\s+")
# A section number of the prompt that a writer cites: `[2]`.
CITED = re.compile(r"\[(\d{1,3})\](?!\()")
_JOINED = re.compile(r"`\s*\+\s*`")  # `Ctrl`+`C`
# Bold text before a colon at the start introduces what follows; it is not a label of the product.
_NAMING = re.compile(r"^[\s\-*+•]*?\*\*(?:[^*\n`]{1,80}:\*\*|[^*\n`]{1,80}\*\*:)")
_AROUND = ".,;:!?\"'()"
# Keyboard keys, as German or French answers name them.
_KEYS = {
    **dict.fromkeys(("strg", "control"), "ctrl"),
    **dict.fromkeys(("umschalt", "maj"), "shift"),
    **dict.fromkeys(("cmd", "befehl"), "command"),
    **dict.fromkeys(("eingabe", "entrée"), "enter"),
    **dict.fromkeys(("entf", "suppr", "del"), "delete"),
    **dict.fromkeys(("échap", "escape"), "esc"),
}
_KEY = re.compile(rf"\b(?:{'|'.join(_KEYS)})\b")
_BETWEEN = re.compile(r"<[^<>\n]*>|(?<![\w$-])[A-Z]{3,}(?![\w-])|[\s=]+")
SHORTEST = 2  # minimum characters of a code fragment that is searched for
_PARTED = re.compile(r"(?<!\s)\s*+(?:>|›|→|->|\|)\s*")


@dataclass(frozen=True, slots=True)
class Fact:
    """A part of a sentence that its passage must contain verbatim."""

    kind: FactKind
    text: str


def facts(sentence: str) -> list[Fact]:
    """The facts of a sentence, without list item numbers and citation numbers."""
    return list(dict.fromkeys(_facts(CITED.sub(" ", _ITEM.sub("", sentence)))))


def numbers(text: str) -> set[str]:
    """The numbers of a text in canonical spelling, with and without units; includes number
    words."""
    values = {_value(match[1]) for match in _NUMBER.finditer(text)}
    values |= {_WORDS[match[0].lower()] for match in _NUMBER_WORD.finditer(text)}
    return values | set(_measured(text))


def _measured(text: str) -> Iterator[str]:
    """Yields the numbers that have a unit, with the unit: `90 ms`."""
    for pattern in (_NUMBER, _NUMBER_WORD):
        for match in pattern.finditer(text):
            unit = _UNIT.match(text, match.end(1))
            if unit and (name := _UNITS.get(unit[1].lower())):
                yield f"{_WORDS.get(match[1].lower()) or _value(match[1])} {name}"


def _facts(sentence: str) -> Iterator[Fact]:
    shown = unescaped(sentence)
    for match in _TARGET.finditer(shown):
        if "://" in match[1]:
            yield Fact("address", address(match[1]))
    rest = _JOINED.sub("+", _TARGET.sub("]", shown))
    for match in _CODE.finditer(rest):
        yield Fact("code", " ".join(match[2].split()).strip(_AROUND))
    rest = _CODE.sub(" ", rest)
    for match in _ADDRESS.finditer(rest):
        yield Fact("address", address(match[0]))
    rest = _ADDRESS.sub(" ", rest)
    for pattern, kind in ((_PATH, "path"), (_FILE, "path"), (_OPTION, "option")):
        for match in pattern.finditer(rest):
            yield Fact(kind, match[0].rstrip(".").lower())  # type: ignore[arg-type]
        rest = pattern.sub(" ", rest)
    for match in _LABEL.finditer(_NAMING.sub(" ", rest)):
        for label in _PARTED.split(match[1] or match[2]):
            if text := readable(plain(label)):
                yield Fact("label", text)
    # Number words without a unit are not facts: "two ways to do it".
    measured = set(_measured(rest))
    plain_numbers = {_value(match[1]) for match in _NUMBER.finditer(rest)}
    for value in sorted(measured | (plain_numbers - {value.split()[0] for value in measured})):
        yield Fact("number", value)


def address(text: str) -> str:
    """Normalises an address."""
    bare = re.sub(r"^[a-z]+://(?:www\.)?|^mailto:", "", text.lower().strip())
    return bare.rstrip("./,;:!?")


def readable(text: str) -> str:
    """Lower case, without the surrounding markup."""
    return " ".join(text.lower().split()).strip(_AROUND)


def squeezed(text: str) -> str:
    """Lower case, without white space and surrounding markup; keys by their English names."""
    named = _KEY.sub(lambda match: _KEYS[match[0]], text.lower())
    return re.sub(r"\s+", "", named.replace("&amp;", "&").replace("&", "and")).strip(_AROUND)


def code_words(code: str) -> list[str]:
    """The words of code without placeholders: `tool FILE --to <folder>` becomes tool and --to."""
    words = [squeezed(part) for part in _BETWEEN.split(code)]
    return [part for part in words if len(part) >= SHORTEST]


def _value(number: str) -> str:
    plain_number = re.sub(r"(?<=\d)[,\u202f ](?=\d{3}(?!\d))", "", number)
    value = plain_number.replace(",", ".").rstrip(".:")
    return value.removesuffix(".0") if value.count(".") > 1 else value  # version 31.2.0 is 31.2
