"""The stage's config.php must not hold anything that is live."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from biso_tasks.errors import Refused
from biso_tasks.instance.config_php import Facts
from biso_tasks.stage.isolation import check, wrapper
from biso_tasks.values import Dsn, Secret

STAGE = "/srv/.biso-tasks-data/stage"
LIVE = ["/var/www/biso", "/srv/data"]


def facts(**values: object) -> Facts:
    dsn = Dsn("", 5432, "biso_test__stage", "biso", Secret(""))
    return Facts("dev", f"{STAGE}/data", dsn, None, "8.2", True, values)  # type: ignore[arg-type]


def look(**values: object) -> None:
    check(
        facts(**values),
        environment="test",
        stage_paths=[STAGE],
        live_paths=LIVE,
        live_databases=["biso_test", "biso_log"],
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fonts", "/srv/data/fonts"),
        ("fonts", "/srv/data"),
        ("fonts", "/srv/data/"),
        ("include", ".:/usr/share/php:/var/www/biso/lib"),
        ("uri", "file:///srv/data/x"),
        ("database.name", "biso_test"),
        ("dsn", "pgsql:host=localhost;dbname=biso_test;port=5432"),
        ("dsn", "postgresql://u:p@db/biso_test?sslmode=require"),
        ("log", {"dbname": "biso_log"}),
        ("nested", {"a": {"b": "/srv/data/deep"}}),
    ],
)
def test_a_value_that_is_still_live_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(Refused, match=f"'{key}"):
        look(**{key: value})


@pytest.mark.parametrize(
    "value",
    [
        f"{STAGE}/data/fonts",
        "/srv/database",
        "/srv/data-old/x",
        "/var/www/biso2",
        "/opt/srv/data",
        "postgresql://u:p@db/biso_test__stage",
        "dbname=biso_test__stage",
        "biso_test_2",
        7,
        None,
        True,
    ],
)
def test_what_only_looks_alike_is_let_through(value: object) -> None:
    look(key=value)


def test_a_role_called_like_its_database_is_let_through() -> None:
    look(
        **{"gaia.db": {"user": "biso_test", "password": "biso_test", "dbname": "biso_test__stage"}}
    )


def test_a_stage_inside_a_mounted_data_dir_is_not_taken_for_live() -> None:
    check(
        facts(fonts="/srv/data/.biso-tasks/stage/data/fonts"),
        environment="test",
        stage_paths=["/srv/data/.biso-tasks/stage"],
        live_paths=LIVE,
        live_databases=[],
    )


@pytest.mark.needs("php (machine)")
def test_the_wrapper_wins_over_return_and_closing_tag_and_keeps_any_character(
    tmp_path: Path,
) -> None:
    awkward = "a'b\\c\"d$e\n\tü€ ?> \\'"
    for original in (
        "<?php Config::set('datadir', '/live'); return 1;",
        "<?php Config::set('datadir', '/live'); ?>\nx",
    ):
        (tmp_path / "config.orig.php").write_text(original)
        (tmp_path / "config.php").write_bytes(
            wrapper(
                "config.orig.php", {"datadir": awkward, "gaia.db": {"dbname": awkward, "port": 5}}
            )
        )
        run = (
            "class Config { public static $v = [];"
            " static function set($k, $v) { self::$v[$k] = $v; } }"
            "ob_start(); require $argv[1]; ob_end_clean(); echo json_encode(Config::$v);"
        )
        out = subprocess.run(
            ["php", "-r", run, "--", str(tmp_path / "config.php")], capture_output=True, check=True
        ).stdout
        assert json.loads(out) == {"datadir": awkward, "gaia.db": {"dbname": awkward, "port": 5}}
