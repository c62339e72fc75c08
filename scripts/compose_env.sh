#!/bin/sh
# Makes .env for compose.yaml from .env.example, with new secrets: `sh scripts/compose_env.sh`. An
# existing .env is not changed.
#
# With a name it gives that secret a new value: `sh scripts/compose_env.sh ASKDOCS_KEY`. The previous
# key becomes PREVIOUS_KEY, which `sh scripts/compose_env.sh PREVIOUS_KEY` removes.
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
        ! grep -q '^PREVIOUS_KEY=.' .env || fail "PREVIOUS_KEY is still valid: revoke it first with sh scripts/compose_env.sh PREVIOUS_KEY"
        edit="/^PREVIOUS_KEY=/d; /^$1=/{h; s/=.*/=ask-$(random)/p; g; s/ASKDOCS/PREVIOUS/;}"
        ;;
    PREVIOUS_KEY) edit="s/^$1=.*/$1=/" ;;
    *_PASSWORD) edit="s/^$1=.*/$1=$(random)/" ;;
    *) fail "$1 is not a secret of .env: name ASKDOCS_KEY, PREVIOUS_KEY or a ..._PASSWORD" ;;
    esac
    grep -q "^$1=" .env || fail "there is no $1 in .env"
    sed "$edit" .env >".env.$$"
    mv ".env.$$" .env
    echo "changed $1 in .env; to apply it, see docs/how-to/production.md#rotate-compose"
    exit
fi
[ ! -e .env ] || fail ".env exists: delete it first if its secrets are no longer needed"
sed -e "s/^ASKDOCS_KEY=$/ASKDOCS_KEY=ask-$(random)/" \
    -e "s/^POSTGRES_PASSWORD=$/POSTGRES_PASSWORD=$(random)/" \
    -e "s/^REDIS_PASSWORD=$/REDIS_PASSWORD=$(random)/" \
    -e "s/^GRAFANA_PASSWORD=$/GRAFANA_PASSWORD=$(random)/" \
    .env.example >".env.$$"
# Atomic, and never overwrites an existing file.
ln ".env.$$" .env
rm ".env.$$"
echo "made .env with new secrets; check its settings, then run: docker compose up --build"
