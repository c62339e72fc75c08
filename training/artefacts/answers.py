"""Answers validation examples with each checkpoint of a run, by greedy decoding.

The job: {"base": folder, "checkpoints": [folder, ...], "data": folder made by `askdocs dataset
build`, "max_length": maximum tokens of an example, "rows": maximum examples, "seed": draws them,
"max_tokens": of an answer, "out": file}. The file gets a line for each answer: `checkpoint` (its
folder's name), `row` (from 0), `answer`, and `seconds` that it took. Existing answers are kept, so
that a killed run resumes where it was. If a GPU's memory is too small, the batch shrinks; if it is
too small for a single answer, the result has `problem`. Not yet run on a GPU.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from training import journal
from training.artefacts.merge import load
from training.artefacts.reference import dtype_for
from training.tuning import template
from training.tuning.encode import encode, end_of_turn
from training.tuning.hardware import device_for

# Batch size on a GPU.
BATCH = 8


def run(job: dict[str, Any], tell: Any) -> dict[str, Any]:
    """Write the answers. Raises Problem."""
    import torch

    base, out = Path(job["base"]), Path(job["out"])
    tokenizer = template.tokenizer(base)
    rows = encode(Path(job["data"]) / "validation.jsonl", tokenizer, job["max_length"])
    drawn = Random(job["seed"]).sample(range(len(rows)), min(job["rows"], len(rows)))  # noqa: S311
    end = tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer))
    known = there(out)
    device = device_for(base)
    # On a GPU in 16 bits, as an engine serves it; on a CPU whichever is faster and fits.
    dtype = torch.bfloat16 if device == "cuda" else dtype_for(base, device)
    batch = BATCH if device == "cuda" else 1
    total, done = len(drawn) * len(job["checkpoints"]), 0
    with out.open("ab") as file, torch.inference_mode():
        for checkpoint in map(Path, job["checkpoints"]):
            left = [row for row in sorted(drawn) if (checkpoint.name, row) not in known]
            done += len(drawn) - len(left)
            tell("answering", done, total)
            if not left:
                continue
            began = time.monotonic()
            try:
                model = load(base, checkpoint, dtype, device)

                def write(some: Sequence[int], model: Any = model) -> list[list[int]]:
                    prompts = [rows[row].prompt for row in some]
                    return answers(model, prompts, end, job["max_tokens"])

                parts = halving(write, left, batch, torch.OutOfMemoryError, torch.cuda.empty_cache)
                for some, texts in parts:
                    # The first answer's time includes loading.
                    each = round((time.monotonic() - began) / len(some), 3)
                    began = time.monotonic()
                    for row, ids in zip(some, texts, strict=True):
                        text = tokenizer.decode(ids, skip_special_tokens=True)
                        line = {"checkpoint": checkpoint.name, "row": row, "answer": text}
                        file.write(json.dumps({**line, "seconds": each}).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                    done += len(some)
                    tell("answering", done, total)
            except torch.OutOfMemoryError as error:
                first = next(iter(str(error).splitlines()), "")
                return {"answers": done, "problem": f"{checkpoint.name}: {first}"}
            del model, write, parts
    return {"answers": total}


def halving(
    write: Callable[[Sequence[int]], list[list[int]]],
    rows: Sequence[int],
    most: int,
    lacking: type[Exception],
    release: Callable[[], None],
) -> Iterator[tuple[Sequence[int], list[list[int]]]]:
    """Yield rows with their answers, `most` per batch, halved whenever memory is too small.

    Raises `lacking`: memory is too small for a single row.
    """
    at = 0
    while at < len(rows):
        some = rows[at : at + most]
        try:
            written = write(some)
        except lacking:
            if len(some) == 1:
                raise
            most = (len(some) + 1) // 2
        else:
            yield some, written
            at += len(some)
            continue
        release()  # not in the handler, whose error still holds the tensors


def answers(model: Any, prompts: list[list[int]], end: int, most: int) -> list[list[int]]:
    """Token ids of the answers, up to the end-of-turn token."""
    import torch

    longest = max(map(len, prompts))
    # Pad on the left, because an answer begins at the end of its prompt.
    ids = [[end] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    written = model.generate(
        input_ids=torch.tensor(ids, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
    )
    token_lists = written[:, longest:].tolist()
    return [
        answer_ids[: answer_ids.index(end)] if end in answer_ids else answer_ids
        for answer_ids in token_lists
    ]


def there(file: Path) -> set[tuple[str, int]]:
    """Checkpoint and row of each answer in a file. Cuts away a truncated last line."""
    return {(row["checkpoint"], row["row"]) for row in map(json.loads, journal.whole(file))}
