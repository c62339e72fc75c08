#!/bin/sh
# Renews the lock files of the clients and of VitePress from *.in and package.json.
# Index hosts are left out on purpose: a mirror serves the same hashes.
set -eu
cd "$(dirname "$0")"
for name in python/*.in; do
    ../../.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --custom-compile-command "sh tests/clients/lock.sh" \
        "$name" -o "${name%.in}.lock"
done
for name in node/*/ ../wikis/vitepress/; do
    (cd "$name" && npm install --package-lock-only --ignore-scripts \
        --omit-lockfile-registry-resolved --no-audit --no-fund)
done
