"""One instance of the demo: its code, its config.php, its role and database, its files."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from biso_tasks.demo.data import HARMLESS, PLANTED, log_database_sql, records
from biso_tasks.demo.postgres import Cluster, load_cluster, start_cluster
from biso_tasks.demo.process import DemoError, run
from biso_tasks.demo.tree import write_tree
from biso_tasks.values import Secret

__all__ = [
    "ALIASES",
    "NAMES",
    "Instance",
    "Name",
    "add_log_database",
    "find_instance",
    "raise_instance",
    "write",
]

Name = Literal["prod", "test"]
NAMES: tuple[Name, Name] = ("prod", "test")
ALIASES = ("biso-demo-prod", "biso-demo-test")

_APP = Path(__file__).parent / "bisoapp"
_NO_LOG = "// Config::set('log.db', ['dbname' => 'biso_log']);"


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance. `ssh` is the alias of its host, "" where that is this machine."""

    name: Name
    ssh: str
    webroot: Path
    datadir: Path
    dbname: str
    user: str
    cluster: Cluster
    php: Path

    def psql(self, sql: str, *, dbname: str | None = None) -> str:
        """Run SQL as the superuser in the instance's database. Raises DemoError."""
        return self.cluster.psql(sql, dbname=dbname or self.dbname)

    def biso_cli(self, *arguments: str) -> str:
        """Run the instance's biso-cli and give what it printed. Raises DemoError."""
        done = run([self.php, "biso-cli", *arguments], cwd=self.webroot)
        return done.stdout.decode()


def raise_instance(
    demo: Path,
    name: Name,
    bins: Path,
    scale: float,
    log_database: bool,
    fresh: bool,
) -> None:
    """Bring one instance up; a fresh one gets its code, its role, its database and its files."""
    place = demo / name
    before = load_cluster(place / "postgres")
    cluster = start_cluster(place / "postgres", bins=bins)
    instance = find_instance(demo, name, False)
    if not fresh:
        if before is not None and before.port != cluster.port:
            password = _password()
            cluster.psql(f"ALTER ROLE {instance.user} PASSWORD {_literal(password)}")
            _write_config(instance, password, log_database)
        return
    _copy_webroot(instance)
    password = _password()
    cluster.psql(
        f"CREATE ROLE {instance.user} LOGIN CREATEDB PASSWORD {_literal(password)};\n"
        "CREATE ROLE biso_statistik NOLOGIN;\n"
        f"CREATE DATABASE {instance.dbname} OWNER {instance.user};\n"
        + (f"CREATE DATABASE biso_log OWNER {instance.user};\n" if log_database else "")
    )
    _write_config(instance, password, log_database)
    persons = max(1, round(2000 * scale * (1 if name == "prod" else 0.05)))
    first, seed = (PLANTED, 1) if name == "prod" else (HARMLESS, 2)
    made = records(f"demo-{name}", persons=persons, first=first, seed=seed)
    instance.datadir.mkdir(parents=True)
    write_tree(instance.datadir, name, first, made.attachments)
    instance.biso_cli("migration", "exec")
    instance.psql(
        f"SET ROLE {instance.user};\n{made.sql}"
        "GRANT SELECT ON v_offene_faelle TO biso_statistik;\n"
        f"ALTER DATABASE {instance.dbname} SET timezone = 'Europe/Zurich';\n"
    )
    if log_database:
        entries = max(10, persons // 2)
        instance.psql(
            f"SET ROLE {instance.user};\n{log_database_sql(entries=entries)}", dbname="biso_log"
        )


def add_log_database(instance: Instance, entries: int = 20) -> None:
    """Give an instance that was built without one a log database `biso_log`. Raises DemoError."""
    instance.psql(f"CREATE DATABASE biso_log OWNER {instance.user}", dbname="postgres")
    instance.psql(
        f"SET ROLE {instance.user};\n{log_database_sql(entries=entries)}", dbname="biso_log"
    )
    config = instance.webroot / "config.php"
    named = "Config::set('log.db', ['dbname' => 'biso_log'] + Config::get('gaia.db'));"
    config.write_text(config.read_text("utf-8").replace(_NO_LOG, named), "utf-8")


def find_instance(demo: Path, name: Name, over_ssh: bool) -> Instance:
    """The instance as it was built below the folder `demo`. Raises DemoError when it is gone."""
    place = demo / name
    cluster = load_cluster(place / "postgres")
    if cluster is None:
        raise DemoError(f"the demo's {name} database is gone", hint="./biso demo --clean")
    production = name == "prod"
    webroot = place / "webroot"
    return Instance(
        name=name,
        ssh=ALIASES[0 if production else 1] if over_ssh else "",
        webroot=webroot,
        datadir=place / "data" if production else webroot / "data",
        dbname="biso" if production else "biso_test",
        user="biso" if production else "biso_test",
        cluster=cluster,
        php=demo / "bin" / "php",
    )


def _copy_webroot(instance: Instance) -> None:
    """The code. Test's is one migration ahead of production's, as it is before a release."""
    shutil.copytree(_APP / "webroot", instance.webroot, copy_function=shutil.copyfile)
    (instance.webroot / "biso-cli").chmod(0o755)
    if instance.name == "prod":
        max((instance.webroot / "migrations").glob("*.sql")).unlink()


def _write_config(instance: Instance, password: Secret, log_database: bool) -> None:
    text = (_APP / f"config.{instance.name}.php").read_text("utf-8")
    log = _NO_LOG
    if log_database:
        log = (
            "Config::set('log.db', ['dbname' => 'biso_log'] + "
            f"['host' => '127.0.0.1', 'port' => {instance.cluster.port}, "
            f"'user' => {_php(instance.user)}, 'password' => {_php(password.reveal())}]);"
        )
    values = {
        "@PORT@": str(instance.cluster.port),
        "@DBNAME@": _php(instance.dbname),
        "@USER@": _php(instance.user),
        "@LOGDB@": log,
        "@PASSWORD@": _php(password.reveal()),  # last: it may look like a placeholder
    }
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    config = instance.webroot / "config.php"
    write(config, text)
    config.chmod(0o640)


def _password() -> Secret:
    # what breaks in pgpass files, shells, SQL, PHP strings and URLs
    return Secret(f"ä'\"\\:$x #%@/{secrets.token_urlsafe(12)}")


def _literal(password: Secret) -> str:
    return "'" + password.reveal().replace("'", "''") + "'"


def _php(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
