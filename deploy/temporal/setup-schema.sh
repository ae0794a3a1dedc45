#!/bin/sh
# Creates or updates both databases of the Temporal server; repeating it is harmless. Connection: SQL_* variables.
set -eu

for database in temporal visibility; do
    case "$database" in
        temporal) name=temporal ;;
        visibility) name=temporal_visibility ;;
    esac
    tool() {
        temporal-sql-tool --plugin postgres12 --ep "$SQL_HOST" --port 5432 --user "$SQL_USER" --db "$name" "$@"
    }
    tool create
    tool setup-schema -v 0.0
    tool update-schema -d "/etc/temporal/schema/postgresql/v12/$database/versioned"
done
