"""What `doctor` says of one environment: its host, sudo, config.php, files, databases and, where
something is swapped in, services, url and the place for the stage.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial

from biso_tasks.actions.doctor.checklist import Looked, Sheet
from biso_tasks.actions.doctor.exchanging import check_swap
from biso_tasks.actions.doctor.jobs import check_jobs
from biso_tasks.actions.doctor.sudoers import check_sudo
from biso_tasks.actions.staged.absent import exists
from biso_tasks.config.model import Environment
from biso_tasks.database.admin import admin
from biso_tasks.database.client import require_passable
from biso_tasks.database.facts import Client, ServerFacts, probe
from biso_tasks.database.server import Server
from biso_tasks.database.stage_role import stage_role, why_none
from biso_tasks.errors import BisoError
from biso_tasks.files.space import human
from biso_tasks.host.command import script
from biso_tasks.host.protocol import Host
from biso_tasks.host.shell import require_shell
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import require_live
from biso_tasks.instance.unanswered import closed_webroot
from biso_tasks.session import Session
from biso_tasks.stage import guards
from biso_tasks.stage.model import access, staged

__all__ = ["dotted", "look"]

_TOOLS = r"""
printf 'bash %s\n' "${BASH_VERSION%%(*}"
for name in rsync flock; do
  type -P "$name" >/dev/null || { printf '%s \n' "$name"; continue; }
  printf '%s %s\n' "$name" "$("$name" --version 2>/dev/null | head -n 1 || true)"
done
for name in realpath stat du df sync install find tar cp mv timeout; do
  type -P "$name" >/dev/null || printf 'missing %s\n' "$name"
done
"""
_CLOCK = "date +%s.%N"
# A dangling link is no file that cannot be read; what no copy takes along need not be readable.
_UNREADABLE = r"""
find "$1" -path "$1/tmp" -prune -o -name '*.log' -prune -o -type "$2" \
  \( ! -readable -o -type d ! -executable \) -print -quit 2>/dev/null || true
