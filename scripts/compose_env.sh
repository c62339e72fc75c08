#!/bin/sh
# Makes .env for compose.yaml out of .env.example, with new secrets: `sh scripts/compose_env.sh`.
# What is there already is left alone.
#
# With a name it gives that secret another value, as in `sh scripts/compose_env.sh ASKDOCS_KEY`. The
# key before it becomes PREVIOUS_KEY, which `sh scripts/compose_env.sh PREVIOUS_KEY` takes away.
set -eu
umask 077
cd "$(dirname "$0")/.."
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
fail() {
    echo "compose_env: $1" >&2
    exit 1
}
if [ $# -gt 0 ]; then
    case $1 in
    ASKDOCS_KEY)
        ! grep -q '^PREVIOUS_KEY=.' .env || fail "PREVIOUS_KEY is still there; take it away first"
        edit="/^PREVIOUS_KEY=/d; /^$1=/{h; s/=.*/=ask-$(random)/p; g; s/ASKDOCS/PREVIOUS/;}"
        ;;
    PREVIOUS_KEY) edit="s/^$1=.*/$1=/" ;;
    *_PASSWORD) edit="s/^$1=.*/$1=$(random)/" ;;
    *) fail "$1 is no secret that is made here" ;;
    esac
    grep -q "^$1=" .env || fail "there is no $1 in .env"
    sed "$edit" .env >".env.$$"
    mv ".env.$$" .env
    echo "changed $1 in .env; docs/how-to/operations.md says how it comes into force"
    exit
fi
[ ! -e .env ] || fail ".env is there already; delete it first if its secrets may go"
sed -e "s/^ASKDOCS_KEY=$/ASKDOCS_KEY=ask-$(random)/" \
    -e "s/^POSTGRES_PASSWORD=$/POSTGRES_PASSWORD=$(random)/" \
    -e "s/^REDIS_PASSWORD=$/REDIS_PASSWORD=$(random)/" \
    -e "s/^GRAFANA_PASSWORD=$/GRAFANA_PASSWORD=$(random)/" \
    .env.example >".env.$$"
# Whole or not at all, and never over another one.
ln ".env.$$" .env
rm ".env.$$"
echo "made .env with new secrets; look at its settings, then: docker compose up --build"
