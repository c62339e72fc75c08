#!/bin/sh
# Trains a version on what writers have approved since the last time, evaluates it, and stops before
# promotion. For a timer: deploy/systemd. Alertmanager tells of a step that failed and of a version
# that waits. Settings, from the environment:
#
#   RETRAIN_DOCS       the wiki's folder
#   RETRAIN_RECIPE     a recipe, see docs/reference/training.md
#   RETRAIN_QUESTIONS  the evaluation's questions
#   RETRAIN_ROWS       further rows to train on, .jsonl (default: none)
#   RETRAIN_LEAST      approved rows since the last time without which nothing is done (default: 50)
#   RETRAIN_ALERTS     Alertmanager's address, http://127.0.0.1:9093 (default: no alerts)
#   RETRAIN_WORK       folder for datasets (default: .askdocs/retrain)
#   ASKDOCS            the command (default: askdocs)
set -eu
umask 077
: "${RETRAIN_DOCS:?}" "${RETRAIN_RECIPE:?}" "${RETRAIN_QUESTIONS:?}"
askdocs=${ASKDOCS:-askdocs}
work=${RETRAIN_WORK:-.askdocs/retrain}
step=starting

# alert NAME SEVERITY SUMMARY: the summary has no quotes and no backslashes.
alert() {
    echo "retrain: $3"
    [ -n "${RETRAIN_ALERTS:-}" ] || return 0
    body="[{\"labels\": {\"alertname\": \"$1\", \"severity\": \"$2\"},"
    body="$body \"annotations\": {\"summary\": \"$3\"}}]"
    curl -fsS -m 20 -H 'Content-Type: application/json' -d "$body" \
        "$RETRAIN_ALERTS/api/v2/alerts" >/dev/null || echo "retrain: Alertmanager got no alert" >&2
}

ended() {
    code=$?
    [ "$code" = 0 ] || alert AskdocsRetrainFailed warning "Retraining failed while $step (exit code $code)."
}

# value NAME: a text of the JSON object on standard input.
value() {
    sed -n "s/^ *\"$1\": \"\([^\"]*\)\".*/\1/p" | head -n 1
}

trap ended EXIT
mkdir -p "$work"
exec 9>"$work/lock"
flock -n 9 || {
    step="waiting for another retraining"
    exit 1
}
now=$(date -u +%Y%m%dT%H%M%SZ)

step="exporting approved answers"
rm -f "$work/approved.jsonl"
"$askdocs" dataset pull --out "$work/approved.jsonl" >/dev/null
approved=$(grep -c . "$work/approved.jsonl" || true)
before=$(cat "$work/used" 2>/dev/null || echo 0)
new=$((approved - before))
if [ "$new" -lt "${RETRAIN_LEAST:-50}" ]; then
    echo "retrain: $new approved rows since the last time, less than ${RETRAIN_LEAST:-50}: nothing to do"
    exit 0
fi

step="building the dataset"
cat ${RETRAIN_ROWS:+"$RETRAIN_ROWS"} "$work/approved.jsonl" >"$work/rows.jsonl"
"$askdocs" dataset check "$work/rows.jsonl" --docs "$RETRAIN_DOCS" --against "$RETRAIN_QUESTIONS"
"$askdocs" dataset build "$work/rows.jsonl" --docs "$RETRAIN_DOCS" --as-served --quote \
    --out "$work/dataset-$now"

step="training"
version=$("$askdocs" train --recipe "$RETRAIN_RECIPE" --data "$work/dataset-$now" \
    --resume --json | value version)
[ -n "$version" ]

step="evaluating $version"
run=$("$askdocs" eval run --questions "$RETRAIN_QUESTIONS" --docs "$RETRAIN_DOCS" --tuned "$version" \
    --json | value run)
[ -n "$run" ]
code=0
"$askdocs" eval gate "$run" || code=$?
echo "$approved" >"$work/used"
case $code in
0) alert AskdocsVersionWaits info "$version may be promoted: askdocs models promote $version" ;;
3) alert AskdocsVersionWaits info "$version may be a canary: askdocs models promote $version --weight 10" ;;
1) alert AskdocsVersionWaits info "The release gate stopped $version: askdocs eval gate $run tells why" ;;
*) exit "$code" ;;
esac
