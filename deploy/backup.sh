#!/bin/sh
# The service `backup` of compose.yaml: copies of the database in a volume. Of another PostgreSQL:
# PGHOST=... PGUSER=... PGDATABASE=... PGPASSWORD=... BACKUPS=folder BACKUP_DAYS=14 sh backup.sh
#
#   docker compose run --rm backup                      makes one, and deletes those that are too old
#   docker compose run --rm backup list                 lists them
#   docker compose run --rm backup restore FILE         checks one, and changes nothing
#   docker compose run --rm backup restore FILE --yes   puts it in the place of what is there
set -eu
umask 077

fail() {
    echo "backup: $1" >&2
    exit 1
}

# Runs SQL in one transaction: all of it, or nothing. It may have LINE in it.
sql() {
    psql --quiet --no-psqlrc --no-align --tuples-only --single-transaction --set=ON_ERROR_STOP=1 \
        --set=who="$(whoami 2>/dev/null || echo "uid$(id -u)")@$(uname -n)" "$@"
}

# A line of the audit log, like those of core/audit.py.
LINE="INSERT INTO public.audit (id, at, who, action, target, details) VALUES (
    replace(gen_random_uuid()::text, '-', ''), now(), :'who', :'action', :'target', :'details');"

make() {
    while name="askdocs-$(date -u +%Y%m%dT%H%M%SZ).dump" && [ -e "$BACKUPS/$name" ]; do sleep 1; done
    echo "backup: reading the database"
    rm -f "$BACKUPS"/*.part
    pg_dump --format=custom --file="$BACKUPS/$name.part"
    check "$BACKUPS/$name.part" >/dev/null
    # Under its name there is a whole one or none, after a kill or a loss of power, too.
    sync
    mv "$BACKUPS/$name.part" "$BACKUPS/$name"
    size=$(wc -c <"$BACKUPS/$name")
    echo "backup: $name, $size bytes"
    details="{\"bytes\": $size}"
    sql --set=action=backup.make --set=target="$name" --set=details="$details" --file=- <<END ||
SELECT to_regclass('public.audit') IS NOT NULL AS there \gset
\if :there
$LINE
\endif
END
        echo "backup: it was made, but is not in the audit log" >&2
}

prune() {
    find "$BACKUPS" -maxdepth 1 -name 'askdocs-*.dump' -mtime "+$BACKUP_DAYS" -print -delete |
        sed 's|.*/|backup: deleted, too old: |'
}

list() {
    find "$BACKUPS" -maxdepth 1 -name 'askdocs-*.dump' | sed 's|.*/||' | sort
}

# Reads all of it, which a damaged one does not survive, and prints the tables that it holds.
check() {
    pg_restore --file=/dev/null "$1" || return 1
    pg_restore --list "$1" | sed -n 's/^[^;]*;.* TABLE DATA [^ ]* \([^ ]*\) .*/\1/p'
}

restore() {
    file="$BACKUPS/$(basename "$1")"
    [ -f "$file" ] || fail "there is no $1: \`backup list\` names those that are there"
    tables=$(check "$file") || fail "$1 is damaged: nothing was changed, take another one"
    case " $(echo $tables) " in
    *" audit "*) ;;
    *) fail "$1 holds no audit log, so it is not of this askdocs: nothing was changed" ;;
    esac
    echo "backup: $1 is whole, and holds" $tables
    if [ "${2:-}" != --yes ]; then
        echo "backup: nothing was changed. Stop gateway and widget and add --yes to restore it."
        return
    fi
    others=$(psql --no-psqlrc --no-align --tuples-only --command "SELECT count(*)
        FROM pg_stat_activity WHERE datname = current_database()
        AND backend_type = 'client backend' AND pid <> pg_backend_pid()")
    [ "$others" = 0 ] ||
        fail "others are connected to the database: \`docker compose stop gateway widget\` first"
    make # what is there now, to undo it
    script="$BACKUPS/restore.part"
    trap 'rm -f "$script"' EXIT
    cat >"$script" <<'END'
SET client_min_messages = warning;
\o /dev/null
-- An empty database has them now, too; and nobody else writes to them any more.
CREATE TABLE IF NOT EXISTS public.keys (id text, revoked timestamptz);
CREATE TABLE IF NOT EXISTS public.key_secrets
    (digest bytea, key_id text, created timestamptz, valid_until timestamptz);
CREATE TABLE IF NOT EXISTS public.audit
    (id text, at timestamptz, who text, action text, target text, details json);
CREATE TABLE IF NOT EXISTS public.questions (id text);
LOCK public.keys, public.key_secrets, public.audit, public.questions;
ALTER SCHEMA public RENAME TO replaced;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
END
    pg_restore --no-owner --file=- "$file" >>"$script"
    cat >>"$script" <<END
-- What must not be undone, as in askdocs/state/restoring.py: a key that was revoked or rotated since
-- stays so, and the audit log keeps all its lines.
UPDATE public.keys SET revoked = old.revoked
    FROM replaced.keys AS old WHERE old.id = keys.id AND old.revoked IS NOT NULL;
DELETE FROM public.key_secrets USING replaced.keys AS old WHERE old.id = key_secrets.key_id;
INSERT INTO public.key_secrets (digest, key_id, created, valid_until)
    SELECT digest, key_id, created, valid_until FROM replaced.key_secrets
    WHERE key_id IN (SELECT id FROM public.keys);
INSERT INTO public.audit (id, at, who, action, target, details)
    SELECT id, at, who, action, target, details FROM replaced.audit AS old
    WHERE NOT EXISTS (SELECT FROM public.audit WHERE audit.id = old.id);
$LINE
\o
SELECT count(*) FROM public.questions AS new
    WHERE NOT EXISTS (SELECT FROM replaced.questions AS old WHERE old.id = new.id)
    AND to_regclass('replaced.alembic_version') IS NOT NULL;
DROP SCHEMA replaced CASCADE;
END
    back=$(sql --set=action=backup.restore --set=target="$(basename "$file")" \
        --set=details='{"parts": ["database"]}' --file="$script")
    echo "backup: restored $1"
    [ "$back" = 0 ] || echo "backup: $back questions deleted since then are back:" \
        "delete them again with \`askdocs feedback forget\` in the gateway"
}

case "${1:-make}" in
make)
    make
    prune
    ;;
list) list ;;
restore)
    [ $# -ge 2 ] || fail "restore which one? \`backup list\` names them"
    restore "$2" "${3:-}"
    ;;
*) fail "unknown command $1: it is make, list or restore FILE [--yes]" ;;
esac