"""


def look(session: Session, name: str, task: str, *, writes: bool, anonymize: bool) -> Looked:
    """All lines of one environment; with `writes`, what only matters where `task` changes it."""
    found = Looked(Sheet(name), session.environment(name))
    try:
        _look(found, session, task, writes=writes, anonymize=anonymize)
    except BisoError as error:  # the connection was lost in the middle
        found.sheet.bad("connection", error.message, error.hint)
    return found


def _look(found: Looked, session: Session, task: str, *, writes: bool, anonymize: bool) -> None:
    sheet, environment, name = found.sheet, found.environment, found.environment.name
    host = sheet.attempt("connection", lambda: _connected(session, name), _where)
    if host is None or not _tools(sheet, host):
        return
    found.host = host
    found.clock = _clock(host)
    hold = session.site.backup.hold if task == "backup" else None
    granted = check_sudo(sheet, host, environment, writes=writes, hold=hold)
    found.root_granted = granted.get("root", True)
    user = environment.host_user
    if user and not granted.get(user, True):
        return  # config.php, biso-cli and all files are looked at as that user
    if not _webroot(sheet, host, environment):
        return
    instance = sheet.attempt("config.php", lambda: session.instance(name), _config)
    if instance is None:
        return
    found.instance = instance
    if not _places(sheet, instance, anonymize=anonymize):
        return
    skipped = writes and session.site.refresh.log_database == "skip"
    found.databases = _databases(sheet, instance, writes=writes, skipped=skipped)
    # Without its database BISO answers nothing, and its page badly: that is one problem, not three.
    if found.databases:
        asked = sheet.attempt("biso-cli", instance.app.pending_migrations, _pending)
        found.answers = asked is not None
    _data_dir(sheet, instance)
    check_jobs(sheet, instance, writes=writes)
    if writes:
        check_swap(sheet, session, instance, task, answers=bool(found.databases))


def _webroot(sheet: Sheet, host: Host, environment: Environment) -> bool:
    """Whether it can be entered: what PHP says of one that is not there misleads. A line only where
    it cannot."""
    enter = script('cd -- "$1"', environment.webroot).as_user(environment.host_user)
    if host.run(enter, ok=None).code == 0:
        return True
    closed = closed_webroot(host, environment)
    sheet.bad("webroot", closed.message, closed.hint)
    return False


def _config(instance: Instance) -> str:
    environment, facts = instance.environment, instance.facts
    without = "" if facts.pgsql else ", which has no pgsql extension"
    return f"{environment.webroot}/{environment.config}, run by PHP {facts.php}{without}"


def _connected(session: Session, name: str) -> Host:
    host = session.host(name)
    require_shell(host)
    return host


def _where(host: Host) -> str:
    return f"{host.address}, host key known" if host.address else f"this machine, as {host.login}"


def _tools(sheet: Sheet, host: Host) -> bool:
    try:
        lines = host.run(script(_TOOLS)).text.splitlines()
    except BisoError as error:
        sheet.bad("tools", error.message, error.hint or "install bash and coreutils there")
        return False
    versions = dict(line.partition(" ")[::2] for line in lines if not line.startswith("missing "))
    missing = [line.partition(" ")[2] for line in lines if line.startswith("missing ")]
    if missing:
        sheet.bad(
            "tools", f"not there: {', '.join(missing)}", "apt install coreutils findutils tar"
        )
    else:
        sheet.good("tools", f"bash {versions['bash']}, GNU coreutils")
    if versions.get("flock"):
        sheet.good("flock", versions["flock"].removeprefix("flock from "))
    else:
        sheet.bad("flock", "not there, so no lock can be held", "apt install util-linux")
    rsync = re.search(r"version v?(\S+)", versions.get("rsync", ""))
    sheet.good("rsync", f"rsync {rsync[1]}" if rsync else "not there: a tar stream will be used")
    return True


def _clock(host: Host) -> float | None:
    """How many seconds the host's clock is ahead of this machine's."""
    before = time.time()
    result = host.run(script(_CLOCK), ok=None)
    middle = (before + time.time()) / 2
    try:
        return float(result.text) - middle
    except ValueError:
        return None


def _places(sheet: Sheet, instance: Instance, *, anonymize: bool) -> bool:
    """Whether webroot and data dir are there."""
    facts, layout, environment = instance.facts, instance.layout, instance.environment
    sheet.guard(
        "env",
        partial(guards.env_fits, instance, anonymize=anonymize),
        f"config.php says {facts.env!r}, which fits the role {environment.role}",
    )
    mount = " (a mount point)" if layout.datadir_is_mount else ""
    places = f"webroot {layout.webroot}, data dir {layout.datadir}{mount}"
    return sheet.guard("places", partial(require_live, layout, environment), places)


def _data_dir(sheet: Sheet, instance: Instance) -> None:
    """Whether everything in it can be read."""
    layout, files = instance.layout, access(instance)
    # As root nothing is closed to rsync, but folders are still listed as the application's user.
    find = files.reader(script(_UNREADABLE, layout.datadir, "d" if files.root else "f,d"))
    closed = sheet.attempt(
        "data dir",
        lambda: instance.host.run(find, timeout=600).text,
        lambda path: "" if path else f"{layout.user} can read everything in it",
    )
    if closed:
        remedy = f"make it readable for {layout.user}, or correct `run_as` or `sudo`"
        sheet.bad("data dir", f"{layout.user} may not read {closed}", remedy)


def _pending(lines: Sequence[str]) -> str:
    return f"answers; pending migrations: {len(lines)}" if lines else "answers; nothing is pending"


def _databases(
    sheet: Sheet, instance: Instance, *, writes: bool, skipped: bool
) -> tuple[ServerFacts, ...]:
    """`skipped`: nothing takes the place of a log database, so that it need not be there."""
    found: list[ServerFacts] = []
    for number, database in enumerate(staged(instance)):
        label, one = "log database" if number else "database", database.server
        if number and skipped and sheet.attempt(label, partial(exists, one), _absent(one)) is False:
            break
        facts = sheet.attempt(label, partial(_probed, one), partial(_database, one))
        if facts is None:
            break  # what follows is matched to the other side by its number
        found.append(facts)
        if not number:
            _clients(sheet, facts)
        if writes and one.admin_user is not None:
            sheet.attempt(f"admin of the {label}", partial(_admin, one), "answers as {}".format)
        if writes and instance.environment.role == "test":
            sheet.attempt(f"stage of the {label}", partial(why_none, one), partial(_whose, one))
    return tuple(found)


def _probed(server: Server) -> ServerFacts:
    require_passable(server)
    return probe(server)


def _absent(server: Server) -> Callable[[bool], str]:
    said = f'{server.dsn.dbname} does not exist, and is left out: log_database is "skip"'
    return lambda there: "" if there else said


def _database(server: Server, facts: ServerFacts) -> str:
    place = f"{server.dsn.host or 'the local socket'}:{server.dsn.port}"
    return (
        f"PostgreSQL {dotted(facts.version)}, {facts.dbname} with {human(facts.bytes)} "
        f"as {facts.role} at {place}"
    )


def _admin(server: Server) -> str:
    with admin(server) as role:
        role.rows("SELECT 1 AS one")
        return role.user


def _whose(server: Server, why: str) -> str:
    own = stage_role(server).name
    if not why:
        return f"belongs to a role of its own, {own}, until it is proven"
    return f"belongs to {server.dsn.user}, whose password opens it before it is proven: {why}"


def _clients(sheet: Sheet, facts: ServerFacts) -> None:
    if facts.clients:
        sheet.good("client programs", "; ".join(_client(one) for one in facts.clients))
    else:
        sheet.bad("client programs", "no psql and no pg_dump", "apt install postgresql-client")


def _client(one: Client) -> str:
    versions = (("psql", one.psql), ("pg_dump", one.pg_dump))
    parts = [f"{name} {at[0]}.{at[1]}" for name, at in versions if at is not None]
    return ", ".join(parts) + (f" in {one.bindir}" if one.bindir else "")


def dotted(number: int) -> str:
    """server_version_num as people write it: 150018 is 15.18."""
    return f"{number // 10000}.{number % 10000}"
