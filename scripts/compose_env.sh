#!/bin/sh
# Makes .env for compose.yaml out of .env.example, with new secrets: `sh scripts/compose_env.sh`.
# What is there already is left alone.
set -eu
umask 077
cd "$(dirname "$0")/.."
if [ -e .env ]; then
    echo "compose_env: .env is there already; delete it first if its secrets may go" >&2
    exit 1
fi
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
sed -e "s/^ASKDOCS_KEY=$/ASKDOCS_KEY=ask-$(random)/" \
    -e "s/^POSTGRES_PASSWORD=$/POSTGRES_PASSWORD=$(random)/" \
    -e "s/^REDIS_PASSWORD=$/REDIS_PASSWORD=$(random)/" \
    -e "s/^GRAFANA_PASSWORD=$/GRAFANA_PASSWORD=$(random)/" \
    .env.example >".env.$$"
# Whole or not at all, and never over another one.
ln ".env.$$" .env
rm ".env.$$"
echo "made .env with new secrets; look at its settings, then: docker compose up --build"
