"""`doctor`, on a real pair of instances, and real sudo for an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from biso_tasks.actions.doctor import environment as doctor_environment
from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.actions.doctor.checks import checks
from biso_tasks.actions.doctor.pair import topic
from biso_tasks.actions.doctor.sudoers import (
    SudoRule,
    check_sudo,
    may_without_password,
    sudo_rules,
    sudoers_lines,
)
from biso_tasks.config.load import load
from biso_tasks.config.model import Admin, Database, Environment, Services, Site
from biso_tasks.database.facts import Client, Extension, ServerFacts
from biso_tasks.database.pair import check_pair
from biso_tasks.demo import site as demo
from biso_tasks.demo.site import DemoSite
from biso_tasks.errors import UsageError
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.types import Check
from biso_tasks.host import Command, LocalHost, Result, script
from biso_tasks.session import Session

REPOSITORY = Path(__file__).parents[2]
real = pytest.mark.real


# -- on a real pair of instances --


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSite]:
    folder = tmp_path_factory.mktemp("doctor") / "eine Stelle"
    folder.mkdir()
    made = demo.build(folder, ssh=False, scale=0.01, log_database=True)
    shutil.copy(REPOSITORY / "biso.toml", folder)
    yield made
    demo.clean(folder)


@pytest.fixture
def site(built: DemoSite, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("PATH", built.environ()["PATH"])
    return load(built.root / "biso.toml")


def with_environment(site: Site, name: str, **changes: Any) -> Site:
    return replace(
        site,
        environments=tuple(
            replace(one, **changes) if one.name == name else one for one in site.environments
        ),
    )


def run(site: Site, task: str = "refresh-test", plugin: ModuleType | None = None) -> list[Check]:
    hooks = PluginManager(say=lambda text: None)
    hooks.load((), (), [plugin] if plugin else [], root=site.root)
    with Session(site, hooks, say=lambda text: None) as session:
        return list(checks(session, task))


def bad(found: list[Check]) -> list[Check]:
    return [one for one in found if not one.ok]


def named(found: list[Check], host: str, name: str) -> Check:
    (one,) = [one for one in found if (one.host, one.name) == (host, name)]
    return one


def state_of(built: DemoSite) -> list[str]:
    """Everything that a look must leave as it is: files with their times, databases, roles."""
    files = sorted(
        f"{path} {path.lstat().st_mode} {path.lstat().st_mtime_ns}"
        for instance in (built.prod, built.test)
        for path in (*instance.webroot.rglob("*"), *instance.webroot.parent.iterdir())
        if "postgres" not in str(path)
    )
    databases = [
        instance.psql("SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database")
        for instance in (built.prod, built.test)
    ]
    return [*files, *databases]


@real
@pytest.mark.needs("postgresql", "php")
class TestOnARealSite:
    def test_a_site_that_is_well_passes_with_measured_facts(self, site: Site, built: DemoSite):
        before = state_of(built)
        found = run(site)
        assert bad(found) == []
        version = built.prod.psql("SHOW server_version").split()[0]
        assert f"PostgreSQL {version}, biso with" in named(found, "prod", "database").detail
        assert version in named(found, "test", "versions").detail
        assert "pg_dump" in named(found, "prod", "client programs").detail
        assert "free in" in named(found, "test", "room for a second copy").detail
        assert "needed" in named(found, "test", "room for a second copy").detail
        assert named(found, "prod", "biso-cli").detail == "answers; nothing is pending"
        assert named(found, "prod", "env").detail.startswith("config.php says 'PROD'")
        assert "one host" in named(found, "test", "route").detail
        assert len({(one.host, one.name) for one in found}) == len(found)
        assert state_of(built) == before

    def test_no_line_holds_a_password(self, site: Site, built: DemoSite):
        text = " ".join(f"{one.detail} {one.remedy}" for one in run(site))
        config = (built.prod.webroot / "config.php").read_text()
        assert "ä'" not in text
        assert "password" in config  # there is one to be leaked

    def test_one_broken_environment_does_not_hide_the_other(self, site: Site):
        found = run(with_environment(site, "test", webroot="/nowhere/at all"))
        (line,) = bad(found)
        assert (line.host, line.name) == ("test", "webroot")
        assert "/nowhere/at all is not there" in line.detail
        assert line.remedy
        assert named(found, "prod", "database").ok
        # What needs the instance is left out; it would only say the same again.
        assert {one.name for one in found if one.host == "test"} == {
            *("connection", "tools", "flock", "rsync", "webroot", "clocks", "route"),
        }

    @pytest.mark.needs("ssh")
    def test_an_unreachable_host_is_one_line(self, site: Site):
        found = run(with_environment(site, "prod", ssh="nobody@127.0.0.1:1"))
        (line,) = bad(found)
        assert (line.host, line.name) == ("prod", "connection")
        assert "127.0.0.1" in line.detail
        assert line.remedy
        assert [one for one in found if one.host == "prod"] == [line]
        assert named(found, "test", "database").ok

    def test_production_as_the_target_is_said_twice_over(self, site: Site):
        swapped = replace(site, refresh=replace(site.refresh, from_="test", to="prod"))
        lines = bad(run(swapped))
        assert ("", "roles") in {(one.host, one.name) for one in lines}
        # and by what config.php says, whatever the roles in biso.toml
        lied = with_environment(with_environment(swapped, "prod", role="test"), "test", role="test")
        (line,) = [one for one in bad(run(lied)) if one.name == "env"]
        assert "production instance, whatever biso.toml calls it" in line.detail

    def test_an_environment_that_is_not_there_is_named(self, site: Site):
        lost = replace(site, refresh=replace(site.refresh, to="testt"))
        (line,) = bad(run(lost))
        assert "'testt'" in line.detail
        assert "[environments.testt]" in line.remedy

    def test_one_instance_under_two_names_is_no_pair(self, site: Site, built: DemoSite):
        twice = with_environment(site, "test", webroot=str(built.prod.webroot))
        lines = {one.name: one for one in bad(run(twice))}
        assert "both have the same webroot" in lines["two instances"].detail

    def test_a_stage_that_was_left_behind_names_recover(self, site: Site, built: DemoSite):
        built.test.psql(f"CREATE DATABASE biso_test__stage OWNER {built.test.user}")
        try:
            (line,) = bad(run(site))
        finally:
            built.test.psql("DROP DATABASE biso_test__stage")
        assert line.name == "stage database"
        assert "`recover` removes it" in line.remedy

    def test_an_interrupted_swap_names_recover(self, site: Site):
        hooks = PluginManager(say=lambda text: None)
        hooks.load((), (), [], root=site.root)
        with Session(site, hooks, say=lambda text: None) as session:
            state = session.instance("test").state
            state.prepare()
            state.write("intent", {"run": "r1", "at": "yesterday"})
            try:
                (line,) = bad(list(checks(session, "refresh-test")))
            finally:
                state.remove("intent")
                state.tidy()
        assert line.name == "swap"
        assert "run r1" in line.detail
        assert "biso recover" in line.remedy

    def test_a_role_that_may_not_create_databases_gets_its_statement(
        self, site: Site, built: DemoSite
    ):
        built.test.psql(f"ALTER ROLE {built.test.user} NOCREATEDB")
        try:
            lines = bad(run(site))
        finally:
            built.test.psql(f"ALTER ROLE {built.test.user} CREATEDB")
        assert {one.name for one in lines} == {
            "right to create databases",
            "right to create databases of the log database",
        }
        assert f'ALTER ROLE "{built.test.user}" CREATEDB' in lines[0].remedy
        assert "may not create databases" in lines[0].detail

    def test_a_database_that_does_not_answer_costs_only_what_needs_it(
        self, site: Site, built: DemoSite
    ):
        found = run(with_environment(site, "test", database=Database(port=1)))
        (line,) = bad(found)
        assert (line.host, line.name) == ("test", "database")
        names = {one.name for one in found if one.host == "test"}
        assert {"services", "stage directory", "transfer"} <= names
        assert not {"versions", "two instances", "code"} & names

    def test_a_site_that_does_not_answer_is_said(self, site: Site):
        (line,) = bad(run(with_environment(site, "test", url="http://127.0.0.1:1/")))
        assert line.name == "url"
        assert "answers badly" in line.detail

    def test_a_biso_cli_that_fails_is_said(self, site: Site):
        (line,) = bad(run(with_environment(site, "prod", biso_cli=("false",))))
        assert (line.host, line.name) == ("prod", "biso-cli")

    @pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second filesystem")
    def test_a_stage_directory_on_another_filesystem_is_said(self, site: Site):
        (line,) = bad(run(with_environment(site, "test", stage_dir="/dev/shm/biso-stage")))
        assert line.name == "stage directory"
        assert "another filesystem" in line.detail

    def test_a_stage_directory_in_a_webroot_of_the_site_is_said(self, site: Site, built: DemoSite):
        inside = f"{built.prod.webroot}/stage"
        (line,) = bad(run(with_environment(site, "test", stage_dir=inside)))
        assert line.name == "stage directory"
        assert "webroot of prod" in line.detail
        assert "before it is anonymised" in line.detail or "not anonymised yet" in line.detail

    def test_a_service_that_does_not_exist_is_said(self, site: Site, tmp_path, monkeypatch):
        fake = tmp_path / "systemctl"
        fake.write_text("#!/bin/sh\necho unknown\nexit 4\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        services = Services(kind="systemd", stop=("nosuch",))
        (line,) = bad(run(with_environment(site, "test", services=services)))
        assert line.name == "services"
        assert "'nosuch'" in line.detail

    def test_checks_of_plugins_are_shown_and_one_that_raises_is_a_failed_one(self, site: Site):
        found = run(site, plugin=_plugin("own", "return [Check('', 'mail server', True, 'up')]"))
        assert named(found, "", "mail server").detail == "up"
        found = run(site, plugin=_plugin("own", "raise OSError('no route')"))
        (line,) = bad(found)
        assert "no route" in line.detail

    def test_a_rollback_needs_a_previous_instance(self, site: Site):
        (line,) = bad(run(site, "rollback"))
        assert line.name == "previous instance"

    def test_a_restore_needs_no_test_environment_where_there_is_none(self, site: Site):
        alone = tuple(one for one in site.environments if one.role == "production")
        found = run(replace(site, environments=alone), "restore")
        assert {one.host for one in found} == {"", "prod"}
        assert [one.name for one in bad(found)] == ["backup sets"], "none was made yet"

    def test_anonymising_in_place_needs_one_environment(self, site: Site):
        found = run(site, "anonymize")
        assert bad(found) == []
        assert {one.host for one in found} == {"", "test"}

    def test_an_unknown_task_names_those_that_there_are(self, site: Site):
        with pytest.raises(UsageError) as caught:
            run(site, "refresh")
        assert "refresh-test" in caught.value.hint


@real
@pytest.mark.needs("postgresql", "php", "ssh", "sshd", "rsync")
def test_over_ssh_a_host_key_that_is_not_known_is_one_line(tmp_path: Path):
    made = demo.build(tmp_path, ssh=True, scale=0.01)
    try:
        shutil.copy(REPOSITORY / "biso.toml", tmp_path)
        site = load(tmp_path / "biso.toml")
        found = run(site)
        assert bad(found) == []
        assert "host key known" in named(found, "prod", "connection").detail
        assert named(found, "test", "transfer").detail.startswith("rsync on both ends")
        known = tmp_path / "known_hosts"
        lines = (made.home / "ssh/known_hosts").read_text().splitlines(keepends=True)
        known.write_text("".join(one for one in lines if one.startswith(made.test.ssh)))
        found = run(replace(site, ssh=replace(site.ssh, known_hosts=str(known))))
        (line,) = bad(found)
        assert (line.host, line.name) == ("prod", "connection")
        assert "host key" in line.detail
        assert "ssh-keyscan" in line.remedy
        assert named(found, "test", "database").ok
    finally:
        demo.clean(tmp_path)


def _plugin(name: str, body: str) -> ModuleType:
    module = ModuleType(name)
    exec(  # the way a plugin's file would be
        "from biso_tasks.hooks.specs import hookimpl\nfrom biso_tasks.hooks.types import Check\n"
        f"@hookimpl\ndef biso_checks(site):\n    {body}\n",
        module.__dict__,
    )
    return module


# -- what check_pair finds --


def facts(**changes: Any) -> ServerFacts:
    plain = ServerFacts(
        server="test", version=150018, dbname="biso", encoding="UTF8", collate="C.utf8",
        ctype="C.utf8", provider="c", icu_locale=None, icu_rules=None, bytes=1, owner="biso",
        role="biso", superuser=False, createdb=True, has_admin=False, extensions=(), available=(),
        locales=frozenset({"C.utf8"}), icu=False, databases=frozenset(),
        clients=(Client("", (15, 18), (15, 18), True),), connections_left=20, large_objects=0,
        event_triggers=(), prepared=0,
    )  # fmt: skip
    return replace(plain, **changes)


ICU = {"provider": "i", "icu_locale": "de-CH"}
TRUSTED = (("psql_ext", False),)


@pytest.mark.parametrize(
    ("source", "target", "name"),
    [
        ({"extensions": (Extension("pg_dump psql", "1", "public", True),)}, {}, "extensions"),
        ({"extensions": (Extension("psql_ext", "1", "public", False),)}, {"available": TRUSTED},
         "extensions"),
        ({"collate": "de_CH.utf8"}, {}, "locale"),
        (ICU, {}, "locale"),
        ({"provider": "b", "icu_locale": "C.UTF-8"}, {}, "locale"),
        ({}, {"createdb": False}, "right to create databases"),
        ({}, {"owner": "postgres"}, "right to create databases"),
        ({"version": 170000}, {}, "versions"),
        ({"clients": ()}, {}, "versions"),
        ({}, {"clients": (Client("", None, None, False),)}, "versions"),
        ({}, {"clients": (Client("", (15, 2), (15, 2), True),)}, "versions"),
        ({}, {"databases": frozenset({"locale: 'psql'__stage"})}, "stage database"),
        ({}, {"dbname": "locale: 'psql'__stage"}, "stage database"),
        ({}, {"connections_left": 1}, "connections"),
        ({}, {"prepared": 2}, "prepared transactions"),
    ],
)  # fmt: skip
def test_every_problem_of_a_pair_has_its_topic(source, target, name):
    problems = check_pair(facts(**source), facts(**target), stage="locale: 'psql'__stage")
    assert [topic(problem) for problem in problems] == [name]


# -- files --


@dataclass
class As:
    """This machine as another login, as an SSH server would start its commands."""

    login: str
    inner: LocalHost

    name = "test"
    address = ""

    def run(self, command: Command, **options: Any) -> Result:
        words = command.words(self.login)
        become = ("setpriv", f"--reuid={self.login}", f"--regid={self.login}", "--init-groups")
        return self.inner.run(Command((*become, "--", *words)), **options)


@pytest.fixture
def become() -> Iterator[Callable[[str], Any]]:
    inner = LocalHost("test")
    yield lambda login: As(login, inner)
    inner.close()


@real
@pytest.mark.needs("root", "setpriv")
def test_the_first_file_that_cannot_be_read_is_found(become):
    with tempfile.TemporaryDirectory(prefix="biso tree ") as made:
        tree = Path(made)
        tree.chmod(0o755)
        (tree / "tmp").mkdir()
        for name in ("tmp/secret", "app.log", "ä 'b'"):
            (tree / name).touch(mode=0o600)
        (tree / "dangling").symlink_to("nowhere")
        look = script(doctor_environment._UNREADABLE, str(tree), "f,d")
        assert become("www-data").run(look).text == str(tree / "ä 'b'")
        (tree / "ä 'b'").chmod(0o644)
        assert become("www-data").run(look).text == ""
        assert become("root").run(look).text == ""


# -- sudo --

FULL = Environment(
    name="test",
    role="test",
    webroot="/var/www/test",
    run_as="www-data",
    sudo=True,
    services=Services(kind="systemd", stop=("apache2", "biso@queue:1")),
    database=Database(admin=Admin("postgres", "postgres")),
)


def test_what_is_only_read_needs_fewer_rules():
    read = {(one.user, one.words[0]) for one in sudo_rules(FULL, "deploy", writes=False)}
    assert {one for one in read if one[0] != "www-data"} == {("root", "rsync")}
    write = {(one.user, one.words[0]) for one in sudo_rules(FULL, "deploy", writes=True)}
    assert {("root", "systemctl"), ("root", "chown"), ("postgres", "psql")} <= write


def test_a_login_that_is_the_user_already_needs_no_rule():
    assert sudo_rules(replace(FULL, sudo=False), "www-data", writes=False) == ()
    assert "root" not in {one.user for one in sudo_rules(FULL, "root", writes=True)}


def test_lines_for_sudoers_escape_what_sudoers_would_read_as_its_own():
    rules = [
        (SudoRule("root", ("systemctl", "stop", "--", "biso@a:1,b=*")), "/usr/bin/systemctl"),
        (SudoRule("root", ("mv",)), "/usr/bin/mv"),
        (SudoRule("www-data", ("bash",), anything=True), "/usr/bin/bash"),
        (SudoRule("www-data", ("find",), anything=True), "/usr/bin/find"),
    ]
    assert sudoers_lines("deploy", rules) == [
        r"deploy ALL=(root) NOPASSWD: /usr/bin/systemctl stop -- biso@a\:1\,b\=\*, /usr/bin/mv",
        "deploy ALL=(www-data) NOPASSWD: ALL",
    ]


@pytest.mark.parametrize(
    ("listing", "allowed"),
    [
        ("    (root) NOPASSWD: /usr/bin/x stop -- a, /usr/bin/mv", True),
        ("    (ALL : ALL) NOPASSWD: ALL", True),
        ("    (root) NOPASSWD: SETENV: /usr/bin/x", True),
        ("    (root) NOPASSWD: /usr/bin/x stop *", True),
        ("    (root) NOPASSWD: /usr/bin/mv, PASSWD: /usr/bin/x", False),
        ("    (ALL) ALL\n    (root) NOPASSWD: /usr/bin/mv", False),
        ("    (root) NOPASSWD: /usr/bin/x\n    (ALL) ALL", False),
        ("    (www-data) NOPASSWD: ALL", False),
        ("    (root) NOPASSWD: /usr/bin/x start -- a", False),
        ("    (root) NOPASSWD: /usr/bin/mv,\n        /usr/bin/x", True),
        ("", False),
    ],
)
def test_the_last_entry_that_matches_says_whether_a_password_is_asked_for(listing, allowed):
    text = f"Matching Defaults entries for u on vm:\n    env_reset\n\n{listing}\n"
    assert may_without_password(text, "root", ("/usr/bin/x", "stop", "--", "a")) is allowed


@pytest.fixture
def account() -> Iterator[tuple[str, Path]]:
    """An ordinary login, and a file in sudoers.d that goes with it."""
    name = f"bisodoc{os.getpid() % 100000}"
    subprocess.run(["useradd", "-M", "-p", "*", "-s", "/bin/bash", name], check=True)
    rules = Path(f"/etc/sudoers.d/biso-doctor-{name}")
    yield name, rules
    rules.unlink(missing_ok=True)
    subprocess.run(["userdel", name], check=True, capture_output=True)


def grant(rules: Path, text: str) -> None:
    rules.write_text(text)
    rules.chmod(0o440)
    subprocess.run(["visudo", "-cqf", rules], check=True)


@real
@pytest.mark.needs("root", "sudo", "setpriv")
class TestWithRealSudo:
    @pytest.fixture
    def environment(self, tmp_path: Path) -> Environment:
        # A service manager need not be there: sudo only looks whether the program may be run.
        services = Services(
            kind="command", stop=("q:1",),
            stop_command=("true", "stop", "{service}"),
            start_command=("true", "start", "{service}"),
        )  # fmt: skip
        return replace(FULL, services=services)

    def sheet(self, host: Any, environment: Environment) -> tuple[Sheet, dict[str, bool]]:
        sheet = Sheet("test")
        return sheet, check_sudo(sheet, host, environment, writes=True)

    def test_the_lines_that_are_asked_for_make_every_check_pass(self, account, become, environment):
        name, rules = account
        sheet, granted = self.sheet(become(name), environment)
        assert granted == {"www-data": False, "root": False, "postgres": False}
        assert {one.name for one in sheet.checks} == {
            *("sudo as www-data", "sudo as root", "sudo as postgres"),
        }
        lines = []
        for one in sheet.checks:
            assert not one.ok
            lines += one.remedy.partition("): ")[2].split("; ")
        assert f"{name} ALL=(www-data) NOPASSWD: ALL" in lines
        grant(rules, "".join(f"{line}\n" for line in lines))
        sheet, granted = self.sheet(become(name), environment)
        assert all(one.ok for one in sheet.checks), sheet.checks
        assert all(granted.values())

    def test_a_rule_that_asks_for_a_password_is_none(self, account, become, environment):
        name, rules = account
        # The trap: sudo says that all of this may be run, and would ask for a password.
        grant(rules, f"{name} ALL=(ALL) ALL\n{name} ALL=(root) NOPASSWD: /usr/bin/mv\n")
        host = become(name)
        said = host.run(Command(("sudo", "-n", "-l", "--", "rsync")), ok=None)
        assert said.code == 0
        assert host.run(Command(("rsync", "--version"), root=True), ok=None).code != 0
        sheet, granted = self.sheet(host, environment)
        assert granted == {"www-data": False, "root": False, "postgres": False}
        root = next(one for one in sheet.checks if one.name == "sudo as root")
        assert "rsync" in root.detail
        assert "true stop q:1" in root.detail
        assert "mv" not in root.detail.split(": ")[-1].split(", ")

    def test_rules_with_fixed_arguments_are_enough_for_services(self, account, become, environment):
        name, rules = account
        true = shutil.which("true")
        grant(rules, f"{name} ALL=(root) NOPASSWD: {true} stop q\\:1, {true} start q\\:1\n")
        sheet, _ = self.sheet(become(name), replace(environment, run_as=None))
        root = next(one for one in sheet.checks if one.name == "sudo as root")
        assert "true stop" not in root.detail
        assert "chown" in root.detail
