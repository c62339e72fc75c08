"""Calculates the monthly cost of questions on one's own GPU, and with hosted services.

Both follow from the prompt and completion tokens, which do not depend on the evaluation's machine.
Prices and assumptions come from prices.toml or a similar file.
"""

import math
import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from core.errors import AskdocsError
from eval.systems.rag.settings import RagSettings

FILE = Path(__file__).with_name("prices.toml")
DAYS, HOURS = 365 / 12, 8760 / 12  # of a month


class Price(BaseModel):
    """In US dollars."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    usd: float = Field(ge=0, le=1e6)
    read: date
    """The day on which the price was checked at its source."""
    source: str


class Assumptions(BaseModel):
    """Assumptions to multiply the prices with. Within these bounds all costs are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    questions_a_day: float = Field(ge=0.01, le=1e9)
    utilisation: float = Field(ge=0.001, le=1)
    """Of a GPU, averaged over the day."""
    prompt_tokens_a_second: float = Field(ge=0.1, le=1e9)
    answer_tokens_a_second: float = Field(ge=0.1, le=1e9)
    question_tokens: float = Field(ge=0, le=1e6)
    """Tokens of a question to embed."""


class Prices(BaseModel):
    """All prices, and the assumptions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_hour: Price
    gpu_hours: dict[str, Price] = {}
    """Of other GPUs, by their names in `askdocs plan`."""
    prompt_mtokens: Price
    answer_mtokens: Price
    embedding_mtokens: Price
    rerank_thousand: Price
    assumptions: Assumptions

    def of_gpu(self, name: str) -> Price | None:
        """Price per hour, by the GPU's name in `askdocs plan`; None: unknown."""
        # The price used for an evaluation's costs is an A10G's, unless it is listed separately.
        return self.gpu_hours.get(name) or (self.gpu_hour if name == "a10g" else None)


class Cost(BaseModel):
    """In US dollars."""

    model_config = ConfigDict(frozen=True)

    month: float
    thousand: float
    """For 1,000 questions."""
    gpus: int = 0
    """Number of one's own GPUs."""


class CostEstimate(Cost):
    """With its 95 % confidence interval; None for too few questions, and in reports of earlier
    releases."""

    low: Cost | None = None
    high: Cost | None = None


def read(file: Path = FILE, assume: Sequence[str] = ()) -> Prices:
    """Read a price file, with assumptions overridden by `NAME=VALUE`.

    Raises AskdocsError: the file cannot be read, or a price is missing or invalid.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise AskdocsError(f"{file}: is not TOML ({error})") from None
    assumptions = values.get("assumptions", {})
    for given in assume:
        name, _, value = given.partition("=")
        if name not in Assumptions.model_fields:
            known = ", ".join(Assumptions.model_fields)
            raise AskdocsError(f"--assume {given}: write NAME=VALUE, where NAME is one of {known}")
        if isinstance(assumptions, dict):
            assumptions[name] = value
    try:
        return Prices.model_validate(values)
    except ValidationError as error:
        raise AskdocsError(_wrong(error.errors()[0], file, assume)) from None


def _wrong(problem: ErrorDetails, file: Path, assume: Sequence[str]) -> str:
    *inside, name = map(str, problem["loc"])
    value, advice = problem["input"], problem["msg"]
    model = Assumptions if inside == ["assumptions"] else Price
    bounds = model.model_json_schema()["properties"].get(name, {})
    if "maximum" in bounds and problem["type"] != "missing":
        low, high = (f"{bounds[end]:,.10g}" for end in ("minimum", "maximum"))
        advice = f"write a number from {low} to {high}"
    if model is Assumptions and name in {assumption.partition("=")[0] for assumption in assume}:
        return f"--assume {name}={value}: {advice}"
    # For a missing field, pydantic's input is the enclosing object.
    given = "" if isinstance(value, dict) else f" = {value!r}"
    return f"{file}: {'.'.join([*inside, name])}{given}: {advice}: see {FILE.name} of askdocs"


def gpu_seconds(prompt_tokens: float, answer_tokens: float, prices: Prices) -> float:
    """GPU seconds for a question with these prompt and completion tokens."""
    assumed = prices.assumptions
    return (
        prompt_tokens / assumed.prompt_tokens_a_second
        + answer_tokens / assumed.answer_tokens_a_second
    )


def token_dollars(prompt_tokens: float, answer_tokens: float, prices: Prices) -> float:
    """Hosted price of these tokens."""
    million = prompt_tokens * prices.prompt_mtokens.usd + answer_tokens * prices.answer_mtokens.usd
    return million / 1e6


def own(seconds: float, prices: Prices) -> Cost:
    """Cost of as many GPUs as the questions keep busy, paid around the clock.

    Args:
        seconds: mean GPU seconds per question.
        prices: the GPU's price and the assumptions.
    """
    assumed = prices.assumptions
    busy = assumed.questions_a_day * seconds / 86_400
    gpus = max(1, math.ceil(busy / assumed.utilisation))
    return _cost(gpus * HOURS * prices.gpu_hour.usd, assumed, gpus)


def hosted(dollars: float, prices: Prices, rag: RagSettings | None = None) -> Cost:
    """Cost of services billed by the token; for RAG including embeddings, and reranking if its
    settings use it. The vector store, LanceDB, is free.

    Args:
        dollars: mean price of a question's tokens.
        prices: the services' prices and the assumptions.
        rag: its settings; None: the system is not RAG.
    """
    assumed = prices.assumptions
    questions = assumed.questions_a_day * DAYS
    if rag:
        dollars += assumed.question_tokens * prices.embedding_mtokens.usd / 1e6
    if rag and rag.rerank:
        dollars += prices.rerank_thousand.usd / 1_000
    return _cost(questions * dollars, assumed)


def at(prices: Prices, questions_a_day: float) -> Prices:
    """The same prices for another number of questions."""
    assumed = prices.assumptions.model_copy(update={"questions_a_day": questions_a_day})
    return prices.model_copy(update={"assumptions": assumed})


def _cost(month: float, assumed: Assumptions, gpus: int = 0) -> Cost:
    return Cost(month=month, thousand=month / (assumed.questions_a_day * DAYS) * 1_000, gpus=gpus)
