"""Typical mistakes in rights, ssh, services and PostgreSQL: how each is made, what doctor says of
it, and the fix, taken from what it says wherever that is something to type."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["MISTAKES", "Mistake"]


@dataclass(frozen=True)
class Mistake:
    """`says` is the line, `host | check | what → remedy`, with what differs from run to run in
    braces. `fix` is given the world and the remedy. `kind` of world; `also` counts further lines
    that the same mistake has."""

    kind: str
    make: Callable[[Any], object]
    says: str
    fix: Callable[[Any, str], object]
    also: int = 0


def quoted(remedy: str) -> list[str]:
    """What stands in backticks: to be typed as it is."""
    return re.findall(r"`([^`]+)`", remedy)


# -- fixes --


def sql(name: str) -> Callable[[Any, str], None]:
    """The first statement of the remedy, by that server's administrator."""

    def fix(world: Any, remedy: str) -> None:
        world.instances[name].cluster.rows(quoted(remedy)[0])

    return fix


def shell(world: Any, remedy: str) -> None:
    """The first command of the remedy."""
    subprocess.run(["bash", "-euc", quoted(remedy)[0]], check=True, capture_output=True)


def again(change: Callable[[Any], object]) -> Callable[[Any, str], object]:
    """Something that is done by hand and stands in no backticks."""
    return lambda world, remedy: change(world)


def site(world: Any, remedy: str = "") -> None:
    world.site()


def learn(world: Any, remedy: str) -> None:
    """Forget the old key where there is one, and take the scanned one, which a person compares."""
    for words in quoted(remedy):
        if words.startswith("ssh-keygen -R"):
            subprocess.run(["bash", "-euc", words], check=True, capture_output=True)
        if words.startswith("ssh-keyscan"):
            done = subprocess.run(["bash", "-euc", words], check=True, capture_output=True)
            file = shlex.split(remedy.rpartition("append the line to ")[2])[0]
            with open(file, "ab") as known:
                known.write(b"".join(x for x in done.stdout.splitlines(True) if b"ed25519" in x))


def sudoers(world: Any, remedy: str) -> None:
    """The lines that doctor gives, and no others: for both hosts, until it has none any more."""
    for _ in range(3):
        ran = world.run("doctor", "--json")
        for check in ran.json["checks"]:
            if not check["ok"] and check["name"].startswith("sudo as "):
                login = world.hosts[check["host"]].user
                file = next(one for one in world.sudoers if one.name == login)
                lines = check["remedy"].partition("(visudo -f): ")[2].split("; ")
                write(file, file.read_text() + "".join(f"{line}\n" for line in lines))
        if ran.code == 0:
            return


def rule(world: Any, remedy: str) -> None:
    line, reload = quoted(remedy)
    hba = world.test.cluster.folder / "data/pg_hba.conf"
    hba.write_text(f"{line}\n{hba.read_text()}")
    world.test.cluster.rows(reload)


# -- mistakes --


def write(file: Any, text: str) -> None:
    file.chmod(0o640)
    file.write_text(text)
    file.chmod(0o440)


def no_sudo(world: Any) -> None:
    for machine, file in zip(world.hosts.values(), world.sudoers, strict=True):
        write(file, f'Defaults:{machine.user} secure_path="{machine.bin}"\n')


def asked(world: Any) -> None:
    file = world.sudoers[1]
    write(file, file.read_text().replace("(postgres) NOPASSWD", "(postgres) PASSWD"))


def forgotten(world: Any) -> None:
    known = world.laptop / "known_hosts"
    known.write_text(known.read_text().splitlines(keepends=True)[0])


def exchanged(world: Any) -> None:
    known = world.laptop / "known_hosts"
    prod, test = (line.split() for line in known.read_text().splitlines())
    known.write_text(f"{' '.join(prod)}\n{test[0]} {' '.join(prod[1:])}\n")


def bashrc(text: str) -> Callable[[Any], object]:
    return lambda world: (world.hosts["test"].folder / "home/.bashrc").write_text(text)


def config(name: str, old: str, new: str) -> Callable[[Any], None]:
    def change(world: Any) -> None:
        instance = world.instances[name]
        before, after = (one.replace("PORT", str(instance.cluster.port)) for one in (old, new))
        text = instance.config.read_text()
        assert before in text
        instance.config.write_text(text.replace(before, after))

    return change


def of_root(path: str, mode: int) -> Callable[[Any], None]:
    def change(world: Any) -> None:
        at = world.prod.place / path
        os.chown(at, 0, 0)
        at.chmod(mode)

    return change


def rows(name: str, statement: str) -> Callable[[Any], object]:
    return lambda world: world.instances[name].cluster.rows(statement)


