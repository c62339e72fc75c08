#!/bin/sh
# Starts Alertmanager in its container: $ALERTS is the file beside this one that says whom to tell,
# $ALERTS_URL the address for it, a secret that stands in no command line.
set -eu
umask 077
file=/etc/alertmanager/${ALERTS:?}.yml
if [ -z "$ALERTS_URL" ] && grep -q /tmp/url "$file"; then
    echo "ALERTS is $ALERTS, and ALERTS_URL is empty: write the address into .env" >&2
    exit 1
fi
printf %s "$ALERTS_URL" >/tmp/url
exec alertmanager --config.file="$file" --storage.path=/alertmanager --cluster.listen-address=
