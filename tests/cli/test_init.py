"""`biso init`, on real instances: what it finds, what it writes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from biso_tasks.actions.doctor import looking
from biso_tasks.actions.doctor.checks import checks
from biso_tasks.cli import init as module
from biso_tasks.cli.call import Options, run_command
from biso_tasks.cli.init import init, shipped_plugins
from biso_tasks.config.load import load
from biso_tasks.config.model import Services
from biso_tasks.demo import site as demo
from biso_tasks.demo.site import DemoSite
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.host import LocalHost, connect
from biso_tasks.session import Session

REPOSITORY = Path(__file__).parents[2]
pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSite]:
    folder = tmp_path_factory.mktemp("init") / "eine Stelle"
    folder.mkdir()
    yield demo.build(folder, scale=0.01)
    demo.clean(folder)


@pytest.fixture
def here(built: DemoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to write into; the demo's programs are on the PATH, and no crontab, service
    manager or Docker of this machine has a say."""
    folder = tmp_path / "Meine Stelle"
    folder.mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("systemctl", "docker"):
        program(tools / name, "exit 1")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{tools}:{built.environ()['PATH']}")
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(**arguments: str) -> int:
    return run_command("init", Options(), lambda call: init(call, **arguments))


def test_both_instances_give_a_site_that_doctor_passes(here: Path, built: DemoSite, capfd):
    assert run(webroot=str(built.prod.webroot), test_webroot=str(built.test.webroot)) == 0
    out = capfd.readouterr().out
    assert "env 'PROD', so its role is production" in out
    checked = re.search(r"biso doctor: (\d+) of (\d+) checks are well", out)
    assert checked is not None and checked[1] == checked[2]
    assert "de_CH.utf8" in out or "C.UTF-8" in out or ", C, " in out
    site = load(here / "biso.toml")
    assert site.name == "Meine Stelle"
    assert [(e.name, e.role) for e in site.environments] == [
        ("prod", "production"),
        ("test", "test"),
    ]
    assert (site.refresh.from_, site.refresh.to) == ("prod", "test")
    hooks = PluginManager(say=lambda text: None)
    hooks.load(site.plugins, (), [], root=site.root)
    assert {one.name for one in hooks.plugins()} >= {"log_database", "attachment_scrub", "notify"}
    with Session(site, hooks, say=lambda text: None) as session:
        assert [one for one in checks(session, "refresh-test") if not one.ok] == []


def test_nothing_that_is_there_is_overwritten(here: Path, built: DemoSite, capfd):
    (here / "tasks.py").write_text("# mine\n")
    (here / "plugins").mkdir()
    (here / "plugins/notify.py").write_text("# mine too\n")
    assert run(webroot=str(built.prod.webroot)) == 0
    assert "left as it is: tasks.py, plugins/notify.py" in " ".join(capfd.readouterr().out.split())
    assert (here / "tasks.py").read_text() == "# mine\n"
    assert (here / "plugins/notify.py").read_text() == "# mine too\n"
    assert (here / "plugins/log_database.py").exists()
    written = (here / "biso.toml").read_bytes()
    assert run(webroot=str(built.test.webroot)) == 3
    assert "overwrites nothing" in capfd.readouterr().err
    assert (here / "biso.toml").read_bytes() == written


def test_a_link_that_leads_nowhere_is_not_written_through(here: Path, built: DemoSite):
    (here / "biso.toml").symlink_to(here / "elsewhere.toml")
    assert run(webroot=str(built.prod.webroot)) == 3
    assert not (here / "elsewhere.toml").exists()


@pytest.mark.parametrize(("name", "other"), [("prod", "test"), ("test", "prod")])
def test_of_one_instance_alone_the_other_is_a_comment_that_loads(here, built, name, other):
    assert run(webroot=str(getattr(built, name).webroot)) == 0
    file = here / "biso.toml"
    assert [e.name for e in load(file).environments] == [name]
    lines = file.read_text().split("\n")
    start = lines.index(f"# [environments.{other}]")
    for number in range(start, lines.index("[ssh]") - 1):
        lines[number] = lines[number].removeprefix("# ").removeprefix("#")
    file.write_text("\n".join(lines))
    site = load(file)
    assert {e.name: e.role for e in site.environments} == {"prod": "production", "test": "test"}
    assert site.environment(other).services.stop == ("apache2", "php8.2-fpm")


