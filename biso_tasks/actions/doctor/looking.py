"""What `init` finds out about an installation by looking at its webroot and its host. Nothing is
changed; what cannot be found out is said, not guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from biso_tasks.config.model import Admin, Environment, Services
from biso_tasks.config.write import EnvironmentFacts
from biso_tasks.database.facts import ServerFacts, probe
from biso_tasks.errors import BisoError, Refused
from biso_tasks.files.space import human
from biso_tasks.host.command import Command, command, script
from biso_tasks.host.protocol import Host
from biso_tasks.instance.instance import Instance, read_instance
from biso_tasks.stage.model import server

__all__ = ["Seen", "look", "webroots"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One installation. `facts` is what biso.toml will say of it, `lines` what to show to a person
    (what, how it is), `notes` what could not be found out or should be looked at."""

    facts: EnvironmentFacts
    env: str
    dbname: str
    log_dbname: str | None
    datadir: str
    php: str
    lines: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        facts = self.facts
        return {
            "name": facts.name,
            "role": facts.role,
            "ssh": facts.ssh,
            "webroot": facts.webroot,
            "datadir": self.datadir,
            "env": self.env,
            "database": self.dbname,
            "log_database": self.log_dbname,
            "php": self.php,
            "run_as": facts.run_as,
            "owner": facts.owner,
            "sudo": facts.sudo,
            "services": {"kind": facts.services, "stop": list(facts.stop)},
            "notes": list(self.notes),
        }


# The two files together are BISO's; -xdev: no search of mounted network drives.
_FIND = r"""
find "$@" -xdev -maxdepth 4 -name biso-cli -type f -print0 2>/dev/null | while IFS= read -r -d '' at
do
  [ ! -e "${at%/*}/config.php" ] || printf '%s\0' "${at%/*}"
done
"""
_PLACES: Final = ("/var/www", "/srv", "/opt", "/home")


def webroots(host: Host, *, below: Sequence[str] = _PLACES) -> tuple[str, ...]:
    """The folders of the host that look like a webroot of BISO's, stages of ours left out."""
    out = host.run(script(_FIND, *below), ok=None, timeout=120).out
    found = sorted(path.decode("utf-8", "surrogateescape") for path in out.split(b"\0") if path)
    return tuple(path for path in found if "/.biso" not in path)


def look(host: Host, webroot: str, *, ssh: str | None = None, run_as: str = "") -> Seen:
    """Look at the installation in `webroot`. Raises BisoError where it is none, or where nobody may
    read its config.php: the message says as whom it was tried."""
    place = _place(host, webroot)
    services, services_notes = _services(host, place)
    instance = _instance(host, place, run_as or None, services)
    user, owner, user_notes = _user(host, instance, run_as)
    sudo, sudo_notes = _sudo(host, services, user)
    # Only root can give files away, and root's own need no one to fall back to.
    given = owner if (sudo or host.login == "root") and owner != "root:root" else ""
    found = replace(instance.environment, run_as=user, sudo=sudo)
    database, admin, database_notes = _database(replace(instance, environment=found))
    facts, production = instance.facts, instance.facts.is_production
    seen = EnvironmentFacts(
        name="prod" if production else "test",
        role="production" if production else "test",
        webroot=place.webroot,
        ssh=ssh,
        run_as=user,
        owner=given or None,
        sudo=sudo,
        services=services.kind if services.kind != "command" else "none",
        stop=services.stop,
        directory=services.directory,
        web=services.web,
        database=services.database,
        admin=None if production else admin,
    )
    log = None if facts.log is None else facts.log.dbname
    lines = [
        ("host", f"{host.address or 'this machine'}, as {host.login}"),
        ("webroot", place.webroot),
        ("config.php", f"env {facts.env!r}, so its role is {seen.role}; run by PHP {facts.php}"),
        ("data dir", instance.layout.datadir),
        ("database", database),
        ("log database", log or "none"),
        ("files", f"of {owner or place.owner}; BISO runs as {user or host.login}"),
        ("services", _told(services)),
        ("sudo", "is used for owners and services" if sudo else "is not needed"),
    ]
    notes = [*services_notes, *user_notes, *sudo_notes, *database_notes]
    if not production and facts.env != "dev":
        notes.append(f"env is {facts.env!r}, and BISO's anonymizer works only where it is 'dev'")
    return Seen(
        facts=seen,
        env=facts.env,
        dbname=facts.database.dbname,
        log_dbname=log,
        datadir=instance.layout.datadir,
        php=facts.php,
        lines=tuple(lines),
        notes=tuple(notes),
    )


