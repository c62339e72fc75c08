"""Does the gateway grow? Many streamed requests, and its memory all the while.

    .venv/bin/python research/timings/soak.py [--requests 50000]

A real gateway before the fake engine of the benchmark, with a key that has limits. Memory is the
resident set of its processes. The first tenth of the requests is the warm-up; what counts is how
far the last tenth's median lies above the median of the tenth after the warm-up. Exit code 1 when
that is more than 5 %, or a request failed.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from research.bench.gateway import load
from research.bench.systems import SYSTEMS, engine, running

LIMIT = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0, help="between two samples")
    options = parser.parse_args()
    system = next(one for one in SYSTEMS if one.name == "askdocs")
    samples: list[tuple[int, float]] = []
    done = errors = 0
    began = time.monotonic()
    with engine() as upstream, running(system, upstream, Path(sys.executable)) as gateway:
        print(f"{gateway.rss() / 2**20:8.1f} MB at the start", flush=True)
        while done < options.requests:
            seen = load(
                gateway,
                "--stream",
                *("--clients", str(options.clients), "--seconds", str(options.seconds)),
            )
            if not seen["completed"]:
                print(f"no request succeeded: {seen['error']}", file=sys.stderr)
                return 1
            done += seen["completed"]
            errors += seen["errors"]
            samples.append((done, gateway.rss() / 2**20))
            print(f"{samples[-1][1]:8.1f} MB after {done:7,} requests", flush=True)
    tenth = done / 10
    first = statistics.median(
        [mb for n, mb in samples if tenth < n <= 2 * tenth] or [samples[0][1]]
    )
    last = statistics.median(mb for n, mb in samples if n > 9 * tenth)
    growth = last / first - 1
    print(
        f"{done:,} streamed requests in {time.monotonic() - began:.0f} s, {errors} errors:"
        f" {first:.1f} MB after warm-up, {last:.1f} MB at the end, growth {growth:+.1%}"
    )
    return 1 if errors or growth > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
