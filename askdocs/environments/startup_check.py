"""Checks environments for files that run code whenever Python starts.

python -m askdocs.environments.startup_check .venv .askdocs/environments/*/
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from askdocs.environments import requirements
from askdocs.environments.startup_files import FILE, refuse
from core.errors import AskdocsError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="askdocs.environments.startup_check", description="Check files that run at start-up."
    )
    parser.add_argument("environments", nargs="+", type=Path)
    failed = False
    for environment in parser.parse_args(arguments).environments:
        try:
            startup_files = refuse(environment, requirements() / FILE)
            print(f"{environment}: {len(startup_files)} known, nothing else")
        except AskdocsError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
