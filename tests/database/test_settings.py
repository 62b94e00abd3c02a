from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from biso_tasks.database.admin import admin
from biso_tasks.database.settings import Settings, access_statements, apply, merge, read


@pytest.mark.real
@pytest.mark.parametrize("by", ["owner", "admin"])
def test_settings_and_access_read_from_one_database_are_those_of_the_other(
    one: Any, fresh: Callable[..., str], by: str
) -> None:
    fresh(one, "alt"), fresh(one, "neu's")
    one.sql(
        'ALTER DATABASE alt SET search_path = "$user", "Über, Schema", public',
        "ALTER DATABASE alt SET biso.text = 'it''s \\ a, b'",
        "ALTER ROLE biso_app IN DATABASE alt SET work_mem = '7MB'",
        "ALTER DATABASE alt CONNECTION LIMIT 17",
        "REVOKE ALL ON DATABASE alt FROM PUBLIC",
        "GRANT CONNECT ON DATABASE alt TO biso_report WITH GRANT OPTION",
    )
    server = one.server("alt") if by == "owner" else one.admin_server("alt")
    if by == "owner":
        one.sql("ALTER DATABASE alt RESET biso.text")  # only a superuser may set such a one
    with admin(server) as role:
        was = read(role, "alt")
        assert len(was.values) == (2 if by == "owner" else 3)
        assert was.limit == 17
        assert apply(role, "neu's", was) == []
        role.execute(*access_statements(role, "neu's", was), atomic=True)
        assert read(role, "neu's") == was
        assert read(role, "gibt es nicht") == Settings()


@pytest.mark.real
def test_what_cannot_be_set_is_noted_and_the_rest_is_set(
    one: Any, fresh: Callable[..., str]
) -> None:
    fresh(one, "biso")
    wanted = Settings(
        (("", "log_statement", "all"), ("weg", "work_mem", "1MB"), ("", "work_mem", "9MB")),
        (("weg", "CONNECT", False),),
    )
    with admin(one.server("biso")) as role:
        notes = apply(role, "biso", wanted)
        assert len(notes) == 2
        assert "log_statement" in notes[0]
        assert "no such role" in notes[1]
        assert read(role, "biso").values == (("", "work_mem", "9MB"),)
        assert len(access_statements(role, "biso", wanted)) == 1


def test_the_test_instance_keeps_its_own_and_gets_what_only_production_has() -> None:
    source = Settings(
        (("", "search_path", "a"), ("prod_app", "work_mem", "1MB"), ("", "x.y", "prod")),
        (("", "TEMPORARY", False), ("prod_app", "CONNECT", True), ("report", "CONNECT", False)),
        5,
    )
    own = Settings((("", "x.y", "test"),), None, 9)
    merged = merge(source, own, source_role="prod_app", role="test_app")
    assert merged.values == (
        ("", "x.y", "test"),
        ("", "search_path", "a"),
        ("test_app", "work_mem", "1MB"),
    )
    assert merged.access == (
        ("", "CONNECT", False),
        ("", "TEMPORARY", False),
        ("report", "CONNECT", False),
    )
    assert merged.limit == 9
    bare = merge(source, None, source_role="prod_app", role="test_app")
    assert bare.access == (("", "TEMPORARY", False), ("report", "CONNECT", False))
