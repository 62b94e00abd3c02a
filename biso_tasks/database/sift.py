"""What a plain dump holds that the application's role may not execute, or that should not be
executed on another server, left out of the stream while it is loaded.

Traps, and what answers them

- Row data and function bodies may look like any statement. So the filter follows the text as psql
  does: rows of COPY, quotes, dollar quotes. Only the first words of an entry decide, which pg_dump
  itself wrote, right behind the entry's header comment; names, bodies and rows come later.
- `pg_dump --clean` begins with DROPs, which an empty database does not need, and which fail there:
  of a view that hangs on its table's primary key it first writes CREATE OR REPLACE VIEW, in a
  schema and with types that do not exist yet; a schema that already holds an extension of the admin
  cannot be dropped. All of it is left out.
- `SET default_…` of the next entry stands before its header, within what is left out: SETs stay.
- `\\restrict` is not known to an older psql, `transaction_timeout` not to an older server. Where
  `\\restrict` goes, what it forbids must not come: any other psql command ends the load.
- mawk reads a line in a time that grows with its square: twelve seconds for one row of 40 MB. So
  long lines are cut before, at a width that tells the cut from an end of line. perl does it, or
  sed, which is everywhere, and takes eighty times as long for rows of a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from biso_tasks.database.facts import ServerFacts
from biso_tasks.host.command import PERL

__all__ = ["FOLD", "FOLDING", "SIFT", "left_behind", "rules"]

_NOTE: Final = "biso-left "


def rules(target: ServerFacts, schemas: Sequence[str] = ()) -> tuple[str, ...]:
    """How entries and SETs begin that are left out on `target`: SIFT's arguments. `schemas` are
    there already, with the extensions that the admin made."""
    found = [
        # made by the admin where they need one, and then only the admin may comment them
        "COMMENT ON EXTENSION ",
        # only a superuser may create them
        *("CREATE EVENT TRIGGER ", "ALTER EVENT TRIGGER ", "COMMENT ON EVENT TRIGGER "),
        # it holds the password of another server, where a test instance has no business
        "CREATE USER MAPPING ",
        # they would send rows away, or fetch them
        *("CREATE PUBLICATION ", "ALTER PUBLICATION ", "COMMENT ON PUBLICATION "),
        *("CREATE SUBSCRIPTION ", "ALTER SUBSCRIPTION ", "COMMENT ON SUBSCRIPTION "),
        # pg_dump --clean of 14 and before makes it anew; it is there, and not this role's
        "CREATE SCHEMA public;",
    ]
    if target.major < 15:
        found.append("COMMENT ON SCHEMA public ")
    if target.major < 17:
        found.append("SET transaction_timeout ")
    for schema in schemas:
        if schema != "public":
            quoted = schema.replace('"', '""')
            found += [f"CREATE SCHEMA {schema};", f'CREATE SCHEMA "{quoted}";']
    return tuple(found)


def left_behind(said: bytes) -> list[str]:
    """Notes for the report, from SIFT's stderr: what it left out that somebody may miss."""
    found = [
        line.removeprefix(_NOTE)
        for line in said.decode("utf-8", "replace").splitlines()
        if line.startswith(_NOTE)
    ]
    return [f"left behind: {line}" for line in dict.fromkeys(found)]


# sed, before SIFT. A line that has exactly this width afterwards goes on in the next: one that had
# it from the beginning is followed by an empty one.
FOLD: Final = "s/.\\{1000\\}/&\\\n/g"

# Defines `fold`, which does the same with the better of the two.
FOLDING: Final = r"""
fold() {
  if type -P perl >/dev/null; then
    @PERL@ -ne \
      's/([^\n]{1000})/$1\n/g if length > 999; print or die "print: $!\n"'
  else
    sed '@FOLD@'
  fi
}
""".replace("@PERL@", PERL).replace("@FOLD@", FOLD)

# awk (mawk), with rules as arguments. Line by line: a statement of pg_dump begins on a line of its
# own. `quote` is what the text is inside of: ' " or a dollar tag; "" outside. A backslash in '' or
# E'' needs no care: pg_dump and the server write a quote inside as two, and double each backslash.
SIFT: Final = r"""
function left_out(text,    i) {
    for (i = 1; i <= rules; i++) if (substr(text, 1, length(rule[i])) == rule[i]) return 1
    return 0
}
function tell(text) {
    if (text !~ /^CREATE (EVENT TRIGGER|USER MAPPING|PUBLICATION|SUBSCRIPTION) /) return
    sub(/ (OPTIONS \(|CONNECTION |WITH \(|ON |FOR TABLE |FOR ALL |AS ).*/, "", text)
    sub(/;$/, "", text)
    sub(/^CREATE /, "", text)
    print "biso-left " text > "/dev/stderr"
}
function follow(text,    at, c, before) {
    while (text != "") {
        if (quote != "") {
            at = index(text, quote)
            if (!at) return
            text = substr(text, at + length(quote))
            quote = ""
            last = ""
            continue
        }
        if (!match(text, /['"$;\\-]/)) return
        c = substr(text, RSTART, 1)
        before = RSTART > 1 ? substr(text, RSTART - 1, 1) : last
        text = substr(text, RSTART)
        last = c
        if (c == "'" || c == "\"") quote = c
        else if (c == ";") open = 0
        else if (c == "-" && substr(text, 2, 1) == "-") return
        else if (c == "\\") {
            print "error: a command for psql, which no pg_dump writes" > "/dev/stderr"
            exit 3
        }
        else if (c == "$" && before !~ /[A-Za-z0-9_$\200-\377]/ \
                 && match(text, /^\$([A-Za-z_\200-\377][A-Za-z0-9_\200-\377]*)?\$/)) {
            quote = substr(text, 1, RLENGTH)
            text = substr(text, RLENGTH + 1)
            continue
        }
        text = substr(text, 2)
    }
}
BEGIN {
    for (i = 1; i < ARGC; i++) { rule[i] = ARGV[i]; ARGV[i] = "" }
    rules = ARGC - 1
    header = "^-- (Data for |Statistics for )?Name: .*; Type: .*; Schema: .*; Owner: "
    leave = 1  # up to the first entry: settings, and what --clean drops
}
length($0) == 1000 {
    if (!rows) held = held $0
    else {
        printf "%s", $0
        begun = 1
    }
    next
}
rows {
    print
    if (!begun && $0 == "\\.") rows = 0
    begun = 0
    next
}
held != "" {
    $0 = held $0
    held = ""
}
quote == "" && !open {
    if ($0 ~ /^\\(un)?restrict [A-Za-z0-9]+$/) next
    hide = 0
    if ($0 ~ /^--/) {
        if (previous == "--" && $0 ~ header) entry = 1
    }
    else if ($0 != "") {
        open = 1
        copy = ($0 ~ /^COPY /)
        if ($0 ~ /^SET / || index($0, "SELECT pg_catalog.set_config('search_path', ") == 1)
            hide = left_out($0)
        else {
            if (entry) {
                leave = left_out($0)
                if (leave) tell($0)
            }
            entry = 0
            hide = leave
        }
    }
    previous = $0
}
{
    last = ""
    follow($0)
    if (!hide) print
    if (copy && quote == "" && !open) {
        copy = 0
        if ($0 ~ / FROM stdin;$/) rows = 1
    }
}
"""
