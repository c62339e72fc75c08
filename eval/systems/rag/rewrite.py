"""Rewrites a question for retrieval."""

import re
from typing import NamedTuple

from eval.systems.rag.endpoints import Completion, Endpoints

WORDINGS = 3
_EXPAND = (
    "Rewrite this question in {n} other ways that a documentation might be searched with. Use other"
    " words for the same thing. One a line, nothing else.\n\nQuestion: {question}"
)
# As in Press et al. 2023, https://arxiv.org/abs/2210.03350: a question about several pages is
# decomposed for retrieval.
_DECOMPOSE = (
    "Which separate questions must be looked up in a documentation to answer this question? Write"
    " at most {n}, one a line, nothing else. If it is one question, repeat it.\n\n"
    "Question: {question}"
)
# Gao, Ma, Lin & Callan 2022, "Precise zero-shot dense retrieval without relevance labels" (HyDE):
# their instruction for web search, adapted to the kind of text sought here.
_HYDE = (
    "Please write a passage of a documentation to answer the question.\n"
    "Question: {question}\nPassage:"
)
_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")
_LINES_TOKENS, _PASSAGE_TOKENS = 160, 200


class Rewritten(NamedTuple):
    """Additional search texts besides the question."""

    wordings: tuple[str, ...] = ()
    passage: str = ""
    """Generated: it resembles an answer, and need not be true."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


async def rewrite(endpoints: Endpoints, question: str) -> Rewritten:
    """Rewrite according to the settings. Raises AskdocsError: the chat model does not answer."""
    replies: list[Completion] = []
    wordings: tuple[str, ...] = ()
    passage = ""
    switches = {_EXPAND: endpoints.settings.expand, _DECOMPOSE: endpoints.settings.decompose}
    for prompt in (prompt for prompt, is_on in switches.items() if is_on):
        text = prompt.format(n=WORDINGS, question=question)
        replies.append(await endpoints.chat(text, _LINES_TOKENS))
        lines = [_MARK.sub("", line).strip() for line in replies[-1].text.splitlines()]
        others = dict.fromkeys(line for line in lines if line and line != question)
        wordings += tuple(others)[:WORDINGS]
    if endpoints.settings.hyde:
        replies.append(await endpoints.chat(_HYDE.format(question=question), _PASSAGE_TOKENS))
        passage = replies[-1].text.strip()
    return Rewritten(
        wordings,
        passage,
        sum(reply.prompt_tokens for reply in replies),
        sum(reply.completion_tokens for reply in replies),
    )
