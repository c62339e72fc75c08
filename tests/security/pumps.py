"""Texts at which a regular expression may take the square of their length, made from itself.

A backtracking engine is slow where it can match the same characters in several ways, or where it
begins again at each of them: on long repetitions of something that the pattern repeats or begins
with, followed by what it does not match.
"""

import ast
import gc
import importlib
import itertools
import random
import re
import signal
import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
_CALLS = ("compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer")
_ANCHORED = ("match", "fullmatch")
_CATEGORIES = {
    c.CATEGORY_DIGIT: "1", c.CATEGORY_NOT_DIGIT: "a", c.CATEGORY_SPACE: " ",
    c.CATEGORY_NOT_SPACE: "a", c.CATEGORY_WORD: "a", c.CATEGORY_NOT_WORD: " ",
}  # fmt: skip
# Pairs of a beginning and a repetition that are tried; only patterns of many words have more.
MOST = 400
_ANY = "aA1 _-\n.,:;/\\\"'`*#|<>()[]{}!?=&@$%^~+"


class Used(NamedTuple):
    """A pattern in the source code."""

    place: str
    """The file."""
    pattern: str
    flags: int
    anchored: bool
    """Is it only tried at the beginning of a text?"""


def patterns(packages: list[str]) -> Iterator[Used]:
    """Every regular expression of some packages: compiled ones, and those in calls of `re`."""
    for package in packages:
        for file in sorted((ROOT / package).rglob("*.py")):
            code = file.read_text(encoding="utf-8")
            if "re." in code:
                yield from _in_file(file.relative_to(ROOT), ast.parse(code))


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        if hasattr(__builtins__, name):
            raise KeyError(name)
        return "x"  # known when the function is called


def _in_file(file: Path, tree: ast.Module) -> Iterator[Used]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_re(node)]
    if not calls:
        return
    try:
        module: Mapping[str, Any] = vars(
            importlib.import_module(".".join(file.with_suffix("").parts))
        )
    except ImportError:  # of an environment of its own
        module = {}
    methods = _methods(tree)
    seen: set[tuple[str, int]] = set()
    for name, value in module.items():
        for one in _compiled(value):
            seen.add((one.pattern, one.flags))
            used = methods.get(name, {"search"})
            yield Used(str(file), one.pattern, one.flags, used <= set(_ANCHORED))
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        method = call.func.attr
        try:
            pattern = _value(call.args[0], module)
            given = [word.value for word in call.keywords if word.arg == "flags"]
            place = {"compile": 1, "sub": 4, "subn": 4, "split": 3}.get(method, 2)
            given += call.args[place : place + 1]
            flags = int(_value(given[0], module)) if given else 0
            compiled = re.compile(pattern, flags)
        except (AttributeError, NameError, TypeError, re.error):
            continue
        if isinstance(pattern, str) and (pattern, compiled.flags) not in seen:
            seen.add((pattern, compiled.flags))
            yield Used(str(file), pattern, compiled.flags, method in _ANCHORED)


def _is_re(call: ast.Call) -> bool:
    return (
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "re"
        and call.func.attr in _CALLS
    )


def _value(node: ast.expr, module: Mapping[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "", "eval"), _Names(module))


