# Applies the SQL files of $SCHEMA_DIR/sql to a MySQL database: in name order, init.sql first, each once, under a lock,
# and stops at the first error. The command of the schema task's mysql container: POSIX sh, the mysql client, coreutils.
#
# Needs   DATABASE_HOST, DATABASE_DB_NAME, DATABASE_USER, DATABASE_PASSWORD, and
#         SCHEMA_DIR, a writable directory with sql/*.sql and rds-ca-bundle.pem
# Takes   DATABASE_PORT [3306], DATABASE_WAIT_SECONDS [300], SCHEMA_LOCK_WAIT_SECONDS [300]
# Exits   0 when every file is applied, 1 on an error, 130 or 143 when stopped by INT or TERM
set -eu
umask 077
export LC_ALL=C # name order is byte order
exec 2>&1       # one stream, so that the log's order is the run's

say() { printf '%s\n' "$*"; }
die() { say "schema: $*"; exit 1; }

# Whatever may take long runs in the background, as $child, and is waited for: only then does a signal end the wait at once.
child='' locker='' scratch=''
await() { child=$!; status=0; wait "$child" || status=$?; child=''; return "$status"; }
pause() { sleep "$1" & await; }

finish() {
    trap '' TERM INT
    exec 3>&- # the lock's session ends at its end of input
    # INT makes the client kill its running statement, which the server would otherwise carry on with; HUP ends the others.
    for signal in INT HUP KILL; do
        for tick in 1 2 3 4 5; do
            alive=''
            for pid in $child $locker; do
                ! kill -0 "$pid" 2>/dev/null || alive="$alive $pid"
            done
            [ -n "$alive" ] || break 2
            # shellcheck disable=SC2086 # one or two process ids
            [ "$tick" -gt 1 ] || kill -s "$signal" $alive 2>/dev/null || :
            sleep 0.1
        done
    done
    [ -z "$scratch" ] || rm -rf "$scratch"
}
trap finish EXIT
trap 'say "schema: stopped by TERM"; exit 143' TERM
trap 'say "schema: stopped by INT"; exit 130' INT

# report PREFIX FILE prints what a client wrote, the password's value struck out. MariaDB's client warns of ssl-mode; MySQL's has it.
report() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in *"unknown variable 'loose-ssl-mode="*) continue ;; esac
        clean=''
        while :; do
            case $line in *"$DATABASE_PASSWORD"*) ;; *) break ;; esac
            clean="$clean${line%%"$DATABASE_PASSWORD"*}[password]"
            line=${line#*"$DATABASE_PASSWORD"}
        done
        say "$1$clean$line"
    done <"$2"
}

