"""The plugin instance_settings, in a stage and in whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.api import ConfigError, Stage, StepFailed
from biso_tasks.testing import Plugin, ThrowawaySite
from biso_tasks.testing.plugin import load_plugin

pytest_plugins = ["biso_tasks.testing"]

PLUGINS = Path(__file__).parents[2] / "plugins"
OURS = {
    "production": ["stelle.example", "demo-prod.example"],
    "mail": "biso-test@it.example",
    "addresses": {
        "https://biso.stelle.example": "https://biso-test.stelle.example",
        "https://biso.stelle.example/alt": "https://biso-test.stelle.example/old",
        "smtp.stelle.example": "localhost",
    },
}
real = [pytest.mark.real, pytest.mark.needs("postgresql", "php")]


def loaded(**section: Any) -> Plugin:
    return load_plugin("instance_settings", section, folders=[PLUGINS])


@pytest.fixture
def setting(biso_stage: Stage) -> Callable[[str], str]:
    """What a setting becomes in the stage."""

    def neutralised(value: str) -> str:
        with biso_stage.connect() as database:
            database.execute("DELETE FROM params WHERE name = 'x'")
            database.execute("INSERT INTO params VALUES ('k', 'x', %s)", [value])
        loaded(**OURS).call("biso_neutralize", stage=biso_stage)
        with biso_stage.connect() as database:
            row = database.execute("SELECT wert FROM params WHERE name = 'x'").fetchone()
        return str(row[0])

    return neutralised


class TestInAStage:
    pytestmark = real

    def test_base_urls_mail_servers_and_senders_become_tests(self, setting: Any) -> None:
        test = "https://biso-test.stelle.example"
        for value, becomes in {
            "https://biso.stelle.example": test,
            "HTTPS://BISO.Stelle.example/": f"{test}/",
            "siehe https://biso.stelle.example.": f"siehe {test}.",
            "https://biso.stelle.example/alt/1": f"{test}/old/1",
            r'{"url": "https:\/\/biso.stelle.example\/a"}': rf'{{"url": "{test}\/a"}}',
            "smtp.stelle.example:587": "localhost:587",
            "Stelle <info+x@Stelle.example>, b@stelle.example": "Stelle <biso-test@it.example>, "
            "biso-test@it.example",
        }.items():
            assert setting(value) == becomes
            assert setting(becomes) == becomes, "a second run changes nothing"

    def test_others_addresses_stay(self, setting: Any) -> None:
        for value in (
            "https://biso.stelle.example.org/",
            "https://biso.stelle.example-2/",
            "old-smtp.stelle.example",
            "backup.smtp.stelle.example",
            "info@stelle.example.org",
            "info@nicht-stelle.example",
        ):
            assert setting(value) == value

    def test_the_change_says_how_many_rows_it_was(self, biso_stage: Stage) -> None:
        (change,) = loaded(**OURS).call("biso_neutralize", stage=biso_stage)
        assert (change.what, change.count) == ("params.wert rewritten to test's addresses", 1)

    def test_what_still_names_production_is_a_finding_without_the_value(
        self, biso_stage: Stage
    ) -> None:
        plugin = loaded(**OURS)
        plugin.call("biso_neutralize", stage=biso_stage)
        (finding,) = plugin.call("biso_verify", stage=biso_stage)
        assert finding.ok, finding
        with biso_stage.connect() as database:
            database.execute(
                "INSERT INTO params VALUES ('k', 'sms', 'https://sms.STELLE.example/geheim'), "
                "('k', 'own', 'https://biso-test.stelle.example/ok')"
            )
        plugin.call("biso_neutralize", stage=biso_stage)
        (finding,) = plugin.call("biso_verify", stage=biso_stage)
        assert not finding.ok
        assert "stelle.example (1)" in finding.detail
        assert "geheim" not in f"{finding}"

    def test_other_columns_and_types_are_rewritten_as_well(self, biso_stage: Stage) -> None:
        with biso_stage.connect() as database:
            database.execute('CREATE TABLE "a % b" ("c %" jsonb, d varchar(40))')
            database.execute(
                """INSERT INTO "a % b" VALUES ('{"u": "smtp.stelle.example"}', 'x'), (NULL, NULL)"""
            )
        plugin = loaded(**{**OURS, "columns": ["public.a % b.c %", "a % b.d"]})
        changes = plugin.call("biso_neutralize", stage=biso_stage)
        assert [one.count for one in changes] == [1, 0]
        with biso_stage.connect() as database:
            rewritten = database.execute('SELECT "c %" FROM "a % b" WHERE d IS NOT NULL').fetchall()
        assert rewritten == [({"u": "localhost"},)]
        assert all(one.ok for one in plugin.call("biso_verify", stage=biso_stage))

    def test_a_column_that_is_not_there_is_named(self, biso_stage: Stage) -> None:
        plugin = loaded(**{**OURS, "columns": ["params.value"]})
        with pytest.raises(StepFailed, match=r"no column params\.value"):
            plugin.call("biso_neutralize", stage=biso_stage)
        (finding,) = plugin.call("biso_verify", stage=biso_stage)
        assert not finding.ok and "params.value" in finding.detail

    def test_a_stage_that_was_not_neutralised_is_left_alone(self, biso_stage: Any) -> None:
        as_it_was = replace(biso_stage, neutralized=False)
        assert loaded(**OURS).call("biso_verify", stage=as_it_was) == ()


def test_without_its_section_it_does_nothing() -> None:
    plugin = loaded()
    assert plugin.call("biso_neutralize", stage=None) == ()
    assert plugin.call("biso_verify", stage=None) == ()


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"columns": ["params"]}, 'not like "table.column"'),
        ({"production": [""]}, "is empty"),
        ({"mail": "x@y"}, "`production` names the domains"),
        ({"mail": "nobody", "production": ["y"]}, "not a mail address"),
        ({"addresses": {"https://a.ch": "https://A.ch/test"}}, "which is production's"),
        ({"addresses": {"a.ch": "b.ch", "b.ch": "c.ch"}}, 'names "b.ch"'),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(**section)


class TestInASite:
    pytestmark = real

    def test_a_refresh_rewrites_and_verifies_and_production_keeps_its_own(
        self, biso_site: ThrowawaySite
    ) -> None:
        biso_site.prod.psql("INSERT INTO params VALUES ('k', 'url', 'https://biso.stelle.example')")
        biso_site.use(loaded(**OURS))
        biso_site.run("refresh-test")
        url = "SELECT wert FROM params WHERE name = 'url'"
        sender = "SELECT wert FROM params WHERE name = 'mail.absender'"
        assert biso_site.test.psql(url) == "https://biso-test.stelle.example"
        assert biso_site.test.psql(sender) == "biso-test@it.example"
        assert biso_site.prod.psql(url) == "https://biso.stelle.example"
        assert biso_site.prod.psql(sender) == "info@demo-prod.example"

    def test_what_stays_productions_ends_the_refresh_and_test_serves_what_it_did(
        self, biso_site: ThrowawaySite
    ) -> None:
        biso_site.prod.psql("INSERT INTO params VALUES ('k', 'sms', 'https://sms.stelle.example')")
        before = biso_site.test.psql("SELECT * FROM params ORDER BY 1, 2")
        biso_site.use(loaded(**OURS))
        ended = biso_site.run("refresh-test", "--no-anonymize", ok=False)
        assert ended["exit_code"] == 4, ended["stderr"]
        assert "stelle.example (1)" in ended["error"]["message"]
        assert biso_site.test.psql("SELECT * FROM params ORDER BY 1, 2") == before

    def test_a_drill_of_a_set_of_production_has_nothing_to_find(
        self, biso_site: ThrowawaySite
    ) -> None:
        biso_site.use(loaded(**OURS))
        biso_site.run("backup")
        drilled = biso_site.run("verify", "--drill", "--on", "test")
        assert drilled["findings"] == []
