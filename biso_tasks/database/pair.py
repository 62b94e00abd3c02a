"""Whether a database can travel from one server to another, found before the first byte moves.

A newer pg_dump writes what an older server rejects (`transaction_timeout` from 17 on) and what an
older psql rejects (`\\restrict`, in the minors of August 2025 and later); an older one refuses to
dump a newer server at all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from biso_tasks.database.facts import Client, ServerFacts

__all__ = [
    "check_dump",
    "check_in_place",
    "check_pair",
    "check_whole",
    "missing_extensions",
    "pick_dump",
    "pick_load",
    "same_locale",
]

# the first minor of each major whose pg_dump writes \restrict and whose psql knows it
_RESTRICT = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}


def pick_dump(source: ServerFacts, target: ServerFacts) -> Client | None:
    """The client on the source's host to dump with: pg_dump and pg_restore, not older than the
    source's server, not newer than the target's."""
    for client in source.clients:
        if (
            client.pg_dump is not None
            and client.pg_restore
            and source.major <= client.pg_dump[0] <= target.major
        ):
            return client
    return None


def pick_load(target: ServerFacts, dump: Client) -> Client | None:
    """The client on the target's host whose psql understands what `dump` writes."""
    for client in target.clients:
        if client.psql is not None and (
            not _restricts(dump.pg_dump or (0, 0)) or _restricts(client.psql)
        ):
            return client
    return None


def missing_extensions(source: ServerFacts, target: ServerFacts) -> tuple[str, ...]:
    """Those of the source which a database on the target's server cannot have."""
    available = {name for name, _ in target.available}
    return tuple(e.name for e in source.extensions if e.name not in available)


def untrusted_extensions(source: ServerFacts, target: ServerFacts) -> tuple[str, ...]:
    """Those of the source which only a superuser may create on the target's server."""
    trusted = dict(target.available)
    return tuple(e.name for e in source.extensions if trusted.get(e.name) is False)


def same_locale(wanted: str, known: frozenset[str]) -> bool:
    """Whether libc knows the locale: it writes "de_CH.UTF-8" and "de_CH.utf8" for the same one."""
    if wanted in ("C", "POSIX"):
        return True
    return _plain(wanted) in {_plain(name) for name in known}


def check_pair(
    source: ServerFacts, target: ServerFacts, *, stage: str, locale: str | None = None
) -> list[str]:
    """Every reason why `source`'s database cannot become `stage` on `target`'s server, each with
    its remedy; empty when it can. `locale` overrides the source's own."""
    return [
        *check_whole(source),
        *_versions(source, target),
        *_placing(source, target, stage, locale),
    ]


def check_dump(
    recorded: ServerFacts, target: ServerFacts, *, stage: str, locale: str | None = None
) -> list[str]:
    """Every reason why the dump of a database with the facts `recorded` cannot become `stage` on
    `target`'s server. What a newer pg_dump writes is left out while it is loaded (see sift.py)."""
    found = []
    if recorded.major > target.major:
        found.append(
            f"the dump is of PostgreSQL {recorded.major} and {target.server} runs the older "
            f"{target.major}, which cannot load it: update {target.server}"
        )
    if all(client.psql is None for client in target.clients):
        found.append(f"{target.server} has no psql: install postgresql-client there")
    return [*found, *_placing(recorded, target, stage, locale)]


def check_whole(source: ServerFacts) -> list[str]:
    """Why a dump of `source`'s database would not hold all of its rows, with the remedy."""
    if not source.hidden:
        return []
    tables = ", ".join(source.hidden)
    return [
        f"row level security hides rows of {tables} from the role {source.role!r} on "
        f"{source.server}, so no copy would be whole: `ALTER TABLE {source.hidden[0]} NO FORCE ROW "
        f'LEVEL SECURITY` where the role owns it, or `ALTER ROLE "{source.role}" BYPASSRLS`'
    ]


def _placing(source: ServerFacts, target: ServerFacts, stage: str, locale: str | None) -> list[str]:
    found = _locales(source, target, locale)
    for name in missing_extensions(source, target):
        found.append(
            f"the extension {name!r} of {source.dbname!r} is not installed on {target.server}: "
            "install its package there"
        )
    if not target.superuser and not target.has_admin:
        for name in untrusted_extensions(source, target):
            found.append(
                f"the extension {name!r} can only be created by a superuser on {target.server}: "
                'set `admin = { user = "postgres", run_as = "postgres" }`'
            )
        if not target.createdb:
            found.append(
                f"the role {target.role!r} may not create databases on {target.server}: "
                f'`ALTER ROLE "{target.role}" CREATEDB`, or set '
                '`admin = { user = "postgres", run_as = "postgres" }`'
            )
        elif target.owner != target.role:
            found.append(
                f"the database {target.dbname!r} belongs to {target.owner!r}, so {target.role!r} "
                f"may not rename it: change its owner, or set `admin`"
            )
    if unicodedata.normalize("NFC", stage) == unicodedata.normalize("NFC", target.dbname):
        found.append(f"the stage would carry the live database's own name {stage!r}")
    if stage in target.databases:
        found.append(
            f"a database {stage!r} exists already on {target.server}: another run's stage, or a "
            "leftover; `recover` removes it"
        )
    found += _connections(target)
    if target.prepared:
        found.append(
            f"{target.prepared} prepared transactions hold {target.dbname!r} on {target.server}, "
            "so it cannot be renamed: COMMIT PREPARED or ROLLBACK PREPARED them"
        )
    return found