# quoted VALUE prints VALUE as an option file takes it: in double quotes (so # starts no comment), \ and " escaped.
quoted() {
    rest=$1 done=''
    while :; do
        case $rest in *[\\\"]*) ;; *) break ;; esac
        head=${rest%%[\\\"]*}
        rest=${rest#"$head"}
        done="$done$head\\${rest%"${rest#?}"}"
        rest=${rest#?}
    done
    printf '"%s%s"' "$done" "$rest"
}

# The one place where the password is written, and where TLS is demanded, with the server's certificate and name verified:
# ssl-mode is MySQL's option, ssl-verify-server-cert MariaDB's. No reconnect: a new session would be without the old one's
# transaction. With comments kept, a comment without end is the server's syntax error and not silence.
write_options() {
    cat >"$scratch/my.cnf" <<EOF
[mysql]
host=$(quoted "$DATABASE_HOST")
port=$port
user=$(quoted "$DATABASE_USER")
password=$(quoted "$DATABASE_PASSWORD")
database=$(quoted "$DATABASE_DB_NAME")
protocol=TCP
connect-timeout=10
default-character-set=utf8mb4
ssl-ca=$(quoted "$SCHEMA_DIR/rds-ca-bundle.pem")
loose-ssl-mode=VERIFY_IDENTITY
skip-reconnect
skip-column-names
raw
comments
[client-mariadb]
ssl-verify-server-cert
skip-print-query-on-error
EOF
}

# query SQL runs SQL in a session of its own; rows and errors are files. must_query ends the run if it fails.
query() { mysql --defaults-file="$scratch/my.cnf" --execute="$1" >"$scratch/rows" 2>"$scratch/errors" & await; }
must_query() { query "$2" || { report 'schema: ' "$scratch/errors"; die "could not $1"; }; }

# Waits only for what time can cure: 1040 too many connections, 1053 shutting down, 2002/2003 refused or timed out,
# 2005 unknown host, 2006/2013 lost. A refused login, certificate or database ends the run.
connect() {
    deadline=$(($(date +%s) + db_wait))
    until query 'SELECT 1'; do
        case $(cat "$scratch/errors") in
        *'ERROR 1040 '* | *'ERROR 1053 '* | *'ERROR 200'[2356]' '* | *'ERROR 2013 '*) ;;
        *)  report 'schema: ' "$scratch/errors"
            die "the database at $DATABASE_HOST:$port refused user $DATABASE_USER, or TLS with it failed: see the error above" ;;
        esac
        report 'schema: ' "$scratch/errors"
        left=$((deadline - $(date +%s)))
        [ "$left" -gt 0 ] || die "the database at $DATABASE_HOST:$port could not be reached for $db_wait s: check that it runs" \
            "and that its security group lets this task in"
        say "schema: waiting for the database at $DATABASE_HOST:$port, $left s left"
        pause 2
    done
}

# The lock belongs to a session that lives as long as the run: a client whose input stays open. Opening the pipe for reading too
# keeps the open and the write from blocking; the files' clients inherit it, so the lock outlives this shell while one of them does.
take_lock() {
    lock="CONCAT('schema:', SHA2(DATABASE(), 224))" # 63 characters; MySQL takes 64
    must_query 'ask for the lock' "SELECT COALESCE(IS_USED_LOCK($lock), '')"
    read -r holder <"$scratch/rows" || :
    [ -z "$holder" ] || say "schema: another run holds the lock (connection $holder), waiting up to $lock_wait s"
    mkfifo "$scratch/lock"
    exec 3<>"$scratch/lock"
    mysql --defaults-file="$scratch/my.cnf" --unbuffered <"$scratch/lock" >"$scratch/locked" 2>"$scratch/lock.errors" 3>&- &
    locker=$!
    say "SET SESSION wait_timeout = 86400; SELECT CONNECTION_ID(), GET_LOCK($lock, $lock_wait);" >&3
    until [ -s "$scratch/locked" ]; do
        kill -0 "$locker" 2>/dev/null || { report 'schema: ' "$scratch/lock.errors"; die 'the session that takes the lock ended'; }
        pause 0.1
    done
    read -r lock_id locked <"$scratch/locked"
    [ "$locked" = 1 ] || die "another run still holds the lock after $lock_wait s, so nothing was applied: stop that run, or deploy again when it has ended"
}

# checksums FILE sets $sum, of the file as it is, and $was, of the file as it was applied: empty if it was not.
checksums() {
    sum=$(sha256sum <"sql/$1")
    sum=${sum%% *} was=''
    while read -r name recorded; do
        [ "$name" != "$1" ] || was=$recorded
    done <"$scratch/ledger"
}

# apply FILE. What is added starts after the file's last line, so the client's line numbers are the file's own; it ends a
# transaction that the file left open, which would be rolled back and still be recorded as applied.
apply() {
    { cat "sql/$1"; printf '\n;\nCOMMIT;\n'; } >"$scratch/statements"
    must_query 'ask for the lock again' "SELECT COALESCE(IS_USED_LOCK($lock) = $lock_id, 0)"
    read -r locked <"$scratch/rows"
    [ "$locked" = 1 ] || die "the lock was lost (its session ended) before $1, which was not applied: deploy again"
    began=$(date +%s) failed=''
    mysql --defaults-file="$scratch/my.cnf" <"$scratch/statements" >"$scratch/output" 2>&1 & await || failed=$?
    report "$1: " "$scratch/output"
    [ -z "$failed" ] || die "$1 failed, nothing after it was applied. Its statements before the error may have taken effect: make them safe to repeat, correct the file, deploy again"
    took=$(($(date +%s) - began))
    must_query "record $1, which was applied and will be again" \
        "REPLACE INTO schema_ledger (file_name, sha256, applied_at, seconds) VALUES ('$1', '$sum', UTC_TIMESTAMP(), $took)"
    say "$1: applied in $took s"
}

for name in DATABASE_HOST DATABASE_DB_NAME DATABASE_USER DATABASE_PASSWORD SCHEMA_DIR; do
    eval "value=\${$name:-}"
    case $value in
    '') die "$name is not set: the task definition must set it" ;;
    *[[:cntrl:]]*) die "$name holds a control character: use printable characters" ;;
    esac
done
port=${DATABASE_PORT:-3306} db_wait=${DATABASE_WAIT_SECONDS:-300} lock_wait=${SCHEMA_LOCK_WAIT_SECONDS:-300}
for value in "$port" "$db_wait" "$lock_wait"; do
    case $value in *[!0-9]*) die "'$value' in DATABASE_PORT, DATABASE_WAIT_SECONDS or SCHEMA_LOCK_WAIT_SECONDS: use a whole number" ;; esac
done

cd "$SCHEMA_DIR" || die "SCHEMA_DIR is '$SCHEMA_DIR': it must be a directory"
SCHEMA_DIR=$PWD
[ -r rds-ca-bundle.pem ] || die "$SCHEMA_DIR/rds-ca-bundle.pem is missing: the container that fills the volume must put the RDS CA bundle there"
set --
[ ! -e sql/init.sql ] || set -- init.sql
for path in sql/*.sql; do
    file=${path#sql/}
    [ -f "$path" ] || die "$path is not a file, or there is no *.sql at all in $SCHEMA_DIR/sql: put init.sql there"
    case $file in *[!A-Za-z0-9._-]*) die "sql/$file: a file name may have A-Z a-z 0-9 . _ - only: rename it" ;; esac
    [ "$file" = init.sql ] || set -- "$@" "$file"
done

scratch=$(mktemp -d "$SCHEMA_DIR/.schema.XXXXXX")
write_options
connect
take_lock
must_query 'create the table schema_ledger' 'CREATE TABLE IF NOT EXISTS schema_ledger (
    file_name VARCHAR(255) NOT NULL, sha256 CHAR(64) NOT NULL, applied_at DATETIME NOT NULL, seconds INT UNSIGNED NOT NULL,
    PRIMARY KEY (file_name)) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin'
must_query 'read the table schema_ledger' 'SELECT file_name, sha256 FROM schema_ledger'
mv "$scratch/rows" "$scratch/ledger"

# init.sql is the one file that may change: it only adds, so it is applied again, and a rollback brings the older one back.
changed=''
for file in "$@"; do
    checksums "$file"
    [ "$file" = init.sql ] || [ -z "$was" ] || [ "$was" = "$sum" ] || changed="$changed $file"
done
[ -z "$changed" ] || die "changed since applied:$changed. Nothing was applied: put the old text back and make the change in a new file"

applied=0 before=0
for file in "$@"; do
    checksums "$file"
    if [ "$was" = "$sum" ]; then
        say "$file: already applied"
        before=$((before + 1))
    else
        apply "$file"
        applied=$((applied + 1))
    fi
done
say "schema: $# files, $applied applied, $before already applied"
