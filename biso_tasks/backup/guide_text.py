"""The words of RESTORE.md that are the same for every set. `guide` chooses and fills in."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ANALYZE",
    "ARCHIVE",
    "CHECK",
    "CONFIG",
    "CREATE",
    "DATA",
    "GRANTS",
    "HEAD",
    "LAST",
    "MIGRATIONS",
    "RECORDED",
    "ROLES",
    "SERVER",
    "SETTINGS",
    "SIFTED",
    "WEBROOT",
]

HEAD: Final = """
Open one `bash` as root (as an ordinary user everything works but the owners of files), and paste
the blocks one after the other, in this order, **into that same shell**. A block that ends with an
error is to be put right before the next one. Nothing here overwrites anything: directories must be
empty or not exist, databases must not exist. What is there is to be moved or renamed before.
"""

# Debian's servers let their superuser in over the socket, as the system's user of that name alone.
# Not where the server is another machine's: a local one would be taken for it.
SERVER: Final = r"""
## The database server

`as_admin` is psql as `PGADMIN`. Where a password does not let that role in, and the server is this
machine's, root becomes the system's user of the same name, as Debian's servers ask for.

```sh
as_admin() (
  set -- -X -q -v ON_ERROR_STOP=1 -U "$PGADMIN" "$@"
  case $PGHOST in
    /*|localhost|127.*|::1)
      if [ "$(id -u)" = 0 ] && id -u -- "$PGADMIN" >/dev/null 2>&1 &&
         ! psql -X -q -w -U "$PGADMIN" -d postgres -c '' >/dev/null 2>&1; then
        [ "${PGHOST#/}" != "$PGHOST" ] || unset PGHOST
        cd / && exec runuser -u "$PGADMIN" -- psql "$@"
      fi ;;
  esac
  exec psql "$@"
)
as_admin -d postgres -c ''
```
"""

CHECK: Final = """
## Is the set whole?

Nothing is printed where it is.

```sh
(cd -- "$SET" && sha256sum --check --quiet --strict SHA256SUMS)
```
"""

# --no-preserve=links: files of the set may be joined by hard links that the original did not have.
WEBROOT: Final = """
## The webroot

Stop the web workers, the scheduler (cron) and the queue runner before, where they run.

```sh
mkdir -p -- "$WEBROOT" &&
[ -z "$(ls -A -- "$WEBROOT")" ] &&
cp -a --no-preserve=links -- "$SET/webroot/." "$WEBROOT/"
```
"""

CONFIG: Final = """
## config.php

It came with the webroot, unless it was a link that leads out of it. On another server, or under
other names, edit the data dir and the databases in it now.

```sh
config=$(readlink -m -- "$WEBROOT"/@CONFIG@)
if [ ! -e "$config" ]; then
  mkdir -p -- "$(dirname -- "$config")" &&
  install -m 0600 -- "$SET/config/config.php" "$config"
fi
```
"""

DATA: Final = """
## The data dir

```sh
mkdir -p -- "$DATADIR" &&
[ -z "$(ls -A -- "$DATADIR")" ] &&
cp -a --no-preserve=links -- "$SET/data/." "$DATADIR/"
```
"""

# Five octal digits: with four, chmod leaves a directory the setgid bit that it inherited.
# Directories last, the deepest first: what is put into one changes its time.
RECORDED: Final = r"""
## Owners, modes, times and links

As METADATA has them. An owner that does not exist here is named and left out: give the file to
somebody else by hand. For tens of thousands of files this takes minutes.

```sh
place() {
  case $1 in
    webroot|webroot/*) to=$WEBROOT${1#webroot} ;;
    data|data/*) to=$DATADIR${1#data} ;;
  esac
}
give() {
  if [ "$(id -u)" = 0 ]; then
    chown -h -- "$2" "$1" || echo "not given to $2: $1" >&2
  fi
  [ -h "$1" ] || chmod -- "0$3" "$1" || return
  touch -h -d "@$4" -- "$1"
}
recorded() {
  local path type mode owner time link name number
  local -a folders=()
  while IFS= read -r -d '' path && IFS= read -r -d '' type &&
        IFS= read -r -d '' mode && IFS= read -r -d '' owner &&
        IFS= read -r -d '' time && IFS= read -r -d '' link; do
    place "$path"
    case $type in
      d) folders+=("$to" "$owner" "$mode" "$time") ;;
      f) give "$to" "$owner" "$mode" "$time" ;;
      l) ln -s -f -n -- "$link" "$to" && give "$to" "$owner" "$mode" "$time" ;;
      h) name=$to; place "$link"; ln -f -- "$to" "$name" ;;
    esac || return
  done <"$SET/METADATA"
  for ((number = ${#folders[@]} - 4; number >= 0; number -= 4)); do
    give "${folders[@]:number:4}" || return
  done
}
recorded
```
"""

ROLES: Final = """
Roles first.