def _connections(target: ServerFacts) -> list[str]:
    if target.connections_left >= 4:
        return []
    if target.role_limited:
        return [
            f"the role {target.role!r} has {target.connections_left} connections left on "
            f'{target.server} and 4 are needed: `ALTER ROLE "{target.role}" CONNECTION LIMIT -1`'
        ]
    return [
        f"the server of {target.server} has {target.connections_left} connections left and 4 are "
        "needed: end idle sessions, or raise max_connections"
    ]


def check_in_place(
    source: ServerFacts,
    target: ServerFacts,
    *,
    staying: Mapping[str, str],
    obstacles: Sequence[str],
) -> list[str]:
    """Every reason why `source`'s database cannot take the place of what `target`'s holds, each
    with its remedy; empty when it can. `staying` are extensions that emptying leaves, with their
    schemas; `obstacles` what could not be emptied (see `empty.obstacles`)."""
    found = [*check_whole(source), *_versions(source, target)]
    if pick_dump(target, target) is None:
        found.append(
            f"{target.server} has no pg_dump with pg_restore to dump {target.dbname!r} first: "
            f"install postgresql-client-{target.major} there"
        )
    if source.encoding != target.encoding:
        found.append(
            f"{source.dbname!r} has the encoding {source.encoding}, {target.dbname!r} "
            f"{target.encoding}, which stays in place: create it anew with {source.encoding}"
        )
    if target.owner != target.role and not target.superuser:
        found.append(
            f"the database {target.dbname!r} belongs to {target.owner!r}: "
            f'`ALTER DATABASE "{target.dbname}" OWNER TO "{target.role}"`'
        )
    for name in missing_extensions(source, target):
        found.append(
            f"the extension {name!r} of {source.dbname!r} is not installed on {target.server}: "
            "install its package there"
        )
    untrusted = untrusted_extensions(source, target)
    for extension in source.extensions:
        if extension.name in staying:
            if staying[extension.name] != extension.schema:
                found.append(
                    f"the extension {extension.name!r} lies in the schema "
                    f"{staying[extension.name]!r} of {target.dbname!r}, and in "
                    f"{extension.schema!r} of {source.dbname!r}: move it "
                    "(`ALTER EXTENSION … SET SCHEMA`)"
                )
        elif extension.name in untrusted and not target.superuser and not target.has_admin:
            found.append(
                f"the extension {extension.name!r} can only be created by a superuser on "
                f"{target.server}: create it in {target.dbname!r}"
            )
    found += [f"{one} in {target.dbname!r} on {target.server}" for one in obstacles]
    found += _connections(target)
    if target.prepared:
        found.append(
            f"{target.prepared} prepared transactions hold {target.dbname!r} on {target.server}: "
            "COMMIT PREPARED or ROLLBACK PREPARED them"
        )
    return found


def _versions(source: ServerFacts, target: ServerFacts) -> list[str]:
    if source.major > target.major:
        return [
            f"{source.server} runs PostgreSQL {source.major} and {target.server} the older "
            f"{target.major}, which cannot load its dumps: update {target.server}"
        ]
    dump = pick_dump(source, target)
    if dump is None:
        have = sorted({c.pg_dump[0] for c in source.clients if c.pg_dump is not None})
        wanted = " or ".join(str(n) for n in sorted({source.major, target.major}))
        shown = ", ".join(map(str, have)) or "none"
        return [
            f"{source.server} has no usable pg_dump with pg_restore (found: {shown}): install "
            f"postgresql-client-{wanted} there"
        ]
    if pick_load(target, dump) is None:
        have_psql = [c.psql for c in target.clients if c.psql is not None]
        if not have_psql:
            return [f"{target.server} has no psql: install postgresql-client there"]
        newest = max(have_psql)
        minor = _RESTRICT.get(newest[0])
        return [
            f"psql {newest[0]}.{newest[1]} on {target.server} does not know \\restrict, which "
            f"pg_dump on {source.server} writes: update it"
            + (f" to {newest[0]}.{minor} or later" if minor else "")
        ]
    return []


def _restricts(version: tuple[int, int]) -> bool:
    major, minor = version
    return major >= 18 or (major in _RESTRICT and minor >= _RESTRICT[major])


def _locales(source: ServerFacts, target: ServerFacts, locale: str | None) -> list[str]:
    if locale is None and source.provider == "i" and not target.icu:
        return [f"{target.server} has no ICU, which {source.dbname!r} uses: set `locale`"]
    if locale is None and source.provider == "b" and target.major < 17:
        return [f"{target.server} has no builtin locales (PostgreSQL 17): set `locale`"]
    wanted = [locale] if locale is not None else [source.collate, source.ctype]
    return [
        f"the server of {target.server} does not know the locale {name!r}: generate it there "
        "(`locale-gen`) and restart PostgreSQL, or set `locale` for the environment"
        for name in dict.fromkeys(wanted)
        if not same_locale(name, target.locales | {target.collate, target.ctype})
    ]


def _plain(locale: str) -> str:
    language, _, codeset = locale.partition(".")
    return f"{language}.{codeset.replace('-', '').lower()}"