def _compiled(value: Any) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _compiled(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _compiled(one)


def _methods(tree: ast.Module) -> dict[str, set[str]]:
    """How the patterns with a name are used."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr not in _CALLS:
            continue
        if isinstance(node.value, ast.Name):
            found.setdefault(node.value.id, set()).add(node.attr)
    return found


def texts(pattern: str, flags: int) -> Iterator[Callable[[int], str]]:
    """Texts of about so many characters that may be slow for `pattern`."""
    parsed = parser.parse(pattern, flags)
    prefixes = {""}
    pumps: set[str] = set()
    for variant in range(2):
        _walk(parsed, "", prefixes, pumps, variant)
    characters = set("".join(pumps | prefixes)) | {" ", "a"}
    if parsed.state.flags & re.MULTILINE:  # `^` and what follows it are tried at each line
        characters.add("\n")
    pairs = list(itertools.product(sorted(prefixes), sorted(pumps | prefixes | characters)))
    if len(pairs) > MOST:
        pairs = random.Random(MOST).sample(pairs, MOST)  # the same ones each time
    for prefix, pump in pairs:
        if pump:
            for end in ("", "\0"):
                yield partial(_text, prefix, pump, end)


def _text(prefix: str, pump: str, end: str, length: int) -> str:
    return prefix + pump * (length // len(pump)) + end


def _walk(items: Any, before: str, prefixes: set[str], pumps: set[str], variant: int) -> None:
    between = ""  # of two repetitions: `b` in `[^>]*b[^>]*>` is read by the first, and begins again
    for op, argument in items:
        text = _sample([(op, argument)], variant)
        if op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
            _, most, body = argument
            if most > 1:
                pumps.add(_sample(body, variant))
                pumps.add(_sample(body, variant + 1))
                pumps |= {between, " " + between} if between else set()
                between = ""
            _walk(body, before, prefixes, pumps, variant)
        elif op is c.SUBPATTERN:
            _walk(argument[3], before, prefixes, pumps, variant)
        elif op is c.ATOMIC_GROUP:
            _walk(argument, before, prefixes, pumps, variant)
        elif op is c.BRANCH:
            for branch in argument[1]:
                _walk(branch, before, prefixes, pumps, variant)
        elif op in (c.ASSERT, c.ASSERT_NOT):
            _walk(argument[1], before, prefixes, pumps, variant)
        if op not in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
            between += text
        before = (before + text)[:200]
        if len(prefixes) < 24:
            prefixes.add(before)


def _sample(items: Any, variant: int) -> str:
    """A text that the items match."""
    text = ""
    for op, argument in items:
        if op is c.LITERAL:
            text += chr(argument)
        elif op is c.NOT_LITERAL:
            text += _one(lambda x, no=argument: ord(x) != no, variant)
        elif op is c.ANY:
            text += "a"
        elif op is c.IN:
            text += _of_set(argument, variant)
        elif op is c.BRANCH:
            text += _sample(argument[1][variant % len(argument[1])], variant)
        elif op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
            least, most, body = argument
            text += _sample(body, variant) * max(least, min(1, most))
        elif op is c.SUBPATTERN:
            text += _sample(argument[3], variant)
        elif op is c.ATOMIC_GROUP:
            text += _sample(argument, variant)
    return text


def _of_set(items: Any, variant: int) -> str:
    if items[0][0] is c.NEGATE:
        tests = items[1:]
        return _one(lambda x: not any(_is_in(x, one) for one in tests), variant)
    op, argument = items[variant % len(items)]
    if op is c.LITERAL:
        return chr(argument)
    return chr(argument[0]) if op is c.RANGE else _CATEGORIES[argument]


def _is_in(character: str, item: Any) -> bool:
    op, argument = item
    if op is c.LITERAL:
        return ord(character) == argument
    if op is c.RANGE:
        return bool(argument[0] <= ord(character) <= argument[1])
    sample = _CATEGORIES[argument]
    return (character.isspace() == sample.isspace()) if sample in " " else character.isalnum()


def _one(test: Callable[[str], bool], variant: int) -> str:
    fitting = [character for character in _ANY if test(character)]
    return fitting[variant % len(fitting)] if fitting else "a"


class TooSlow(Exception):
    """It did not end in time."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Ends what the block does after so long a time of this process, however busy the machine is;
    `re` looks at signals while it is at work."""

    def stop(_: int, __: types.FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    gc.disable()  # what is raised in a callback of the collector ends nothing
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.enable()
        signal.signal(signal.SIGPROF, before)


def seconds(work: Callable[[str], object], text: str, most: float = 1.0) -> float:
    """The time of this thread that `work` takes for `text`; infinite if more than `most`."""
    began = time.thread_time()
    try:
        with limit(most):
            work(text)
    except TooSlow:
        return float("inf")
    return time.thread_time() - began


# A text of SHORT takes a pattern 0.2 ms if its cost is linear, and 10 ms or more if it is the
# square of the length. What takes longer than SUSPECT is tried at four times the length.
SHORT = 8_000
SUSPECT = 0.004
# A part of the length takes the square of that part of the time where the cost is the square. There
# are 200,000 texts, of which almost all are found harmless at the first of these parts.
PARTS = (8, 4, 2)
# So many texts share a timer, as one for each takes longer than the pattern; they take 10 ms.
AT_ONCE = 40
ENOUGH = 2.0
# Four times the length takes four times as long, or 16 times where the cost is its square.
STEEP = 9.0
# Where a part of the cost is linear, less of its square shows in shorter texts.
GROWN = 6.0


def is_steep(work: Callable[[str], object], text: Callable[[int], str]) -> bool:
    """Does the cost of `work` grow faster than the length of the text?"""
    for _ in range(3):  # a machine that was busy at one moment
        short = seconds(work, text(SHORT))
        if short == float("inf"):
            return True
        # Ended once it is known to be steep.
        if short < SUSPECT or seconds(work, text(4 * SHORT), STEEP * short) < STEEP * short:
            return False
    return True


def slow(used: Used) -> str:
    """A text that the pattern is slow for, cut short; empty where none was found."""
    compiled = re.compile(used.pattern, used.flags)

    def work(text: str) -> object:
        if used.anchored:
            return compiled.match(text), compiled.fullmatch(text)
        return compiled.sub("", text)

    def suspect(text: Callable[[int], str]) -> bool:
        for part in PARTS:
            short = text(SHORT // part)
            # The clock on the wall costs no system call, and shows at least the time of `work`.
            began = time.perf_counter()
            work(short)
            if time.perf_counter() - began < SUSPECT / part**2:
                return False
        return True

    every = texts(used.pattern, used.flags)
    while some := list(itertools.islice(every, AT_ONCE)):
        suspects = []
        try:
            with limit(ENOUGH):
                for text in some:
                    if suspect(text):
                        suspects.append(text)
        except TooSlow:
            return text(SHORT)[:100]
        for text in suspects:
            shorter = seconds(work, text(SHORT // 4))
            if seconds(work, text(SHORT)) >= GROWN * shorter and is_steep(work, text):
                return text(SHORT)[:100]
    return ""
