#!/bin/bash
# The documented procedure, by hand on the machine of the test instance: what `invoke bench` compares
# with. One of: backup, refresh, restore. Everything it needs is in the environment; benchmarks/instances.py
# sets it. Passwords are in PGPASSFILE.
set -euo pipefail

# $PROD_SSH: how production's machine is reached, empty where it is this one
prod() {
    if [ -n "$PROD_SSH" ]; then ssh -F "$SSH_CONFIG" -o LogLevel=ERROR "$PROD_SSH" "$1"; else bash -c "$1"; fi
}
fetch() {
    if [ -n "$PROD_SSH" ]; then
        rsync -a -s -e "ssh -F $(printf %q "$SSH_CONFIG") -o LogLevel=ERROR" "$PROD_SSH:$1" "$2"
    else
        rsync -a "$1" "$2"
    fi
}
q() { printf '%q' "$1"; }

# a new, dated folder with code, files and dump; production in maintenance as long as that takes
backup() {
    prod "set -euo pipefail
        export PGPASSFILE=$(q "$PGPASSFILE")
        cd $(q "$PROD_WEBROOT")
        mkdir -p $(q "$SET")
        $(q "$PHP") biso-cli maintenance on >&2
        rsync -a --exclude=/data/ --exclude=/config.php ./ $(q "$SET/webroot/")
        rsync -a --exclude=/tmp/ --exclude='*.log' --exclude=maintenance.on $(q "$PROD_DATADIR/") $(q "$SET/data/")
        pg_dump --no-owner --no-privileges --clean --if-exists -h 127.0.0.1 -p $PROD_PORT -U biso biso |
            gzip > $(q "$SET/biso.sql.gz")
        $(q "$PHP") biso-cli maintenance off >&2"
}

# The owner may not end an autovacuum that is in it, and then nothing is dropped: whoever types this
# waits a moment and types it again.
anew() {
    local try sql=(psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$TEST_PORT" -U biso_test -d postgres)
    for try in {1..300}; do
        "${sql[@]}" -c "DROP DATABASE IF EXISTS $1 WITH (FORCE)" 2>"$INCOMING.error" && break
        [ "$try" -lt 300 ] || cat "$INCOMING.error" >&2
        sleep 0.1
    done
    rm -f "$INCOMING.error"
    "${sql[@]}" -c "CREATE DATABASE $1 TEMPLATE template0"
}

# files and dump of $SET into the test instance; it is away from the first line to the last
load() {
    cd "$TEST_WEBROOT"
    "$PHP" biso-cli maintenance on >&2
    find "$TEST_DATADIR" -mindepth 1 -maxdepth 1 ! -name maintenance.on -exec rm -rf {} +
    fetch "$SET/data/" "$TEST_DATADIR/"
    mkdir -p "$TEST_DATADIR/tmp"
    anew biso_test
    gunzip -c "$1" | psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$TEST_PORT" -U biso_test -d biso_test >/dev/null
    "$PHP" biso-cli migration exec >&2
    "$PHP" biso-cli maintenance off >&2
}

refresh() {
    backup
    fetch "$SET/biso.sql.gz" "$INCOMING"
    load "$INCOMING"
    rm -f "$INCOMING"
}

restore() {
    fetch "$SET/webroot/" "$TEST_WEBROOT/"
    fetch "$SET/biso.sql.gz" "$INCOMING"
    load "$INCOMING"
    rm -f "$INCOMING"
}

# the bare pipe: the database alone, into a database that nobody uses
pipe() {
    anew bench_pipe
    prod "PGPASSFILE=$(q "$PGPASSFILE") pg_dump --no-owner --no-privileges -h 127.0.0.1 -p $PROD_PORT -U biso biso" |
        psql -X -q -1 -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$TEST_PORT" -U biso_test -d bench_pipe >/dev/null
}

# the stages of it alone, for the physical limit of a figure
dump() { prod "PGPASSFILE=$(q "$PGPASSFILE") pg_dump --no-owner -h 127.0.0.1 -p $PROD_PORT -U biso biso >/dev/null"; }
compress() { prod "gunzip -c $(q "$SET/biso.sql.gz") | gzip >/dev/null"; }
sums() { prod "cd $(q "$SET") && find . -type f -print0 | xargs -0 sha256sum >/dev/null"; }

"$@"
