"""An evaluation as inspect-ai has it: a task for each system, with its dataset, solver and scorers.

It runs in the environment `eval`.
"""

from collections.abc import Awaitable, Callable, Sequence

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from eval.questions.question import Question
from eval.running.answer import Answer
from eval.scoring.words import containment, token_f1
from gateway.answering.grounding.prompt import REFUSAL

Answering = Callable[[str], Awaitable[Answer]]
"""The answer to the question of an id."""
REFUSED = "refused"


def task(name: str, questions: Sequence[Question], answering: Answering) -> Task:
    """The task of a system."""
    # The mean of no scores would be shown as NaN.
    kinds = {question.answerable for question in questions}
    answers = [f1(), contains()] if True in kinds else []
    refusals = [refuses()] if False in kinds else []
    return Task(
        name=name,
        dataset=MemoryDataset([_sample(question) for question in questions], name="questions"),
        solver=answered(answering),
        scorer=[*answers, *refusals],
    )


def _sample(question: Question) -> Sample:
    return Sample(
        id=question.id,
        input=question.text,
        target=question.answer or REFUSAL,
        metadata=question.model_dump(
            include={"answerable", "pages", "type", "contaminated", "line"}
        ),
    )


@solver  # type: ignore[untyped-decorator]
def answered(answering: Answering) -> Solver:
    """Asks once, and keeps what was measured in the sample's metadata."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        answer = await answering(str(state.sample_id))
        state.output = ModelOutput.from_content(
            answer.system, answer.text, error=answer.error or None
        )
        state.output.time = answer.total_s
        state.output.usage = ModelUsage(
            input_tokens=answer.prompt_tokens,
            output_tokens=answer.completion_tokens,
            total_tokens=answer.prompt_tokens + answer.completion_tokens,
        )
        state.messages.append(state.output.message)
        state.metadata[REFUSED] = answer.is_refusal
        state.metadata["answer"] = answer.model_dump(exclude={"system", "question", "text"})
        return state

    return solve


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def f1() -> Scorer:
    """Token F1; a refusal has none. Of questions that a page answers."""

    async def score(state: TaskState, target: Target) -> Score | None:
        completion = state.output.completion
        if not state.metadata["answerable"]:
            return None
        refused = state.metadata[REFUSED]
        return Score(value=0.0 if refused else token_f1(completion, target.text), answer=completion)

    return score


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def contains() -> Scorer:
    """Is the written answer in the given one? Of questions that a page answers."""

    async def score(state: TaskState, target: Target) -> Score | None:
        if not state.metadata["answerable"]:
            return None
        return Score(value=float(containment(state.output.completion, target.text)))

    return score


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def refuses() -> Scorer:
    """Is it refused where no page answers? Of those questions."""

    async def score(state: TaskState, target: Target) -> Score | None:
        if state.metadata["answerable"]:
            return None
        return Score(value=float(state.metadata[REFUSED]))

    return score