def test_a_production_instance_is_never_written_as_the_test_one(here, built, capfd):
    prod, test = str(built.prod.webroot), str(built.test.webroot)
    assert run(webroot=test, test_webroot=prod) == 3
    assert "cannot be the test environment" in capfd.readouterr().err
    assert run(webroot=test, test_webroot=test) == 3
    assert "not a production and a test instance" in " ".join(capfd.readouterr().err.split())
    assert list(here.iterdir()) == []


def test_json_says_what_was_found_and_written(here: Path, built: DemoSite):
    # A process of its own: --json points descriptor 1 away, and pytest holds ours.
    code = (
        "import sys\nfrom biso_tasks.cli.call import Options, run_command\n"
        "from biso_tasks.cli.init import init\n"
        "sys.exit(run_command('init', Options(json=True), lambda c: init(c, webroot=sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, built.prod.webroot], capture_output=True, check=False
    )
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert document["written"][0] == "biso.toml"
    (found,) = document["environments"]
    assert found["role"] == "production"
    assert found["env"] == "PROD"
    assert found["database"] == "biso"
    assert found["datadir"] == str(built.prod.datadir)
    assert found["log_database"] is None


def test_the_working_directory_is_the_webroot_that_is_meant(here, built, tmp_path, monkeypatch):
    webroot = tmp_path / "webroot"
    shutil.copytree(built.test.webroot, webroot)
    monkeypatch.chdir(webroot)
    assert run() == 0
    assert load(webroot / "biso.toml").environment("test").webroot == str(webroot)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ({"webroot": "nowhere"}, 3, "is not there"),
        ({"webroot": "."}, 3, "holds no config.php"),
        ({"webroot": "www", "ssh": "somebody@127.0.0.1:1"}, 2, "/var/www/www"),
        ({"webroot": "/www", "ssh": "somebody@127.0.0.1:1"}, 1, "127.0.0.1"),
        ({"webroot": "/www", "ssh": "-oProxyCommand=x"}, 2, ""),
    ],
)
def test_what_cannot_be_looked_at_is_said_and_nothing_is_written(
    here, arguments, code, said, capfd
):
    assert run(**arguments) == code
    err = " ".join(capfd.readouterr().err.split())
    assert said in err
    assert "Traceback" not in err
    assert list(here.iterdir()) == []


def test_a_config_php_that_is_broken_is_named_with_who_tried(here, tmp_path, capfd):
    (tmp_path / "web").mkdir()
    (tmp_path / "web/config.php").write_text("<?php Config::set('env', ;")
    assert run(webroot=str(tmp_path / "web")) == 3
    err = " ".join(capfd.readouterr().err.split())
    assert "is broken PHP" in err
    assert "could not be evaluated as root" in err or "could not be evaluated as " in err


def test_a_folder_that_cannot_be_written_is_one_line(here, built, capfd):
    (here / "plugins").write_text("a file where the folder should be")
    assert run(webroot=str(built.prod.webroot)) == 1
    assert "plugins cannot be written" in " ".join(capfd.readouterr().err.split())
    assert [one.name for one in here.iterdir()] == ["plugins"]


# -- what is found --


@pytest.fixture
def local() -> Iterator[LocalHost]:
    host = LocalHost("this machine")
    yield host
    host.close()


def test_webroots_are_found_by_their_two_files_and_stages_are_left_out(local, tmp_path):
    for name in ("a b/web", "other", ".biso-tasks-web/stage/webroot"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "biso-cli").touch()
    for name in ("a b/web", ".biso-tasks-web/stage/webroot"):
        (tmp_path / name / "config.php").touch()
    found = looking.webroots(local, below=(str(tmp_path), "/nowhere"))
    assert found == (str(tmp_path / "a b/web"),)


def test_several_webroots_are_listed_and_none_is_guessed(here, monkeypatch, capfd):
    monkeypatch.setattr(module, "webroots", lambda host: ("/srv/a", "/srv/b", "/srv/c"))
    assert run() == 2
    assert "/srv/a, /srv/b, /srv/c" in " ".join(capfd.readouterr().err.split())
    monkeypatch.setattr(module, "webroots", lambda host: ())
    assert run() == 2
    assert "--webroot names it" in " ".join(capfd.readouterr().err.split())


