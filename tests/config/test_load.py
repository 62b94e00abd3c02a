"""Finding the file, reading it whole, resolving paths, and the overlay of one machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from biso_tasks.config.findings import BadConfig
from biso_tasks.config.load import find, load
from biso_tasks.config.model import (
    Insert,
    Keep,
    Privacy,
    Release,
    Services,
    Site,
    UnknownEnvironment,
)
from biso_tasks.errors import ConfigError, UsageError

Read = Callable[..., Site]
Wrong = Callable[..., list[str]]

CONTRACT = """\
[site]
name = "beratungsstelle"
plugins = ["plugins"]
disable = ["notify"]
[environments.prod]
role = "production"
ssh = "biso-prod"
webroot = "/var/www/biso-webroot/"
config = "config.php"
datadir = "/srv/biso-data"
biso_cli = ["php", "biso-cli"]
run_as = "www-data"
owner = "www-data:www-data"
sudo = true
url = "https://biso.example.org/"
config_keys = { database = "db", env = "mode" }
texts = { no_migrations = "^keine" }
[environments.prod.services]
kind = "systemd"
stop = ["apache2", "php8.2-fpm"]
[environments.prod.database]
admin = { user = "postgres", run_as = "postgres" }
locale = "de_CH.utf8"
[environments.test]
role = "test"
ssh = "biso@biso-test:2222"
webroot = "/var/www/biso-test"
[ssh]
config = "~/.ssh/config"
known_hosts = "~/.ssh/known_hosts"
[backup]
environment = "prod"
path = "/var/backups/biso"
format = "plain"
maintenance = "short"
max_maintenance = "10m"
exclude = []
keep = { last = 7, daily = 14, weekly = 8, monthly = 12, max_age = "400d" }
log_database = "backup"
[refresh]
from = "prod"
to = "test"
source = "live"
sources_allowed = ["live", "latest", "released", "set"]
strategy = "swap"
route = "auto"
anonymize = "required"
log_database = "skip"
keep_tables = ["params"]
keep_files = ["fop.xconf", "phpdocxconfig.ini"]
keep_previous = "3d"
baseline = false
[refresh.files]
"brief_vorlagen/**" = "copy"
"**" = "placeholder"
[neutralize]
sql = ["UPDATE mail SET sent = true"]
params = { mail = 0 }
config = { "mail.host" = "localhost" }
table = "einstellung"
name = "name"
value = "wert"
[privacy]
inventory = "privat.toml"
own = ["info@stelle.ch"]
bound = 50_000_000
rewrite = "auto"
keep_stage = "2h"
[plugins.log_export]
password = "the plugin's own affair"
[[recipes.refresh-test.insert]]
after = "stage-data"
name = "drop-import-inbox"
on = "test"
run = ["rm", "-rf", "{stage.datadir}/import"]
timeout = "90s"
[recipes.refresh-test]
skip = ["ask-site"]
[recipes.refresh-test.set.dump]
jobs = 2
[recipes.nightly]
help = "what runs every night"
confirm = "test"
[[recipes.nightly.step]]
name = "a"
uses = "backup"
timeout = "1h"
[[recipes.nightly.step]]
name = "b"
run = ["./after.sh", "x"]
needs = ["a"]
always = true
"""


def test_the_contracts_example_is_read_whole(read: Read, folder: Path) -> None:
    site = read(base=CONTRACT)
    prod, test = site.environments
    assert (site.name, site.root, site.file) == ("beratungsstelle", folder, folder / "biso.toml")
    assert site.state == folder / ".biso"
    assert site.plugins == (str(folder / "plugins"),)
    assert prod.webroot == "/var/www/biso-webroot"
    assert prod.services == Services("systemd", ("apache2", "php8.2-fpm"))
    assert prod.database.admin is not None
    assert prod.database.admin.run_as == "postgres"
    assert prod.key("gaia.db") == prod.key("database") == "db"
    assert (prod.key("env"), prod.key("datadir"), prod.key("log.db")) == (
        "mode",
        "datadir",
        "log.db",
    )
    assert dict(prod.texts) == {"no_migrations": "^keine"}
    assert test.ssh == "biso@biso-test:2222"
    assert test.key("gaia.db") == "gaia.db"
    assert site.ssh.config == str(Path("~/.ssh/config").expanduser())
    assert site.backup.keep == Keep(7, 14, 8, 12, 400 * 86400.0)
    assert site.backup.max_maintenance == 600.0
    assert site.refresh.anonymize == "required"
    assert site.refresh.files == (("brief_vorlagen/**", "copy"), ("**", "placeholder"))
    assert site.refresh.keep_previous == 3 * 86400.0
    assert site.neutralize.config == (("mail.host", "localhost"),)
    assert (site.neutralize.table, site.neutralize.value) == ("einstellung", "wert")
    assert site.privacy == Privacy(
        str(folder / "privat.toml"), ("info@stelle.ch",), 50_000_000, "auto", 7200.0
    )
    assert site.plugin_section("log_export") == {"password": "the plugin's own affair"}
    assert site.plugin_section("other") == {}
    changed, nightly = site.recipes
    assert changed.insert == (
        Insert(
            "drop-import-inbox",
            after="stage-data",
            on="test",
            run=("rm", "-rf", "{stage.datadir}/import"),
            timeout=90.0,
        ),
    )
    assert changed.skip == ("ask-site",)
    assert changed.set == (("dump", (("jobs", 2),)),)
    assert (nightly.help, nightly.confirm) == ("what runs every night", "test")
    assert nightly.steps == (
        {"name": "a", "uses": "backup", "timeout": 3600.0},
        {"name": "b", "run": (f"{folder}/after.sh", "x"), "needs": ("a",), "always": True},
    )


def test_a_site_that_takes_releases_alone_names_no_production(read: Read) -> None:
    alone = """\
