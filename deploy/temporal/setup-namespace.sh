#!/bin/sh
# Creates the namespace and the custom search attributes that are missing. Connection: TEMPORAL_* variables.
set -eu

namespace="${TEMPORAL_NAMESPACE:-default}"

# A server that has just begun to listen may need some seconds until it serves.
attempt=0
until temporal operator cluster health; do
    attempt=$((attempt + 1))
    [ "$attempt" -lt 30 ] || exit 1
    sleep 2
done

temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1 \
    || temporal operator namespace create --namespace "$namespace" --retention 72h

# domain/campaign.py lists them: SEARCH_ATTRIBUTES. A new namespace is known to every part of the server after some seconds.
known() {
    temporal operator search-attribute list --namespace "$namespace"
}
attempt=0
until known >/dev/null; do
    attempt=$((attempt + 1))
    [ "$attempt" -lt 30 ] || exit 1
    sleep 2
done
for name in HuntazeStatus HuntazeIntentType HuntazeMessageType HuntazeComplianceLevel HuntazePriority; do
    known | grep -qw "$name" \
        || temporal operator search-attribute create --namespace "$namespace" --name "$name" --type Keyword
done