def test_where_nothing_is_here_a_person_is_asked_for_the_hosts(here, built, monkeypatch, capfd):
    """The aliases of ssh_config are shown; what is answered counts as --ssh and --test-ssh."""
    home = here.parent / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/config").write_text("Host biso-prod biso-test *.example.ch\n  User biso\n")
    monkeypatch.setenv("HOME", str(home))
    answers, went = iter(["biso-prod", "biso-test"]), []
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    monkeypatch.setattr(module, "webroots", lambda host: ())
    monkeypatch.setattr(module.Call, "asks", True)

    def connect(stack: ExitStack, ssh: str) -> LocalHost:
        went.append(ssh)
        return stack.enter_context(closing(LocalHost("x")))

    monkeypatch.setattr(module, "_connect", connect)
    assert run() == 2
    err = " ".join(capfd.readouterr().err.split())
    assert "Hosts in ~/.ssh/config: biso-prod, biso-test." in err
    assert "Where is test?" in err
    assert went == ["", "biso-prod"], "and where nothing is found there, that is said"
    monkeypatch.setattr(module, "webroots", lambda host: ("/srv/a", "/srv/b", "/srv/c"))
    answers = iter(["/srv/c", "/srv/a"])
    assert run() == 3, "what was named is looked at, and is not there"
    err = " ".join(capfd.readouterr().err.split())
    assert "3 webroots were found" in err and "Which one is test's?" in err
    assert "/srv/c is not there" in err
    monkeypatch.setattr(module, "webroots", lambda host: ())
    monkeypatch.setattr(module.Call, "asks", False)
    assert run() == 2
    err = " ".join(capfd.readouterr().err.split())
    assert "Where is" not in err
    assert "--ssh and --test-ssh say on which host. Hosts in ~/.ssh/config: biso-prod" in err


def test_a_production_and_a_test_instance_of_one_host_are_found_together(here, built, monkeypatch):
    both = (str(built.prod.webroot), str(built.test.webroot))
    monkeypatch.setattr(module, "webroots", lambda host: both)
    assert run() == 0
    assert [e.name for e in load(here / "biso.toml").environments] == ["prod", "test"]


def test_running_services_that_serve_php_are_stopped_in_their_order(here, built, tmp_path):
    units = "\\n".join(
        f"{name}.service loaded active running Something"
        for name in ("apache2", "biso-queue", "cron", "php8.2-fpm", "postgresql@15-main", "ssh")
    )
    program(tmp_path / "tools/systemctl", f"printf '{units}\\n'")
    assert run(webroot=str(built.test.webroot)) == 0
    services = load(here / "biso.toml").environment("test").services
    assert services == Services(kind="systemd", stop=("biso-queue", "apache2", "php8.2-fpm"))


def test_a_compose_file_above_the_webroot_gives_its_services(local, here, tmp_path, monkeypatch):
    webroot = tmp_path / "site/code/web"
    webroot.mkdir(parents=True)
    (webroot / "config.php").touch()
    (tmp_path / "site/compose.yaml").touch()
    bind = [{"type": "bind", "source": str(tmp_path / "site/code"), "target": "/code"}]
    model = {
        "services": {
            "queue": {"volumes": bind},
            "web83": {"volumes": bind},
            "db": {"image": "postgres:15", "volumes": [{"type": "volume", "source": "pg"}]},
        }
    }
    program(tmp_path / "tools/docker", f"cat <<'END'\n{json.dumps(model)}\nEND")
    place = looking._place(local, str(webroot))
    assert place.compose == str(tmp_path / "site")
    found, notes = looking._services(local, place)
    assert found == Services(
        kind="compose",
        stop=("queue", "web83"),
        directory=str(tmp_path / "site"),
        web="web83",
        database="db",
    )
    assert notes == []
    # A compose file of something else is only said.
    other = replace(place, real="/elsewhere")
    found, notes = looking._services(local, other)
    assert found.kind == "none"
    assert "compose file" in notes[0]


@pytest.mark.needs("root", "sudo")
def test_biso_runs_as_the_owner_of_the_data_dir(here: Path, built: DemoSite, tmp_path: Path):
    webroot = tmp_path / "owned"
    shutil.copytree(built.test.webroot, webroot)
    for path in (webroot / "data", *(webroot / "data").rglob("*")):
        shutil.chown(path, "www-data", "www-data")
    assert run(webroot=str(webroot)) == 0
    environment = load(here / "biso.toml").environment("test")
    assert environment.run_as == "www-data"
    assert environment.owner == "www-data:www-data"
    assert not environment.sudo  # the login is root


