#!/bin/sh
# The service `backup` of compose.yaml: copies of the database in a volume.
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

make() {
    while name="askdocs-$(date -u +%Y%m%dT%H%M%SZ).dump" && [ -e "$BACKUPS/$name" ]; do sleep 1; done
    echo "backup: reading the database"
    rm -f "$BACKUPS"/*.part
    pg_dump --format=custom --file="$BACKUPS/$name.part"
    check "$BACKUPS/$name.part" >/dev/null
    # Under its name there is a whole one or none, after a kill or a loss of power, too.
    sync
    mv "$BACKUPS/$name.part" "$BACKUPS/$name"
    echo "backup: $name, $(wc -c <"$BACKUPS/$name") bytes"
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
    sql="$BACKUPS/restore.part"
    trap 'rm -f "$sql"' EXIT
    cat >"$sql" <<END
SET client_min_messages = warning;
DROP SCHEMA public CASCADE;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
END
    pg_restore --no-owner --file=- "$file" >>"$sql"
    # One transaction: all of it, or nothing.
    psql --quiet --no-psqlrc --single-transaction --set=ON_ERROR_STOP=1 --file="$sql" >/dev/null
    echo "backup: restored $1"
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