# -- the place --

_PLACE = r"""
real=$(realpath -e -- "$1" 2>/dev/null) || { printf 'gone\0'; exit 0; }
[ -e "$real/config.php" ] || [ ! -x "$real" ] || { printf 'empty\0'; exit 0; }
printf 'there\0%s\0' "$real"
stat -c '%U:%G' -- "$real/config.php" 2>/dev/null || stat -c '%U:%G' -- "$real"
printf '\0'
id -un -- www-data 2>/dev/null || true
printf '\0'
systemctl list-units --type=service --state=running --plain --no-legend --no-pager 2>/dev/null ||
  true
printf '\0'
# A crontab of the system that starts this installation's scheduler.
grep -rlF -- "$real" /etc/crontab /etc/cron.d /var/spool/cron 2>/dev/null | head -n 1 || true
printf '\0'
up=$real
while :; do
  for name in compose.yaml compose.yml docker-compose.yaml docker-compose.yml; do
    [ ! -f "$up/$name" ] || { printf '%s' "$up"; exit 0; }
  done
  [ "$up" != / ] || exit 0
  up=$(dirname -- "$up")
done
"""


@dataclass(frozen=True, slots=True)
class _Place:
    """`webroot` is as it was given, `real` without links, `owner` who config.php belongs to,
    `www_data` the web server's user where there is one, `units` the running systemd services,
    `cron` a crontab that names the webroot, `compose` the folder of the next compose file above."""

    webroot: str
    real: str
    owner: str
    www_data: str
    units: tuple[str, ...]
    cron: str
    compose: str


def _place(host: Host, webroot: str) -> _Place:
    out = host.run(script(_PLACE, webroot)).out.decode("utf-8", "surrogateescape")
    kind, *rest = out.split("\0")
    where = f"{host.address or 'this machine'}: {webroot}"
    if kind == "gone":
        raise Refused(f"{where} is not there", hint="--webroot names the folder with config.php")
    if kind == "empty":
        raise Refused(
            f"{where} holds no config.php, so it is no webroot of BISO",
            hint="--webroot names the folder with config.php and biso-cli",
        )
    real, owner, www_data, units, cron, compose = (part.strip("\n") for part in rest)
    names = [line.split()[0] for line in units.splitlines() if line.strip()]
    running = tuple(name.removesuffix(".service") for name in names)
    return _Place(webroot, real, owner, www_data, running, cron, compose)


# -- services --

# In the order in which they are stopped: what starts work first, what answers last.
_UNITS: Final = (
    re.compile(r".*biso.*"),
    re.compile(r"apache2|httpd|nginx|lighttpd|caddy"),
    re.compile(r"php[\d.]*-fpm|php-fpm[\d.]*"),
)


def _services(host: Host, place: _Place) -> tuple[Services, list[str]]:
    notes: list[str] = []
    if place.compose:
        found = _compose(host, place)
        if found is not None:
            return found, notes
        notes.append(
            f"there is a compose file in {place.compose}, but none of its services (as far as "
            "Docker could be asked) has the webroot mounted"
        )
    stop = [unit for pattern in _UNITS for unit in place.units if pattern.fullmatch(unit)]
    cron = next((unit for unit in place.units if unit in ("cron", "crond", "cronie")), "")
    if place.cron and cron:
        stop.insert(0, cron)
        notes.append(f"{cron} is stopped for a swap, since {place.cron} starts BISO's scheduler")
    if not stop:
        notes.append("no web server that BISO could run in was found among the running services")
        return Services(), notes
    return Services(kind="systemd", stop=tuple(dict.fromkeys(stop))), notes


def _compose(host: Host, place: _Place) -> Services | None:
    """The services that have the webroot mounted, the one that looks like the web server first."""
    asked = command(
        *("docker", "compose", "--project-directory", place.compose, "config", "--format", "json")
    )
    for one in (asked, asked.as_root()):
        result = host.run(one, ok=None)
        if result.code == 0:
            break
    try:
        services = dict(json.loads(result.out)["services"])
    except (ValueError, KeyError, TypeError):
        return None

    def mounted(service: dict[str, Any]) -> bool:
        binds = (v for v in service.get("volumes", ()) if v.get("type") == "bind")
        sources = (str(bind["source"]).rstrip("/") for bind in binds)
        return any(place.real == at or place.real.startswith(f"{at}/") for at in sources)

    mine = [name for name, service in services.items() if mounted(service)]
    if not mine:
        return None
    web = next((name for name in mine if re.search(r"web|php|apache|app", name)), mine[0])
    images = ((name, str(one.get("image", ""))) for name, one in services.items())
    database = next((name for name, image in images if re.search(r"postg", image)), "")
    others = [name for name in mine if name != web]
    return Services(
        kind="compose",
        stop=(*others, web),
        directory=place.compose,
        web=web,
        database=database,
    )


