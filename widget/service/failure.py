"""Why there is no (complete) answer: a sentence for readers, and a reason for operators."""

from typing import Any, Literal

Reason = Literal[
    "unreachable",
    "slow",
    "broke_off",
    "key",
    "busy",
    "not_ready",
    "no_model",
    "too_long",
    "empty",
    "other",
]
"""Why there is no (complete) answer, for operators."""


class Failure(Exception):
    """Why there is no (complete) answer, as a sentence for the reader."""

    def __init__(self, sentence: str, reason: Reason) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.reason: Reason = reason


UNREACHABLE = "The answering service cannot be reached at the moment. Please try again."
SLOW = "The answer took too long to come. Please try again."
BROKEN = "The answer broke off. Please try again."
REFUSED_KEY = (
    "The answering service does not accept this box’s key. Please tell whoever looks after it."
)
NO_MODEL = (
    "The answering service does not know the model this box asks. "
    "Please tell whoever looks after it."
)
TOO_LONG = "The question is too long for the model. Please shorten it."
WRONG = "Something went wrong while answering. Please try again."


def failure(status: int, error: dict[str, Any], retry_after: str) -> Failure:
    """The sentence for a status, or for an error in a stream, which has no status."""
    kind = f"{error.get('type')} {error.get('code')}"
    wait = _wait(retry_after)
    if status in (401, 403) or "authentication" in kind or "invalid_api_key" in kind:
        return Failure(REFUSED_KEY, "key")
    if status == 429 or "rate_limit" in kind:
        return Failure(f"Many people are asking right now. Please try again {wait}.", "busy")
    if status == 503 or "unavailable" in kind:
        return Failure(f"The model is not ready yet. Please try again {wait}.", "not_ready")
    if status == 404 or "model_not_found" in kind:
        return Failure(NO_MODEL, "no_model")
    if status == 413 or "context_length" in kind:
        return Failure(TOO_LONG, "too_long")
    if status in (408, 504) or "timeout" in kind:
        return Failure(SLOW, "slow")
    if status == 502:
        return Failure(UNREACHABLE, "unreachable")
    return Failure(WRONG, "other") if status else Failure(BROKEN, "broke_off")


def _wait(retry_after: str) -> str:
    # Retry-After may also be a date; then, as without it, promise no time.
    if not retry_after.isascii() or not retry_after.isdigit() or len(retry_after) > 6:
        return "in a moment"
    seconds = int(retry_after)
    if seconds < 2:
        return "in a second"
    return f"in {seconds} seconds" if seconds < 120 else f"in {round(seconds / 60)} minutes"