```sh
if [ -f "$SET/db/globals.sql" ]; then
  as_admin -d postgres <"$SET/db/globals.sql"
fi &&
as_admin -d postgres -v role="$PGUSER" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \\gexec
SQL
```

A role that was made here has no password where globals.sql could not hold it. Give the
application's the one of config.php: `as_admin -d postgres -c "\\password $PGUSER"`.
"""

CREATE: Final = """
```sh
as_admin -d postgres -v role="$PGUSER" -v db="$PGDATABASE" <<'SQL'
CREATE DATABASE :"db" OWNER :"role" TEMPLATE template0 @LOCALE@;
SQL
```

The application's role is let in:

```sh
psql -X -q -c ''
```
"""

SIFTED: Final = r"""
It is loaded as the application's role, to whom everything then belongs. The filter leaves out what
that role may not do (comments on extensions and the like) and the DROPs, which an empty database
does not need; rows and the bodies of functions pass untouched.

```sh
filter=$(mktemp) && cat >"$filter" <<'AWK'
@SIFT@
AWK
```

```sh
zcat -- "$SET"/@FILE@ | tail -c 4096 | grep -c 'PostgreSQL database dump complete' >/dev/null &&
zcat -- "$SET"/@FILE@ | LC_ALL=C sed '@FOLD@' | LC_ALL=C awk -f "$filter" @RULES@ |
  psql -X -q -o /dev/null -v ON_ERROR_STOP=1@SINGLE@
```

```sh
rm -f -- "$filter"
```
"""

ARCHIVE: Final = """
It is loaded as the application's role, to whom everything then belongs.

```sh
list=$(mktemp) && pg_restore -l "$SET"/@FILE@ | grep -E -v -- @OMIT@ >"$list" &&
pg_restore --no-owner --no-privileges --exit-on-error -L "$list" -d '' "$SET"/@FILE@
```

```sh
rm -f -- "$list"
```
"""

GRANTS: Final = """
Then privileges.

```sh
if [ -f "$SET"/@GRANTS@ ]; then
  psql -X -q -v ON_ERROR_STOP=1 -f "$SET"/@GRANTS@
fi
```
"""

SETTINGS: Final = """
What was `not set` there is the administrator's to set; an error names what even that role may not.

```sh
as_admin -v ON_ERROR_STOP=0 -v role="$PGUSER" -v db="$PGDATABASE" <<'SQL'
@SETTINGS@
SQL
```
"""

ANALYZE: Final = """
Statistics for the planner. Then the numbers of rows, which are those of the moment of the backup:
every table that differs is printed, and nothing where all is well.

```sh
psql -X -q -v ON_ERROR_STOP=1 -c ANALYZE
```
"""

MIGRATIONS: Final = """
## Migrations, and out of maintenance

`app` is PHP in the webroot, as the application's user: root takes the one to whom the data dir
belongs.

```sh
app() (
  cd -- "$WEBROOT" || exit
  user=$(stat -L -c %U -- "$DATADIR")
  case $(id -u):$user in
    0:|0:root|0:UNKNOWN|[1-9]*) exec php "$@" ;;
  esac
  exec runuser -u "$user" -- php "$@"
)
app biso-cli migration list
```

Where it names any, `app biso-cli migration exec` applies them.

```sh
app biso-cli maintenance off
```
"""

LAST: Final = """
## Does it work?

Start the web workers, the scheduler and the queue runner. Log in, open a page with an attachment,
print a letter. Users have to log in again. Mail and interfaces are live: on anything that is not
production, keep it off the network until they are switched off.
"""
