"""What a test instance's config.php must say, and what is said where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from biso_tasks.errors import Refused
from biso_tasks.instance.config_php import Facts
from biso_tasks.stage.neutral import require_neutral, with_settings
from biso_tasks.values import Dsn, Secret

VALUES: dict[str, Any] = {
    "mail.host": "smtp.example.ch",
    "mail": {"versand": True, "konto": {"passwort": "geheim"}},
    "tage": 2,
}


def facts(values: dict[str, Any]) -> Facts:
    return Facts("dev", "/srv/data", Dsn("", 5432, "b", "b", Secret("")), None, "8.2", True, values)


@pytest.mark.parametrize(
    ("key", "wanted", "said"),
    [
        ("mail.host", "localhost", "mail.host (says something else)"),
        ("mail.versand", False, "mail.versand (says something else)"),
        ("mail.versand", 1, "mail.versand (says something else)"),
        ("mail.konto.passwort", "", "mail.konto.passwort (says something else)"),
        ("sms.aktiv", False, "sms.aktiv (is not set)"),
        ("tage", "2", "tage (says something else)"),
    ],
)
def test_what_is_not_as_it_must_be_is_named_without_its_value(
    key: str, wanted: Any, said: str
) -> None:
    with pytest.raises(Refused) as raised:
        require_neutral(facts(VALUES), ((key, wanted), ("tage", 2)), "test")
    assert raised.value.message == f"test: config.php is not what [neutralize] config wants: {said}"
    assert f"Config::set('{key}', " in raised.value.hint
    assert "geheim" not in str(raised.value) and "smtp" not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        (("mail.host", "localhost"),),
        (("mail.versand", False), ("mail.konto.passwort", ""), ("mail.konto.neu", "x")),
        (("sms.aktiv", False), ("tage", 0)),
    ],
)
def test_with_the_settings_it_is_as_it_must_be_and_the_rest_stays(settings: Any) -> None:
    changed = with_settings(VALUES, settings)
    after = {**VALUES, **changed}
    require_neutral(facts(after), settings, "test")
    assert set(VALUES) <= set(after)
    assert VALUES["mail"] == {"versand": True, "konto": {"passwort": "geheim"}}, "a copy is changed"
    if "mail" in changed:
        assert set(changed["mail"]) == set(VALUES["mail"])
