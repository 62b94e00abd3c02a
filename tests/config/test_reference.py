"""Every key is declared once, with a type, a default and a doc."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from biso_tasks.config.duration import duration, duration_text
from biso_tasks.config.load import parse
from biso_tasks.config.reference import KeyDoc, keys

BASE = """\
[environments.prod]
role = "production"
webroot = "/srv/prod"
[environments.test]
role = "test"
webroot = "/srv/test"
"""


def test_every_key_has_a_type_and_one_line_of_doc() -> None:
    for doc in keys():
        assert doc.type, doc.key
        assert doc.doc.endswith("."), doc.key
        assert doc.doc.isprintable(), doc.key
        assert len(doc.doc) < 100, doc.key
    names = [doc.key for doc in keys()]
    assert len(names) == len(set(names))


def test_the_keys_of_the_contract_are_there_with_their_defaults() -> None:
    known = {doc.key: doc for doc in keys()}
    assert known["environments.NAME.role"] == KeyDoc(
        "environments.NAME.role",
        '"production" or "test"',
        "",
        "A production one is never the target of a refresh or anonymiser.",
        True,
    )
    defaults = {
        "refresh.keep_previous": '"3d"',
        "refresh.anonymize": "true",
        "refresh.from": '"prod"',
        "backup.keep.max_age": '"400d"',
        "backup.max_maintenance": '"10m"',
        "ssh.known_hosts": '"~/.ssh/known_hosts"',
        "environments.NAME.biso_cli": '["php", "biso-cli"]',
        "environments.NAME.config_keys.log_database": "",
        "environments.NAME.database.admin.user": '"postgres"',
        "refresh.files.KEY": "",
        "recipes.NAME.insert[].run": "[]",
        "recipes.NAME.set.STEP.KEY": "",
        "neutralize.sql": "[]",
    }
    assert {key: known[key].default for key in defaults} == defaults


# An empty default is no different from none; steps and roles of their own need further keys.
DEFAULTS = [
    doc
    for doc in keys()
    if doc.default not in {"", "[]", "{}"} and not re.search(r"recipes|\.admin\.", doc.key)
]


@pytest.mark.parametrize("doc", DEFAULTS, ids=lambda doc: doc.key)
def test_a_default_as_documented_changes_nothing_when_it_is_written(doc: KeyDoc) -> None:
    file = Path("/srv/site/biso.toml")
    key = doc.key.replace("NAME", "test")
    plain = parse(BASE.encode(), file)
    written = parse(f"{key} = {doc.default}\n{BASE}".encode(), file) if "test" not in key else None
    written = written or parse(
        f"{BASE}{key.removeprefix('environments.test.')} = {doc.default}\n".encode(), file
    )
    assert written == plain


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("12h", 43200), ("3d", 259200), ("2w", 1209600), ("1.5s", 1.5)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    assert duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "3", "s", "-3d", "3 d", "3D", "1h30m", "3d\n", "٣d", "1e9s", "9" * 400 + "d"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^" if not text else None):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.25, "0.25s"), (60.0, "1m"), (90.0, "90s"), (86400.0, "1d")],
)
def test_seconds_are_written_shortly(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
