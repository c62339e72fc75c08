#!/bin/sh
# What quantises, for the tests: the three packages that the trainer's environment lacks, over it.
# The pins of both are the same (tests/training/test_quantise.py), so no second torch is installed.
set -eu
cd "$(dirname "$0")/../.."
place=.cache/quantise
rm -rf "$place"
.cache/train/environments/train/bin/python -m venv --without-pip "$place"
"$place/bin/python" - requirements/quantise.lock >"$place/three.lock" <<'PY'
import re, sys
lock = open(sys.argv[1]).read()
for name in ("compressed-tensors", "llmcompressor", "loguru"):
    print(re.search(rf"^{name}==.*?(?=^\S|\Z)", lock, re.DOTALL | re.MULTILINE)[0], end="")
PY
.venv/bin/uv pip install --quiet --python "$place/bin/python" --no-deps --require-hashes \
    --only-binary :all: -r "$place/three.lock"
site=$(echo "$place"/lib/python3*/site-packages)
realpath .cache/train/environments/train/lib/python3*/site-packages >"$site/trainer.pth"
