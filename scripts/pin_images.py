"""Pins the images of compose.yaml and of the files in deploy/ by digest.

    python3 scripts/pin_images.py            shows what the registries have, and changes nothing
    python3 scripts/pin_images.py --write    writes it into these files

Needs the network and Docker's buildx, but no engine that runs. Exits with 1 when a digest is
missing or another one than the registry has, so that it can watch for newer builds of a tag.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("compose.yaml", "deploy/compose.*.yaml", "deploy/Dockerfile*", "deploy/helm/*.yaml")
# An image of others has a tag; ours, and the name of a stage, have none, and the one that is to be
# built is in no registry. Charts put name and tag on two lines.
IMAGE = re.compile(
    r"^(?P<before>\s*image:\s+(?:&\w+\s+)?|FROM\s+|\s*repository:\s+)"
    r"(?P<name>(?!registry\.example\.com/)(?:[\w.-]+:\d+/)?[\w./-]+)(?P<between>:|\n\s+tag:\s+)"
    r"(?P<tag>[\w.-]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.M,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the digests into the files")
    parser.add_argument("--json", action="store_true", help="print the images as JSON")
    options = parser.parse_args()
    files = [file for pattern in FILES for file in sorted(ROOT.glob(pattern))]
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    found = [match for text in texts.values() for match in IMAGE.finditer(text)]
    pins = sorted({(f"{match['name']}:{match['tag']}", match["digest"] or "") for match in found})
    images = sorted({image for image, _ in pins})
    known = {}
    for number, image in enumerate(images, start=1):
        print(f"{number}/{len(images)} {image}", file=sys.stderr)
        known[image] = digest(image)
    differ = [(image, pinned) for image, pinned in pins if pinned != known[image]]
    if options.json:
        rows = [{"image": i, "pinned": pinned, "registry": known[i]} for i, pinned in pins]
        print(json.dumps(rows, indent=2))
    else:
        for image, pinned in differ:
            print(f"{image}: {pinned or 'no digest'} -> {known[image]}")
    if not differ:
        print("every image is pinned to what its registry has", file=sys.stderr)
        return 0
    if not options.write:
        print("nothing was changed: --write writes these", file=sys.stderr)
        return 1
    for file, text in texts.items():
        write(file, IMAGE.sub(lambda match: with_digest(match, known), text))
    print("written; look at `git diff` before you commit it", file=sys.stderr)
    return 0


def with_digest(match: "re.Match[str]", known: dict[str, str]) -> str:
    found = known[f"{match['name']}:{match['tag']}"]
    return f"{match['before']}{match['name']}{match['between']}{match['tag']}@{found}"


def digest(image: str) -> str:
    """Of the list of all platforms.

    https://docs.docker.com/reference/cli/docker/buildx/imagetools/inspect/
    """
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", image]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        sys.exit("pin_images: there is no `docker`: install Docker with its plugin buildx")
    except subprocess.TimeoutExpired:
        sys.exit(f"pin_images: {image}: the registry did not answer within 60 s: try again")
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["docker said nothing"]
        sys.exit(f"pin_images: {image}: {said[-1]}")
    try:
        found = str(json.loads(done.stdout)["digest"])
    except (ValueError, KeyError, TypeError):
        found = ""
    if not re.fullmatch("sha256:[0-9a-f]{64}", found):
        sys.exit(f"pin_images: {image}: docker buildx named no digest: {done.stdout.strip()[:200]}")
    return found


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        os.fsync(file.fileno())
    Path(name).chmod(path.stat().st_mode & 0o777)
    Path(name).replace(path)


if __name__ == "__main__":
    sys.exit(main())
