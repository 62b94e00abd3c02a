"""The biso.toml that `init` writes: what was found out as values, everything else as comments with
its default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import tomli_w

from biso_tasks.config.findings import BadConfig, Finding
from biso_tasks.config.load import FILE, parse
from biso_tasks.config.model import Admin
from biso_tasks.config.reference import KeyDoc, keys

__all__ = ["EnvironmentFacts", "InitFacts", "render", "toml_key", "toml_value"]


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """What was found out about one environment; None, empty or False: nothing, or the default."""

    name: str
    role: Literal["production", "test"]
    webroot: str
    ssh: str | None = None
    datadir: str | None = None
    run_as: str | None = None
    owner: str | None = None
    sudo: bool = False
    url: str | None = None
    services: Literal["systemd", "compose", "none"] = "none"
    stop: tuple[str, ...] = ()
    directory: str = ""
    web: str = ""
    database: str = ""
    admin: Admin | None = None


@dataclass(frozen=True, slots=True)
class InitFacts:
    """`known_hosts` is "" for the default."""

    name: str
    environments: tuple[EnvironmentFacts, ...]
    known_hosts: str = ""


def render(facts: InitFacts, *, file: Path = Path("/", FILE)) -> str:
    """A biso.toml for `facts`, to be written as `file`, that loads without an error.

    Raises BadConfig where a fact cannot stand in one (a control character in a path, a name that
    is not UTF-8, two environments of one name).
    """
    names = [each.name for each in facts.environments]
    for name in names:
        if names.count(name) > 1:
            raise BadConfig(
                [Finding(file.name, 0, f"environments.{name}", "is there twice", "name one anew")]
            )
    docs = {doc.key: doc for doc in keys()}
    text = "\n".join([*_HEAD, *_site(facts, docs)])
    for each in facts.environments:
        text += "\n".join(["", *_environment(each, docs)])
    text += "\n".join(["", *_shared(facts, docs), ""])
    try:
        parse(text.encode(), file)
    except UnicodeEncodeError as error:
        cause = "a name or path that was found is not UTF-8"
        raise BadConfig([Finding(file.name, 0, "", cause, "rename it there")]) from error
    return text


_HEAD: Final = (
    "# What biso-tasks knows about this site. Lines with # show further keys, most of them",
    "# with their default. What only your machine knows (ssh aliases, paths) goes into",
    "# biso.local.toml beside this file. `biso doctor` says whether everything is in place.",
    "",
)

# What a key looks like that has no default.
_EXAMPLES: Final[Mapping[str, Any]] = {
    "ssh": "user@host",
    "datadir": "/srv/biso-data",
    "run_as": "www-data",
    "owner": "www-data:www-data",
    "url": "https://biso.example.org/",
    "copy_of": "prod",
    "stage_dir": "/srv/biso-stage",
    "environment": "prod",
    "from": "prod",
    "to": "test",
    "refresh": "sat 03:00",
    "release": "sun 01:00",
    "path": "/var/lib/biso-released",
    "sign": "~/.ssh/biso_release",
    "allowed_signers": "release_signers",
}


def _site(facts: InitFacts, docs: Mapping[str, KeyDoc]) -> Iterator[str]:
    yield "[site]"
    yield f"name = {toml_value(facts.name)}"
    yield from _comments(docs, "site", skip={"name"})
    yield ""


def _environment(facts: EnvironmentFacts, docs: Mapping[str, KeyDoc]) -> Iterator[str]:
    header = f"environments.{toml_key(facts.name)}"
    yield f"[{header}]"
    known = {
        "role": facts.role,
        "webroot": facts.webroot,
        "ssh": facts.ssh,
        "datadir": facts.datadir,
        "run_as": facts.run_as,
        "owner": facts.owner,
        "sudo": facts.sudo,
        "url": facts.url,
    }
    for name, doc in _direct(docs, "environments.NAME"):
        if name == "copy_of" and facts.role == "production":
            continue  # it is never a copy
        if known.get(name) or doc.required:
            yield f"{name} = {toml_value(known[name])}"
        else:
            yield _comment(name, doc)
    yield ""
    yield f"[{header}.services]"
    services = {
        "kind": facts.services,
        "stop": facts.stop,
        "directory": facts.directory,
        "web": facts.web,
        "database": facts.database,
    }
    yield from (f"{name} = {toml_value(value)}" for name, value in services.items() if value)
    if facts.services == "none":
        yield '# kind = "systemd"'
        yield '# stop = ["apache2", "php8.2-fpm"]  # ' + docs["environments.NAME.services.stop"].doc
    yield ""
    yield f"[{header}.database]  # overrides what config.php says"
    if facts.admin is not None:
        admin = f"user = {toml_value(facts.admin.user)}"
        if facts.admin.run_as is not None:
            admin += f", run_as = {toml_value(facts.admin.run_as)}"
        yield f"admin = {{ {admin} }}"
    else:
        yield '# admin = { user = "postgres", run_as = "postgres" }  # creates databases where ' + (
            "the application's role may not"
        )
    yield ""


def _shared(facts: InitFacts, docs: Mapping[str, KeyDoc]) -> Iterator[str]:
    production = next((each.name for each in facts.environments if each.role == "production"), "")
    test = next((each.name for each in facts.environments if each.role == "test"), "")
    yield "[ssh]"
    if facts.known_hosts:
        yield f"known_hosts = {toml_value(facts.known_hosts)}"
    yield from _comments(docs, "ssh", skip={"known_hosts"} if facts.known_hosts else set())
    yield ""
    # A section that names no environment takes the default, which may not be there.
    yield "[backup]" if production else "# [backup]"
    if production:
        yield f"environment = {toml_value(production)}"
    yield from _comments(docs, "backup", skip={"environment"} if production else set())
    yield '# keep = { last = 7, daily = 14, weekly = 8, monthly = 12, max_age = "400d" }'
    yield ""
    both = production and test
    yield "[refresh]" if both else "# [refresh]"
    if both:
        yield f"from = {toml_value(production)}"
        yield f"to = {toml_value(test)}"
    yield from _comments(docs, "refresh", skip={"from", "to"} if both else set())
    yield ""
    yield "[refresh.files]" if both else "# [refresh.files]"
    yield "# Which files of the data dir travel: copy, placeholder or skip; the first match counts."
    yield '# "brief_vorlagen/**" = "copy"'
    yield '# "**" = "placeholder"'
    yield ""
    yield "[privacy]"
    yield from _comments(docs, "privacy")
    yield ""
    yield "[release]" if test else "# [release]"
    yield from _comments(docs, "release")
    yield ""
    yield "[schedule]"
    yield from _comments(docs, "schedule")
    yield '# max_age = { good = "26h", verified = "8d", drilled = "35d" }'


def _comments(
    docs: Mapping[str, KeyDoc], section: str, skip: set[str] | frozenset[str] = frozenset()
) -> Iterator[str]:
    return (_comment(name, doc) for name, doc in _direct(docs, section) if name not in skip)


def _direct(docs: Mapping[str, KeyDoc], section: str) -> Iterator[tuple[str, KeyDoc]]:
    """The keys of a section that are no tables themselves."""
    for key, doc in docs.items():
        name = key.removeprefix(f"{section}.")
        if name != key and "." not in name:
            yield name, doc


def _comment(name: str, doc: KeyDoc) -> str:
    return f"# {name} = {doc.default or toml_value(_EXAMPLES[name])}  # {doc.doc}"


def toml_key(name: str) -> str:
    """A key as TOML must write it."""
    return tomli_w.dumps({name: 0}).rpartition(" = ")[0]


def toml_value(value: Any) -> str:
    """A value on one line: tomli-w spreads arrays over several."""
    if isinstance(value, tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")