def _told(services: Services) -> str:
    if services.kind == "none":
        return "none found"
    return f"{services.kind}: {', '.join(services.stop)}"


# -- the application --


def _instance(host: Host, place: _Place, run_as: str | None, services: Services) -> Instance:
    """As the first of the users who may read config.php: the one that was asked for, the login,
    the web server's, the file's owner."""
    owner = place.owner.partition(":")[0]
    users = [run_as] if run_as else [None, place.www_data or None, owner or None]
    first: BisoError | None = None
    for user in dict.fromkeys(users):
        if user and not run_as and not _may(host, command("true").as_user(user)):
            continue
        environment = Environment(
            name=host.name,
            role="test",
            webroot=place.webroot,
            run_as=None if user == host.login else user,
            services=services,
        )
        try:
            return read_instance(host, environment)
        except BisoError as error:
            first = first or error
    assert first is not None
    tried = ", ".join(dict.fromkeys(user or host.login for user in users))
    raise Refused(
        f"{host.address or 'this machine'}: {place.webroot}/config.php could not be evaluated as "
        f"{tried}: {first.message}",
        hint=f"{first.hint}; --run-as names the user that BISO runs as, by sudo -n -u",
    ) from first


# -- users and rights --


def _may(host: Host, wanted: Command) -> bool:
    """Whether a harmless command may be run through sudo. What is not granted is asked for first
    and not tried: a refusal is reported to the administrator."""
    words = wanted.words(host.login)
    if words[0] != "sudo":
        return True
    asked = Command(("sudo", "-n", "-l", *words[2:]))
    return all(host.run(one, ok=None).code == 0 for one in (asked, wanted))


def _user(host: Host, instance: Instance, run_as: str) -> tuple[str | None, str, list[str]]:
    """Who BISO runs as (None: the login), the owner of its data dir ("" where unknown), and notes.
    The data dir is written by PHP, so its owner is the one."""
    look = command("stat", "-c", "%U:%G", "--", instance.layout.datadir)
    result = host.run(look.as_user(instance.environment.run_as), ok=None)
    owner = result.text if result.code == 0 and "UNKNOWN" not in result.text else ""
    user = run_as or owner.partition(":")[0] or instance.environment.run_as or ""
    if user in ("", host.login, "root"):
        return None, owner, []
    if _may(host, command("true").as_user(user)):
        return user, owner, []
    return (
        user,
        owner,
        [f"{host.login} may not become {user} yet: `biso doctor` prints the line for sudoers"],
    )


def _sudo(host: Host, services: Services, user: str | None) -> tuple[bool, list[str]]:
    """Whether biso.toml should ask for root, and what to say about it."""
    systemd = services.kind == "systemd"
    if host.login == "root" or (user is None and not systemd):
        return False, []
    if _may(host, command("rsync", "--version").as_root()):
        return True, []
    # Without root, files simply stay with one owner; services cannot be stopped.
    note = (
        f"{host.login} may not use sudo for services and owners yet: `biso doctor` prints the lines"
    )
    return systemd, [note] if systemd else []


def _database(instance: Instance) -> tuple[str, Admin | None, list[str]]:
    """What to say of the database, and the role that creates a second one where BISO's may not."""
    dsn = instance.facts.database
    where = f"{dsn.dbname} as {dsn.user} at {dsn.host or 'the local socket'}:{dsn.port}"
    try:
        facts: ServerFacts = probe(server(instance, dsn))
    except BisoError as error:
        return where, None, [f"the database could not be reached: {error.message}"]
    locale = facts.icu_locale or facts.collate
    said = f"{where}, PostgreSQL {facts.version // 10000}, {locale}, {human(facts.bytes)}"
    if facts.createdb and facts.owner == facts.role:
        return said, None, []
    if instance.environment.services.kind == "compose":
        return said, Admin(), []
    psql = Command(("psql", "--version")).as_user("postgres")
    notes = []
    if not _may(instance.host, psql):
        notes.append(
            f"{facts.role} may not create databases, and {instance.host.login} may not run psql as "
            "postgres yet: `biso doctor` prints what to grant"
        )
    return said, Admin(user="postgres", run_as="postgres"), notes
