"""Fit the constants of the answer check's rules, gateway/answering/claims.py.

    python -m research.studies.check ANSWERS.jsonl --docs FOLDER [--split validation]

The labelled answers are those of `askdocs eval check`.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eval.scoring.check import LabelledAnswer, LabelledPages, read
from gateway.answering.claims import Draft, drafts, foreign
from gateway.answering.evidence import Evidence
from gateway.answering.features import see

Floats = npt.NDArray[np.float64]


def labelled(
    answers: Sequence[LabelledAnswer], wiki: LabelledPages
) -> Iterator[tuple[LabelledAnswer, Draft, str, Evidence]]:
    """Sentences with claims, in the pages' language, with label and evidence.

    Raises AskdocsError: a page is missing.
    """
    for answer in answers:
        evidence = wiki.evidence(answer.pages, answer.question)
        if foreign(answer.text, evidence):
            continue
        for draft in drafts(answer.text):
            label = answer.label(draft.start, draft.end)
            if draft.claims and label != "frame":
                yield answer, draft, label, evidence


def fit(
    answers: Sequence[LabelledAnswer], wiki: LabelledPages, ridge: float = 10.0
) -> tuple[float, dict[str, float]]:
    """Bias and weights of the rules' logistic regression."""
    rows, labels, names = [], [], []
    for _, draft, label, evidence in labelled(answers, wiki):
        values = see(draft.text, evidence).values
        names = list(values)
        rows.append(list(values.values()))
        labels.append(label == "supported")
    table, good = np.array(rows, dtype=float), np.array(labels)
    mean, spread = table.mean(0), table.std(0) + 1e-9
    scaled = np.c_[(table - mean) / spread, np.ones(len(table))]
    weights: Floats = np.zeros(scaled.shape[1])
    penalty = ridge * np.r_[np.ones(len(names)), 0.0]
    for _ in range(50):  # Newton's method
        probabilities = 1 / (1 + np.exp(-scaled @ weights))
        slope = scaled.T @ (probabilities - good) + penalty * weights
        curve = (scaled * (probabilities * (1 - probabilities))[:, None]).T @ scaled + np.diag(
            penalty + 1e-9
        )
        weights -= np.linalg.solve(curve, slope)
    raw = weights[:-1] / spread
    return float(weights[-1] - raw @ mean), dict(zip(names, map(float, raw), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--split")
    options = parser.parse_args()
    bias, weights = fit(read(options.file, options.split), LabelledPages(options.docs))
    print(f"BIAS = {bias:.2f}")
    print({name: round(weight, 2) for name, weight in weights.items() if abs(weight) >= 0.005})


if __name__ == "__main__":
    main()
