"""How often the release gate gives each verdict, by number of questions and true difference.

    .venv/bin/python -m research.studies.gate [--draws 4000]

Two systems differ on 30 % of the questions, each question about a page of its own. The gate's own
interval of the difference in accuracy decides; its other checks pass.
"""

import argparse
import math

import numpy as np

from eval.gate import gate
from eval.statistics import paired

SIZES = (50, 100, 140, 200, 300, 500, 1000)
POINTS = (-10, -5, -3, 0, 3, 5, 10)


def verdicts(
    size: int, difference: float, draws: int, limits: gate.Thresholds, seed: int = 0
) -> tuple[float, float]:
    """Shares of runs with the verdicts *promote* and *canary*."""
    better = (gate.DISAGREEMENT + difference) / 2
    shares = [better, gate.DISAGREEMENT - better, 1 - gate.DISAGREEMENT]
    counts, times = np.unique(
        np.random.default_rng(seed).multinomial(size, shares, draws)[:, :2],
        axis=0,
        return_counts=True,
    )
    promoted = canary = 0
    for (up, down), many in zip(counts.tolist(), times.tolist(), strict=True):
        first = [1.0] * up + [0.0] * (size - up)
        second = [0.0] * up + [1.0] * down + [0.0] * (size - up - down)
        low = paired.shares(first, second).low
        promoted += many * (low > -limits.margin)
        canary += many * (-limits.harm < low <= -limits.margin)
    return promoted / draws, canary / draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    draws, limits = parser.parse_args().draws, gate.read()
    print("| questions |" + "".join(f" {points:+d} points |" for points in POINTS))
    print("|---" * (len(POINTS) + 1) + "|")
    for size in SIZES:
        cells = []
        for points in POINTS:
            promoted, canary = verdicts(size, points / 100, draws, limits)
            stopped = 1 - promoted - canary
            cells.append(" / ".join(f"{100 * share:.0f}" for share in (promoted, canary, stopped)))
        print(f"| {size:,} | " + " | ".join(cells) + " |")
    error = 50 / math.sqrt(draws)
    print(f"\nstandard error at most {error:.1f} points")


if __name__ == "__main__":
    main()
