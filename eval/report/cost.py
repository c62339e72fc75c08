"""What questions cost a month: on a GPU of one's own, and from hosted services by the token.

Both follow from the tokens that were read and written, which do not depend on the machine that the
evaluation ran on. Prices and assumptions are those of prices.toml, or a file like it.
"""

import math
import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from eval.systems.rag.settings import RagSettings
from gateway.core.errors import AskdocsError

FILE = Path(__file__).with_name("prices.toml")
DAYS, HOURS = 365 / 12, 8760 / 12  # of a month


class Price(BaseModel):
    """In US dollars."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    usd: float = Field(ge=0, le=1e6)
    read: date
    """The day on which somebody read it there."""
    source: str


class Assumptions(BaseModel):
    """What the prices are multiplied with. Within these bounds all costs are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    questions_a_day: float = Field(ge=0.01, le=1e9)
    utilisation: float = Field(ge=0.001, le=1)
    """Of a GPU, on average over the day."""
    prompt_tokens_a_second: float = Field(ge=0.1, le=1e9)
    answer_tokens_a_second: float = Field(ge=0.1, le=1e9)
    question_tokens: float = Field(ge=0, le=1e6)
    """That are embedded of a question."""
    read_units: float = Field(ge=0, le=1e6)
    """Of the vector store, for a question."""
    store_gb: float = Field(ge=0, le=1e6)


class Prices(BaseModel):
    """All prices, and the assumptions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_hour: Price
    gpu_hours: dict[str, Price] = {}
    """Of other GPUs, by the names that `askdocs plan` has for them."""
    prompt_mtokens: Price
    answer_mtokens: Price
    embedding_mtokens: Price
    rerank_thousand: Price
    store_mreads: Price
    store_gb_month: Price
    store_month: Price
    """The least that is paid for the store."""
    assumptions: Assumptions

    def of_gpu(self, name: str) -> Price | None:
        """Of an hour, by the name that `askdocs plan` has for it; None: not known."""
        # The price that the costs of an evaluation follow from is that of an A10G, if it has no
        # other.
        return self.gpu_hours.get(name) or (self.gpu_hour if name == "a10g" else None)


class Cost(BaseModel):
    """In US dollars."""

    model_config = ConfigDict(frozen=True)

    month: float
    thousand: float
    """For 1,000 questions."""
    gpus: int = 0
    """Of one's own."""


class CostEstimate(Cost):
    """With its interval of 95 %: None for a few questions, and in reports of earlier releases."""

    low: Cost | None = None
    high: Cost | None = None


def read(file: Path = FILE, assume: Sequence[str] = ()) -> Prices:
    """The prices of a file, with some assumptions as `NAME=VALUE` says.

    Raises AskdocsError: the file cannot be read, a price is missing or not valid.
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
    # Of what is missing, the input is all that stands beside it.
    given = "" if isinstance(value, dict) else f" = {value!r}"
    return f"{file}: {'.'.join([*inside, name])}{given}: {advice}: see {FILE.name} of askdocs"


def gpu_seconds(prompt_tokens: float, answer_tokens: float, prices: Prices) -> float:
    """What a question that reads and writes so many takes of a GPU."""
    assumed = prices.assumptions
    return (
        prompt_tokens / assumed.prompt_tokens_a_second
        + answer_tokens / assumed.answer_tokens_a_second
    )


def token_dollars(prompt_tokens: float, answer_tokens: float, prices: Prices) -> float:
    """What services take for these tokens of a question."""
    million = prompt_tokens * prices.prompt_mtokens.usd + answer_tokens * prices.answer_mtokens.usd
    return million / 1e6


def own(seconds: float, prices: Prices) -> Cost:
    """On as many GPUs of one's own as the questions keep busy, paid around the clock.

    Args:
        seconds: that a question takes of a GPU, on average.
        prices: of the GPU, with what is assumed.
    """
    assumed = prices.assumptions
    busy = assumed.questions_a_day * seconds / 86_400
    gpus = max(1, math.ceil(busy / assumed.utilisation))
    return _cost(gpus * HOURS * prices.gpu_hour.usd, assumed, gpus)


def hosted(dollars: float, prices: Prices, rag: RagSettings | None = None) -> Cost:
    """From services by the token; of RAG with embeddings, and with rerank and a vector store where
    its settings have them: LanceDB costs nothing.

    Args:
        dollars: for the tokens of a question, on average.
        prices: of the services, with what is assumed.
        rag: its settings; None: it is another system.
    """
    assumed = prices.assumptions
    questions = assumed.questions_a_day * DAYS
    store = 0.0
    if rag:
        dollars += assumed.question_tokens * prices.embedding_mtokens.usd / 1e6
    if rag and rag.rerank:
        dollars += prices.rerank_thousand.usd / 1_000
    if rag and rag.store == "pinecone":
        reads = questions * assumed.read_units / 1e6 * prices.store_mreads.usd
        storage = assumed.store_gb * prices.store_gb_month.usd
        store = max(prices.store_month.usd, reads + storage)
    return _cost(questions * dollars + store, assumed)


def at(prices: Prices, questions_a_day: float) -> Prices:
    """The same prices for another number of questions."""
    assumed = prices.assumptions.model_copy(update={"questions_a_day": questions_a_day})
    return prices.model_copy(update={"assumptions": assumed})


def _cost(month: float, assumed: Assumptions, gpus: int = 0) -> Cost:
    return Cost(month=month, thousand=month / (assumed.questions_a_day * DAYS) * 1_000, gpus=gpus)
