"""One turn of an agent: its own messages and tools, with pages before its questions.

The model's output is sent as it is generated, and nothing is refused: the agent's work may be
unrelated to the wiki. Pages, claims and citations are added at the end.
"""

from dataclasses import replace
from typing import Any, cast

from gateway.answering.answer import CALLS, GroundedAnswer
from gateway.answering.check import Check, Scorer
from gateway.answering.choice import Choice, Ending, Numbered, Reason
from gateway.answering.grounding import prompt
from gateway.answering.grounding.ground import Grounding, Grounds
from gateway.api.chat_request import DocsRequest
from gateway.api.plan import RequestPlan
from gateway.api.transform import PartialAnswer
from gateway.settings import GatewaySettings


class Turn(GroundedAnswer):
    """A model's answer in an agent's conversation."""

    def __init__(
        self,
        settings: GatewaySettings,
        grounding: Grounding,
        asked: DocsRequest,
        grounds: Grounds,
        plan: RequestPlan,
        keeps_text: bool,
        scorer: Scorer | None = None,
    ) -> None:
        """`plan` has the messages that include the pages, or the reason why there are none."""
        texts = prompt.Conversation([], "", "")  # the client's own messages are sent
        parts = settings, grounding, asked, texts, grounds, plan, 0, keeps_text
        super().__init__(*parts, scorer)
        self._salt = plan.salts.own()
        if self._checking == "hold":
            self._checking = "mark"
        # The checker gets the pages only: an agent's own prompt is ten times as long.
        self._prefix = [{"role": "system", "content": prompt.beside(grounds.excerpts)}]

    def start(self) -> bytes:
        self._announce()
        return b""

    def partial(self) -> PartialAnswer | None:
        """Half a tool call cannot be resumed."""
        return None if self._has_begun else self._start_over()

    def _marked(self, check: Check) -> Choice:
        places = self._numbered() if self._renumbered is None else self._renumbered.places
        return Numbered(check, places)

    def _waits(self, choice: dict[str, Any], state: Choice) -> bool:
        return state.waits and choice.get("finish_reason") not in CALLS

    def _prompt_tokens(self) -> int:
        return self._plan.budget.prompt // 4

    def _judged(self, ending: Ending) -> Ending:
        """Text that the pages do not support may come from a file that the agent has read."""
        why = cast(Reason, self._plan.grounding.why.replace("-", "_"))
        refused = ending.reason == "model"
        return replace(ending, refused=refused, reason=ending.reason if refused else why)

    def _facts(self, ending: Ending, text: str = "") -> dict[str, Any]:
        return {**super()._facts(ending, text), "confidence": None, "caution": False}

    def _report(self, facts: dict[str, Any]) -> None:
        super()._report({**facts, "claims": []})