def test_a_role_without_createdb_gets_an_admin(here: Path, built: DemoSite):
    built.test.psql(f"ALTER ROLE {built.test.user} NOCREATEDB")
    try:
        assert run(webroot=str(built.test.webroot)) == 0
    finally:
        built.test.psql(f"ALTER ROLE {built.test.user} CREATEDB")
    admin = load(here / "biso.toml").environment("test").database.admin
    assert admin is not None
    assert (admin.user, admin.run_as) == ("postgres", "postgres")


def test_a_database_that_does_not_answer_is_a_note(here, built, tmp_path, capfd):
    webroot = tmp_path / "web"
    shutil.copytree(built.test.webroot, webroot)
    config = webroot / "config.php"
    port = str(built.test.cluster.port)
    config.write_text(config.read_text().replace(port, "1"))
    assert run(webroot=str(webroot)) == 0
    assert "the database could not be reached" in " ".join(capfd.readouterr().out.split())
    assert load(here / "biso.toml").environment("test")


@pytest.mark.needs("ssh", "sshd")
def test_over_ssh_the_destination_stands_in_the_config(here, built, monkeypatch):
    ssh = built.home / "ssh"

    def with_its_files(name, destination):
        return connect(
            name, destination, ssh_config=ssh / "config", known_hosts=ssh / "known_hosts"
        )

    monkeypatch.setattr(module, "connect", with_its_files)
    code = run(
        ssh="biso-demo-prod", webroot=str(built.prod.webroot),
        test_ssh="biso-demo-test", test_webroot=str(built.test.webroot),
    )  # fmt: skip
    assert code == 0
    site = load(here / "biso.toml")
    assert [e.ssh for e in site.environments] == ["biso-demo-prod", "biso-demo-test"]


@pytest.mark.needs("ssh", "sshd")
def test_a_known_hosts_file_that_ssh_config_names_is_written_and_the_default_is_not(
    here, built, monkeypatch, capfd
):
    """Its key is known through that file alone: with the default, doctor and every task would say
    that it is not known."""
    ssh, home = built.home / "ssh", here.parent / "home"
    mine = home / ".ssh"
    mine.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    text = (ssh / "config").read_text()
    place = re.compile("UserKnownHostsFile .*")
    known = mine / "known_biso"
    shutil.copy(ssh / "known_hosts", known)
    arguments = {
        "ssh": "biso-demo-prod", "webroot": str(built.prod.webroot),
        "test_ssh": "biso-demo-test", "test_webroot": str(built.test.webroot),
    }  # fmt: skip
    (mine / "config").write_text(place.sub(f"UserKnownHostsFile {mine}/none {known}", text))
    assert run(**arguments) == 0
    file = here / "biso.toml"
    assert tomllib.loads(file.read_text())["ssh"] == {"known_hosts": "~/.ssh/known_biso"}
    checked = re.search(r"biso doctor: (\d+) of (\d+) checks are well", capfd.readouterr().out)
    assert checked is not None and checked[1] == checked[2]
    file.unlink()
    known.rename(mine / "known_hosts")
    (mine / "config").write_text(place.sub(f"UserKnownHostsFile {mine}/known_hosts", text))
    assert run(**arguments) == 0
    assert tomllib.loads(file.read_text())["ssh"] == {}


# -- what is shipped --


def test_tasks_py_is_the_one_of_the_repository(here: Path, built: DemoSite):
    assert run(webroot=str(built.prod.webroot)) == 0
    assert (here / "tasks.py").read_bytes() == (REPOSITORY / "tasks.py").read_bytes()


def test_the_wheel_puts_the_plugins_where_init_looks_for_them(tmp_path: Path):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"plugins": "biso_tasks/shipped_plugins"}
    lay_out = tmp_path / "site-packages"
    shutil.copytree(REPOSITORY / "biso_tasks", lay_out / "biso_tasks")
    shutil.copytree(REPOSITORY / "plugins", lay_out / "biso_tasks/shipped_plugins")
    # A folder `plugins` beside an installed package is somebody else's.
    (lay_out / "plugins").mkdir()
    (lay_out / "plugins/foreign.py").touch()
    code = (
        "from biso_tasks.cli.init import shipped_plugins\n"
        "print(*(one.name for one in shipped_plugins()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(lay_out)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [one.name for one in shipped_plugins()], done.stderr
    assert {"log_database.py", "attachment_scrub.py", "notify.py"} <= set(done.stdout.split())
