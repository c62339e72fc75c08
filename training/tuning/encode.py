"""Encodes examples as token ids: the prompt exactly as an engine reads it, then the answer.

An engine renders messages with the model's chat template, and encodes the text with the special
tokens that the template writes and no others. Training does the same, then appends the ids of the
answer and of the end-of-turn token. Text that a template writes after that token is never
generated, so it is not trained on.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from training.tuning.problem import Problem

IGNORED = -100  # label that the loss ignores


class Encoded(NamedTuple):
    """An example as token ids."""

    prompt: list[int]
    completion: list[int]
    kind: str
    """The kind of example, as in `dataset build`."""

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.completion)

    @property
    def row(self) -> dict[str, list[int]]:
        """The row for SFTTrainer: only the completion counts in the loss."""
        return {
            "input_ids": self.prompt + self.completion,
            "labels": [IGNORED] * len(self.prompt) + self.completion,
        }


def encode(file: Path, tokenizer: Any, max_length: int) -> list[Encoded]:
    """Encode all examples of a split, in file order.

    Args:
        file: JSON Lines with `prompt` and `completion`, each a list of messages.
        tokenizer: a transformers tokenizer with its chat template.
        max_length: maximum tokens of an example.

    Raises:
        Problem: an example is too long, or the template renders it differently from a prompt that
            an engine continues.
    """
    end = end_of_turn(tokenizer)
    encoded = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{file}:{number}"
            row = json.loads(line)
            prompt = render(tokenizer, row["prompt"], True)
            answer = row["completion"][0]["content"]
            if not render(tokenizer, row["prompt"] + row["completion"], False).startswith(
                prompt + answer + end
            ):
                raise Problem(
                    f"{place}: the chat template changes the answer ({answer[:40]!r}): remove "
                    "white space at its ends, or use another base model"
                )
            example = Encoded(
                ids(tokenizer, prompt),
                ids(tokenizer, answer) + ids(tokenizer, end),
                row["meta"]["kind"],
            )
            if (length := example.tokens) > max_length:
                raise Problem(
                    f"{place}: has {length:,} tokens, and would lose the end of its answer: set"
                    f" max_length = {length} or more, or build the dataset with a smaller --budget"
                )
            encoded.append(example)
    return encoded


def end_of_turn(tokenizer: Any) -> str:
    """The token that the chat template writes after an answer.

    Raises:
        Problem: there is no template, or it does not continue a prompt with an answer.
    """
    if not tokenizer.chat_template:
        raise Problem(
            f"{tokenizer.name_or_path}: has no chat template, so it cannot be trained on "
            "questions and answers: use an instruction-tuned model (Instruct)"
        )
    question = [{"role": "user", "content": "q"}]
    prompt = render(tokenizer, question, True)
    whole = render(tokenizer, [*question, {"role": "assistant", "content": "a"}], False)
    behind = ids(tokenizer, whole.removeprefix(prompt + "a"))
    if not whole.startswith(prompt + "a") or not behind:
        raise Problem(
            f"{tokenizer.name_or_path}: its chat template does not put the answer and an "
            "end-of-turn token after the prompt: use another base model"
        )
    return str(tokenizer.convert_ids_to_tokens(behind[0]))


def render(tokenizer: Any, messages: list[dict[str, Any]], is_prompt: bool) -> str:
    """The text of messages; for a prompt, including the beginning of the answer's turn."""
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_prompt)
    )


def ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text, without added special tokens."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def digest(examples: Iterable[Encoded]) -> str:
    """SHA-256 of all token ids as 32-bit integers, each list preceded by its length."""
    hashed = hashlib.sha256()
    for example in examples:
        for part in (example.prompt, example.completion):
            hashed.update(array("I", [len(part), *part]).tobytes())
    return hashed.hexdigest()