[environments.test]
role = "test"
webroot = "/var/www/biso-test"
[refresh]
source = "released"
sources_allowed = ["released"]
anonymize = "required"
[backup]
path = "/srv/biso"
[release]
ssh = "biso-releases"
allowed_signers = "release_signers"
max_age = "3d"
keep = 2
"""
    site = read(base=alone)
    assert site.release == Release(
        "test", None, "biso-releases", None, str(site.root / "release_signers"), 3 * 86400.0, 2
    )
    with pytest.raises(BadConfig, match=r"backup\.environment"):
        read(base=alone.replace('["released"]', '["released", "latest"]'))


def test_a_release_is_made_in_the_only_test_environment(read: Read) -> None:
    assert read(base=CONTRACT).release.environment == "test"
    other = CONTRACT.replace("[environments.test]", "[environments.vorbereitung]")
    other = other.replace('to = "test"', 'to = "vorbereitung"').replace('on = "test"', "")
    assert read(base=other.replace('confirm = "test"', "")).release.environment == "vorbereitung"


def test_the_demo_site_at_the_top_level_is_right(tmp_path: Path) -> None:
    # Elsewhere: `./biso demo` puts a biso.local.toml beside it.
    root = Path(shutil.copy(Path(__file__).parents[2] / "biso.toml", tmp_path)).parent
    (root / "plugins").mkdir()
    site = load(root / "biso.toml")
    prod, test = site.environments
    assert site.name == "beratungsstelle-demo"
    assert (prod.role, prod.ssh, prod.webroot) == (
        "production",
        "biso-demo-prod",
        f"{root}/.biso/demo/prod/webroot",
    )
    assert (test.role, test.ssh) == ("test", "biso-demo-test")
    assert test.biso_cli == (f"{root}/.biso/demo/bin/php", "biso-cli")
    assert site.ssh.known_hosts == f"{root}/.biso/demo/ssh/known_hosts"
    assert site.backup.path == f"{root}/.biso/demo/backups"


def test_three_lines_an_environment_are_enough(read: Read, folder: Path) -> None:
    site = read()
    assert site.name == folder.name
    assert site.environment("test").ssh is None
    assert (site.refresh.from_, site.refresh.to) == ("prod", "test")


def test_the_only_environment_of_a_role_is_the_default(read: Read) -> None:
    site = read(
        '[refresh]\nbaseline = true\n[backup]\nformat = "custom"\n',
        base='[environments.live]\nrole = "production"\nwebroot = "/a"\n'
        '[environments.try]\nrole = "test"\nwebroot = "/b"\n',
    )
    assert (site.refresh.from_, site.refresh.to, site.backup.environment) == ("live", "try", "live")


def test_a_site_without_a_test_environment_is_right(wrong: Wrong) -> None:
    assert wrong(base='[environments.x]\nrole = "production"\nwebroot = "/srv/x"\n') == []


def test_an_unknown_environment_is_a_usage_error_that_names_the_known(read: Read) -> None:
    site = read()
    with pytest.raises(UnknownEnvironment, match='did you mean "test"') as caught:
        site.environment("tset")
    assert isinstance(caught.value, UsageError)
    with pytest.raises(KeyError):
        site.environment("x")


def test_paths_are_taken_from_where_they_say(read: Read, folder: Path) -> None:
    site = read(
        'datadir = "./data//x/"\nbiso_cli = ["./bin/php", "./biso-cli"]\n[site]\n'
        'plugins = ["../shared", "/opt/p"]\nstate = "~/state"\n'
    )
    environment = site.environment("test")
    assert environment.datadir == f"{folder}/data/x"
    assert environment.biso_cli == (f"{folder}/bin/php", "./biso-cli")
    assert site.plugins == (str(folder.parent / "shared"), "/opt/p")
    assert site.state == Path("~/state").expanduser()


def test_awkward_but_legal_names_are_kept_as_they_are(read: Read) -> None:
    name = "/srv/ä b'\\\"$(id)`;"
    site = read(f"datadir = '''{name}'''\ndatabase = {{ dbname = '''b'i\"s $(o)''' }}\n")
    assert site.environment("test").datadir == name
    assert site.environment("test").database.dbname == "b'i\"s $(o)"


@pytest.mark.parametrize(
    "ssh",
    ["biso-test", "biso@host", "host:22", "biso@10.0.0.1:2222", "[fe80::1]:22", "fe80::1", "ü"],
)
def test_aliases_users_ports_and_addresses_are_destinations(ssh: str, read: Read) -> None:
    assert read(f'ssh = "{ssh}"\n').environment("test").ssh == ssh


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(folder: Path) -> None:
    file = folder / "biso.toml"
    text = '[environments.a]\nrole = "test"\nwebroot = "/srv/a"\nsudo = 1\n'
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    with pytest.raises(BadConfig, match=r"^biso\.toml:4: environments\.a\.sudo: "):
        load(file)


def test_the_overlay_is_merged_over_the_file(read: Read, folder: Path) -> None:
    site = read(
        'ssh = "biso-test"\nphp = ["php8.1"]\n[refresh.files]\n"a" = "copy"\n"**" = "skip"\n',
        local='[environments.test]\nssh = ""\nphp = ["./php"]\n[refresh.files]\n"b" = "copy"\n',
    )
    test = site.environment("test")
    assert (test.ssh, test.php, test.webroot) == (None, (f"{folder}/php",), "/srv/test")
    assert [pattern for pattern, _ in site.refresh.files] == ["b", "a", "**"]


def test_findings_name_the_file_that_they_stand_in(wrong: Wrong) -> None:
    assert [
        line.partition(" ")[0]
        for line in wrong(
            'sudo = 1\nservices = "x"\nphp = ["a", 1]\n',
            local='x = 1\n[environments.test]\nphp = ["a",\n2]\n'
            'services = { kind = "y" }\nssh = 1\n',
        )
    ] == [
        "biso.toml:7:",
        "biso.local.toml:1:",
        "biso.local.toml:3:",
        "biso.local.toml:5:",
        "biso.local.toml:6:",
    ]


def test_both_files_are_checked_for_syntax_at_once(wrong: Wrong) -> None:
    found = wrong("x\n", local="\ny\n")
    assert [line.partition(" ")[0] for line in found] == ["biso.toml:7:", "biso.local.toml:2:"]


def test_the_overlay_cannot_make_a_target_of_production(wrong: Wrong) -> None:
    assert wrong("run_as = 1\n", local='[environments.prod]\nrole = "test"\n') == [
        'biso.toml:7: environments.test.run_as: expected a string, got 1 (write "1")',
        "biso.local.toml:2: environments.prod.role: is production in the shared file "
        "(change it there, where everybody sees it)",
    ]


def test_the_overlay_may_change_everything_else_of_production(read: Read) -> None:
    site = read(local='[environments.prod]\nwebroot = "/srv/other"\n')
    assert site.environment("prod").webroot == "/srv/other"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a = 1\n\xff\n", "biso.toml:2: this line is not UTF-8 (save it as UTF-8)"),
        (
            b"a = " + b"[" * 9999,
            "biso.toml: is nested too deeply (no key needs more than a few levels)",
        ),
        (
            b"a = " + b"9" * 9999,
            "biso.toml: holds a number of thousands of digits (put it in quotes)",
        ),
    ],
)
def test_what_tomllib_lets_through_is_a_finding_too(
    content: bytes, expected: str, folder: Path
) -> None:
    (folder / "biso.toml").write_bytes(content)
    with pytest.raises(BadConfig) as caught:
        load(folder / "biso.toml")
    assert str(caught.value) == expected


def test_a_file_that_is_missing_or_a_folder_is_said_with_its_remedy(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^biso\.toml: there is no such file \(`biso init`"):
        load(folder / "biso.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load(folder)
    with pytest.raises(ConfigError, match=r"^/: cannot be read"):
        load(Path("/"))
    (folder / "biso.toml").write_text("")
    (folder / "biso.local.toml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"^biso\.local\.toml: there is no such file"):
        load(folder / "biso.toml")


def test_a_file_elsewhere_is_named_with_its_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    (folder / "biso.toml").write_text("x = 1\n")
    with pytest.raises(BadConfig) as caught:
        load(folder / "biso.toml")
    assert f"{folder}/biso.toml:1: x: unknown key" in str(caught.value)


def test_a_folder_with_a_newline_in_its_name_is_reported_where_a_path_needs_it(
    folder: Path,
) -> None:
    place = folder / "a\nb"
    place.mkdir()
    (place / "biso.toml").write_text('[environments.a]\nrole = "test"\nwebroot = "./x"\n')
    with pytest.raises(BadConfig, match="holds the control character"):
        load(place / "biso.toml")


def test_the_file_is_found_in_the_folder_or_above(folder: Path) -> None:
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    (folder / "biso.toml").touch()
    (deep / "biso.toml").mkdir()  # a folder of that name is none
    assert find(deep, {}) == folder / "biso.toml"
    assert find(Path("a"), {}) == folder / "biso.toml"
    (folder / "a" / "biso.toml").touch()
    assert find(deep, {}) == folder / "a" / "biso.toml"


def test_the_environment_variable_wins_whether_or_not_the_file_exists(folder: Path) -> None:
    (folder / "biso.toml").touch()
    (folder / "other").mkdir()
    assert find(folder, {"BISO_CONFIG": "x/../other.toml"}) == folder / "other.toml"
    assert find(folder, {"BISO_CONFIG": "/etc/site.toml"}) == Path("/etc/site.toml")
    assert find(folder, {"BISO_CONFIG": "other"}) == folder / "other" / "biso.toml"
    assert find(folder, {"BISO_CONFIG": ""}) == folder / "biso.toml"
    assert find(folder, {"BISO_CONFIG": "~/b.toml"}) == Path("~/b.toml").expanduser()


def test_no_file_is_none_not_an_error() -> None:
    assert find(Path("/proc/self"), {}) is None


def test_another_name_has_an_overlay_of_its_own(folder: Path) -> None:
    (folder / "site.toml").write_text('[environments.a]\nrole = "test"\nwebroot = "/srv/a"\n')
    (folder / "biso.local.toml").write_text("wrong = 1\n")
    assert load(folder / "site.toml").file.name == "site.toml"
    (folder / "site.local.toml").write_text("wrong = 1\n")
    with pytest.raises(BadConfig, match=r"^site\.local\.toml:1: wrong: unknown key"):
        load(folder / "site.toml")


def test_reading_the_config_imports_no_heavy_library() -> None:
    code = (
        "import sys, biso_tasks.config.load;"
        "print({'paramiko', 'fabric', 'psycopg', 'rich', 'invoke', 'tomli_w'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
