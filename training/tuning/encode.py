"""Examples as token ids: the prompt exactly as an engine reads it, and the answer behind it.

An engine turns messages into text by the model's chat template, and the text into ids with the
special tokens that it names and no others. Training does the same, then adds the ids of the answer
and of the token that ends a turn. What a template writes after that token is never generated, so it
is not trained on.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from training.tuning.problem import Problem

IGNORED = -100  # a label that the loss leaves out


class Encoded(NamedTuple):
    """An example as token ids."""

    prompt: list[int]
    completion: list[int]
    kind: str
    """As `dataset build` names it."""

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.completion)

    @property
    def row(self) -> dict[str, list[int]]:
        """As SFTTrainer takes it: the loss counts the completion alone."""
        return {
            "input_ids": self.prompt + self.completion,
            "labels": [IGNORED] * len(self.prompt) + self.completion,
        }


def encode(file: Path, tokenizer: Any, max_length: int) -> list[Encoded]:
    """All examples of a split, in the order of its file.

    Args:
        file: JSON lines with `prompt` and `completion`, each a list of messages.
        tokenizer: of transformers, with its chat template.
        max_length: tokens of an example at most.

    Raises:
        Problem: an example is too long, or the template does not render it as an engine
            would continue it.
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
                    f"{place}: the chat template does not render the answer as it is"
                    f" ({answer[:40]!r}): take space away from its ends, or another base model"
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
    """The token that the chat template writes behind an answer.

    Raises:
        Problem: there is no template, or none that continues a prompt by an answer.
    """
    if not tokenizer.chat_template:
        raise Problem(
            f"{tokenizer.name_or_path}: has no chat template, so it is no model for questions and"
            " answers: take one that was trained on instructions (Instruct)"
        )
    question = [{"role": "user", "content": "q"}]
    prompt = render(tokenizer, question, True)
    whole = render(tokenizer, [*question, {"role": "assistant", "content": "a"}], False)
    behind = ids(tokenizer, whole.removeprefix(prompt + "a"))
    if not whole.startswith(prompt + "a") or not behind:
        raise Problem(
            f"{tokenizer.name_or_path}: its chat template does not put an answer and an end of the"
            " turn behind the prompt: take another base model"
        )
    return str(tokenizer.convert_ids_to_tokens(behind[0]))


def render(tokenizer: Any, messages: list[dict[str, Any]], is_prompt: bool) -> str:
    """The text of messages; of a prompt, with what begins the answer."""
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_prompt)
    )


def ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text, none added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def digest(examples: Iterable[Encoded]) -> str:
    """SHA-256 of all their token ids as 32-bit integers, each list after its length."""
    hashed = hashlib.sha256()
    for example in examples:
        for part in (example.prompt, example.completion):
            hashed.update(array("I", [len(part), *part]).tobytes())
    return hashed.hexdigest()