def refuse(world: Any) -> None:
    cluster = world.test.cluster
    old = (cluster.folder / "data/pg_hba.conf").read_text().splitlines()
    cluster.lets_in("host all biso_test 127.0.0.1/32 reject", *old)


def closed_above(world: Any) -> None:
    os.chown(world.test.place, 0, 0)
    world.test.place.chmod(0o755)


def unmounted(world: Any) -> None:
    shutil.move(world.prod.datadir, world.base / "away")


def mounted(world: Any) -> None:
    shutil.move(world.base / "away", world.prod.datadir)


def silent(world: Any) -> None:
    world.site(test={"url": "http://127.0.0.1:1/"})


MISTAKES: dict[str, Mistake] = {
    # -- ssh --
    "a host key that nobody has seen": Mistake(
        "admin",
        forgotten,
        "test | connection | the SSH host key of {login}@127.0.0.1:{port} is not known: it offers "
        "{key} (ssh-ed25519) → run `ssh-keyscan -p {port} 127.0.0.1`, compare the fingerprint "
        "(`| ssh-keygen -lf -`) with what the administrator of that machine says, then append the "
        "line to {known}",
        learn,
    ),
    "a host key that changed": Mistake(
        "admin",
        exchanged,
        "test | connection | the SSH host key of {login}@127.0.0.1:{port} has changed: it offers "
        "{key}, but {known} line 2 says {key_of_prod} (ssh-ed25519) → this can be an attack: ask "
        "the administrator of that machine. Only where the new fingerprint is confirmed: "
        "`ssh-keygen -R '[127.0.0.1]:{port}' -f {known}` forgets the old one; run `ssh-keyscan -p "
        "{port} 127.0.0.1`, compare the fingerprint (`| ssh-keygen -lf -`) with what the "
        "administrator of that machine says, then append the line to {known}",
        learn,
    ),
    "an alias that ssh does not know": Mistake(
        "admin",
        lambda world: world.site(test={"ssh": "gibt-es-nicht"}),
        "test | connection | cannot reach gibt-es-nicht port 22: could not resolve the name: Name "
        "or service not known → check the name in biso.toml (`ssh`) and its entry in the "
        "ssh_config",
        site,
    ),
    "a key that the host does not take": Mistake(
        "admin",
        lambda world: (world.hosts["test"].folder / "authorized_keys").write_text(""),
        "test | connection | {login}@127.0.0.1:{port} does not let us in (Authentication failed); "
        "tried: user {login}, key {laptop}/key → `ssh-copy-id -i {laptop}/key.pub -p {port} "
        "{login}@127.0.0.1` puts your public key there, where you have another way in; `ssh-add` "
        "loads an encrypted one; User and IdentityFile in the ssh_config name others",
        lambda world, remedy: shutil.copy(
            shlex.split(quoted(remedy)[0])[2], world.hosts["test"].folder / "authorized_keys"
        ),
    ),
    "a host where no sshd runs": Mistake(
        "admin",
        lambda world: world.hosts["test"].stop(),
        "test | connection | cannot reach 127.0.0.1 port {port}: Connection refused → check the "
        "port, and that sshd runs there",
        again(lambda world: world.hosts["test"].start()),
    ),
    "an exit in bashrc": Mistake(
        "admin",
        bashrc("echo Willkommen\nexit 0\n"),
        "test | connection | the shell of {login} ends before it runs a command, saying: "
        "Willkommen → take `exit` out of ~/.bashrc of {login} there and of what it reads; where "
        "the shell is nologin or the like: `chsh -s /bin/bash {login}`",
        again(bashrc("# exit 0\n")),
    ),
    "a greeting in bashrc": Mistake(
        "admin",
        bashrc("echo Willkommen\n"),
        "test | connection | the shell of {login} prints something before each command: Willkommen "
        "→ in ~/.bashrc of {login} there, and in what it reads, let only a shell with a terminal "
        "print: `case $- in *i*) ;; *) return;; esac` as its first line",
        lambda world, remedy: bashrc(f"{quoted(remedy)[0]}\necho Willkommen\n")(world),
    ),
    # -- rights --
    "no line in sudoers": Mistake(
        "admin",
        no_sudo,
        "test | sudo as postgres | not without a password for {login}: psql → put into "
        "/etc/sudoers.d/biso on that host (visudo -f): {login} ALL=(postgres) NOPASSWD: {bin}/psql",
        sudoers,
        also=4,
    ),
    "a line in sudoers that asks for a password": Mistake(
        "admin",
        asked,
        "test | sudo as postgres | not without a password for {login}: psql → put into "
        "/etc/sudoers.d/biso on that host (visudo -f): {login} ALL=(postgres) NOPASSWD: {bin}/psql",
        sudoers,
        also=3,
    ),
    "a user that the host does not have": Mistake(
        "admin",
        lambda world: world.site(test={"run_as": "www-daten"}),
        "test | sudo as www-daten | there is no user 'www-daten' on that host → correct "
        "environments.test.run_as: the user that PHP or PostgreSQL runs as there, such as www-data "
        "or postgres",
        site,
    ),
    "a webroot that is not there": Mistake(
        "admin",
        lambda world: world.site(test={"webroot": "/srv/gibt/es/nicht"}),
        "test | webroot | /srv/gibt/es/nicht is not there, or www-data may not enter it → correct "
        "environments.test.webroot, or open its folders to www-data",
        site,
    ),
    "a config.php of somebody else": Mistake(
        "plain",
        of_root("webroot/config.php", 0o600),
        "prod | config.php | {prod}/webroot/config.php cannot be read by {login}: it belongs to "
        'root:root, mode 600 → set environments.prod.run_as to who may, such as "root", or let '
        "{login} read it",
        again(of_root("webroot/config.php", 0o644)),
    ),
    "a config.php of another name": Mistake(
        "plain",
        lambda world: world.site(prod={"config": "konfiguration.php"}),
        "prod | config.php | {prod}/webroot/konfiguration.php is not there → correct "
        "environments.prod.webroot (the folder that holds it), or environments.prod.config",
        site,
    ),
    "a file that the login may not read": Mistake(
        "plain",
        of_root("data/geheim/0600.key", 0o600),
        "prod | data dir | {login} may not read {prod}/data/geheim/0600.key → make it readable for "
        "{login}, or correct `run_as` or `sudo`",
        again(of_root("data/geheim/0600.key", 0o644)),
    ),
    "no place for a stage": Mistake(
        "plain",
        closed_above,
        "test | stage directory | {login} may not make {test}/.biso-tasks-webroot, since {test} is "
        "closed to it → `install -d -m 0700 -o {login} -- {test}/.biso-tasks-webroot` as root or "
        'environments.test.stage_dir = "{test}/webroot/.biso-tasks", if no web server serves it or '
        "environments.test.sudo = true, with the line `{login} ALL=(root) NOPASSWD: {bin}/rsync, "
        "{bin}/mv, {bin}/rm, {bin}/mkdir, {bin}/chown, {bin}/chmod, {bin}/install` in sudoers",
        shell,
    ),
    "a data dir that is not mounted": Mistake(
        "plain",
        unmounted,
        "prod | places | the data dir {prod}/data is not there, or {login} may not enter it → "
        "check environments.prod in biso.toml and its config.php; a disk that is not mounted? an "
        "interrupted swap (then: biso recover)? One that is gone comes back from a set: biso "
        "restore",
        again(mounted),
    ),
    "a test instance that calls itself production": Mistake(
        "plain",
        config("test", "'dev'", "'PROD'"),
        "test | env | {test}/webroot/config.php sets env to 'PROD': this is a production instance, "
        "whatever biso.toml calls it → are two environments swapped in biso.toml? a test instance "
        "sets env to 'dev'",
        again(config("test", "'PROD'", "'dev'")),
    ),
    # -- services, programs --
    "a service of another name": Mistake(
        "admin",
        lambda world: world.site(test={"services": {"kind": "systemd", "stop": ["biso-webb"]}}),
        "test | services | there is no service 'biso-webb' on this host (did you mean "
        "'biso-web'?) → correct environments.test.services.stop in biso.toml",
        lambda world, remedy: world.site(
            test={"services": {"kind": "systemd", "stop": ["biso-web"]}}
        ),
    ),
    "a page that is not the site's": Mistake(
        "plain",
        silent,
        "test | url | http://127.0.0.1:1/ answers badly: [Errno 111] Connection refused → mend the "
        "site, or correct `url`: a swap would be taken back",
        site,
    ),
    "a biso-cli of another name": Mistake(
        "plain",
        lambda world: world.site(test={"biso_cli": ["php", "biso-clii"]}),
        "test | biso-cli | biso-cli migration list failed in {test}/webroot (exit 1): Could not "
        "open input file: biso-clii → run it there as {login}: `cd {test}/webroot && php biso-clii "
        "migration list`; it is started as environments.test.biso_cli says",
        site,
    ),
    "no PHP on the command line": Mistake(
        "plain",
        lambda world: world.hosts["prod"].take_away("php"),
        "prod | config.php | there is no `php` to evaluate config.php with → `apt install php-cli` "
        'there, or name its program: environments.prod.php = ["/path/to/php"] in biso.toml',
        again(lambda world: world.hosts["prod"].link_programs()),
    ),
    "no flock": Mistake(
        "plain",
        lambda world: world.hosts["test"].take_away("flock"),
        "test | flock | not there, so no lock can be held → apt install util-linux",
        again(lambda world: world.hosts["test"].link_programs()),
    ),
    # -- PostgreSQL --
    "a password that the server does not know": Mistake(
        "plain",
        rows("prod", "ALTER ROLE biso PASSWORD 'ein anderes'"),
        "prod | database | cannot connect to database 'biso' as 'biso' at 127.0.0.1:{pg_prod} of "
        'prod: password authentication failed for user "biso" → write the password that the server '
        'knows into config.php, or give the role the one that stands there: `\\password "biso"` '
        "in psql, as an administrator of that server",
        again(
            lambda world: world.prod.cluster.rows(
                "ALTER ROLE biso PASSWORD '{}'".format(world.prod.password.replace("'", "''"))
            )
        ),
    ),
    "a role that may not create databases": Mistake(
        "plain",
        rows("test", "ALTER ROLE biso_test NOCREATEDB"),
        "test | right to create databases | the role 'biso_test' may not create databases on test "
        '→ `ALTER ROLE "biso_test" CREATEDB`, or set `admin = {{ user = "postgres", run_as = '
        '"postgres" }}`',
        sql("test"),
    ),
    "a role that may not log in": Mistake(
        "plain",
        rows("test", "ALTER ROLE biso_test NOLOGIN"),
        "test | database | cannot connect to database 'biso_test' as 'biso_test' at "
        '127.0.0.1:{pg_test} of test: role "biso_test" is not permitted to log in → `ALTER ROLE '
        '"biso_test" LOGIN` there, or correct the user in config.php',
        sql("test"),
    ),
    "a role with too few connections": Mistake(
        "plain",
        rows("test", "ALTER ROLE biso_test CONNECTION LIMIT 3"),
        "test | connections | the role 'biso_test' has 2 connections left on test and 4 are needed "
        '→ `ALTER ROLE "biso_test" CONNECTION LIMIT -1`',
        sql("test"),
    ),
    "a role that may not connect": Mistake(
        "plain",
        rows("test", "REVOKE CONNECT ON DATABASE biso_test FROM PUBLIC, biso_test"),
        "test | database | cannot connect to database 'biso_test' as 'biso_test' at "
        '127.0.0.1:{pg_test} of test: permission denied for database "biso_test" → `GRANT CONNECT '
        'ON DATABASE "biso_test" TO "biso_test"` there',
        sql("test"),
    ),
    "a rule in pg_hba.conf that refuses": Mistake(
        "plain",
        refuse,
        "test | database | cannot connect to database 'biso_test' as 'biso_test' at "
        '127.0.0.1:{pg_test} of test: pg_hba.conf rejects connection for host "127.0.0.1", user '
        '"biso_test", database "biso_test", no encryption → put `host all "biso_test" '
        "127.0.0.1/32 scram-sha-256` above what refuses it in pg_hba.conf there, then `SELECT "
        "pg_reload_conf()`",
        rule,
    ),
    "a database that is not there": Mistake(
        "plain",
        config("prod", "'biso',\n    \"user\"", "'biso_weg',\n    \"user\""),
        "prod | database | cannot connect to database 'biso_weg' as 'biso' at 127.0.0.1:{pg_prod} "
        'of prod: database "biso_weg" does not exist → correct dbname; `recover` allows '
        "connections again after an interrupted swap, `restore` brings back a database that is "
        "gone",
        again(config("prod", "'biso_weg',\n    \"user\"", "'biso',\n    \"user\"")),
    ),
    "a port where no server listens": Mistake(
        "plain",
        config("test", "PORT", "1"),
        "test | database | the database's 127.0.0.1 port 1 cannot be reached there: Connection "
        "refused → check host and port of the database in config.php, and that it runs",
        again(lambda world: world.test.write_config()),
    ),
    "a locale that the server does not have": Mistake(
        "admin",
        lambda world: world.site(test={"database": {"locale": "xx_YY.utf8"}}),
        "test | locale | the server of test does not know the locale 'xx_YY.utf8' → generate it "
        "there (`locale-gen`) and restart PostgreSQL, or set `locale` for the environment",
        lambda world, remedy: world.site(test={"database": {"locale": "C.UTF-8"}}),
    ),
    "a database of the stage's name": Mistake(
        "plain",
        rows("test", "CREATE DATABASE biso_test__stage OWNER biso_test"),
        "test | stage database | a database 'biso_test__stage' exists already on test → another "
        "run's stage, or a leftover; `recover` removes it",
        lambda world, remedy: world.run(quoted(remedy)[0], "--yes"),
    ),
    "a table to keep that is not there": Mistake(
        "plain",
        lambda world: world.site(refresh={"keep_tables": ["benutzerr"]}),
        "test | refresh | keep_tables: there is no table 'benutzerr' in the test instance → "
        "correct it in [refresh]",
        site,
    ),
}
