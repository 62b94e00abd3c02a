"""Which installations a pattern means."""

from __future__ import annotations

from pathlib import Path

import pytest

from biso_tasks.cli.fleet.child import words
from biso_tasks.cli.fleet.kinds import KINDS
from biso_tasks.cli.fleet.members import Member, Members, choose, is_many
from biso_tasks.cli.site import find_site
from biso_tasks.errors import ConfigError, UsageError

ONE = """\
[environments.{name}]
role = "production"
webroot = "/srv/{name}"
ssh = "host-{name}"
[environments.{name}-test]
role = "test"
webroot = "/srv/{name}-test"
copy_of = "{name}"
"""


@pytest.fixture
def one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "biso.toml"
    file.write_text("".join(ONE.format(name=name) for name in ("bern", "uri", "zug")))
    monkeypatch.setenv("BISO_CONFIG", str(file))
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("bern", "uri", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "biso.toml").write_text(ONE.format(name="prod"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "odd name").mkdir()
    (tmp_path / "odd name/biso.toml").write_text("[site]\nnme = 1\n")
    monkeypatch.setenv("BISO_CONFIG", str(tmp_path))
    return tmp_path


def names(task: str, value: str, **arguments: object) -> list[str]:
    return [one.name for one in found(task, value, **arguments).chosen]


def found(task: str, value: str, **arguments: object) -> Members:
    return choose(task, KINDS[task], value, arguments)


def test_only_a_pattern_or_several_names_mean_many(one_file: Path) -> None:
    assert [is_many(one) for one in ("", "bern", "b*", "ber?", "[bu]*", "bern,uri")] == [
        *(False, False),
        *(True, True, True, True),
    ]


def test_in_a_folder_of_sites_every_value_means_many(folder: Path) -> None:
    assert is_many("") and is_many("bern")


def test_they_come_in_the_order_of_the_file_each_once(one_file: Path) -> None:
    assert names("recover", "zug,uri,*") == [
        *("zug", "uri", "bern", "bern-test", "uri-test", "zug-test")
    ]
    assert names("backup", "?ern") == ["bern"]


def test_production_is_left_out_of_what_changes_a_test_instance(one_file: Path) -> None:
    members = found("refresh-test", "*i*,bern*")
    assert [one.name for one in members.chosen] == ["uri-test", "bern-test"]
    assert members.left_out == ("uri", "bern")
    for task, kind in KINDS.items():
        changes = task in ("refresh-test", "anonymize", "rollback", "reset-test", "baseline")
        assert kind.test_only == changes, "who may mean production by a pattern is decided here"


def test_copies_are_left_out_of_what_is_about_sets_but_where_they_are_named(one_file: Path) -> None:
    members = found("backup", "bern*,uri-test")
    assert [one.name for one in members.chosen] == ["bern", "uri-test"]
    assert members.left_out == ("bern-test",)
    assert names("backup", "*-test") == ["bern-test", "uri-test", "zug-test"]


def test_a_pattern_that_fits_production_alone_is_an_error(one_file: Path) -> None:
    with pytest.raises(UsageError, match=r"fits production alone \(bern, uri, zug\)"):
        found("rollback", "????,???")


@pytest.mark.parametrize(
    ("value", "said", "hint"),
    [
        ("berm,uri", "'berm' fits nothing", 'did you mean "bern"?'),
        ("uri,x*", r"'x\*' fits nothing", "there is bern, bern-test, uri"),
        (",", "names nothing", "name one"),
    ],
)
def test_a_part_that_means_nobody_is_an_error(
    one_file: Path, value: str, said: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        found("backup", value)
    assert hint in caught.value.hint


def test_of_a_folder_each_site_is_called_by_its_folder(folder: Path) -> None:
    members = found("backup", "*")
    assert [one.name for one in members.chosen] == ["bern", "odd name", "uri"]
    assert {one.environment for one in members.chosen} == {""}
    assert members.state == folder / ".biso"
    assert [one.file for one in found("backup", "uri").chosen] == [folder / "uri/biso.toml"]


def test_of_a_folder_an_environment_comes_behind_a_slash(folder: Path) -> None:
    assert names("recover", "[bu]*/*") == [
        *("bern/prod", "bern/prod-test", "uri/prod", "uri/prod-test")
    ]
    assert names("backup", "[bu]*/*") == ["bern/prod", "uri/prod"]
    assert names("rollback", "bern/*") == ["bern/prod-test"]
    with pytest.raises(UsageError, match="has such an environment"):
        found("rollback", "bern/prod")


def test_a_site_that_is_wrong_is_one_that_will_say_so(folder: Path) -> None:
    assert found("backup", "odd*/x*").chosen == (
        Member("odd name/x*", folder / "odd name/biso.toml", "x*"),
    )


def test_in_a_folder_it_is_said_how_all_or_one_are_meant(folder: Path) -> None:
    with pytest.raises(UsageError, match="holds 3 sites: bern, odd name, uri") as caught:
        found("backup", "")
    assert "--env '*' means all of them" in caught.value.hint
    with pytest.raises(ConfigError, match="holds 3 sites, and this task is about one"):
        find_site()


def test_what_locks_the_same_waits(one_file: Path, folder: Path) -> None:
    drilled = [one.holds for one in found("verify", "bern,uri", drill=True).chosen]
    assert not drilled[0] & drilled[1], "each in its own copy"
    same = [one.holds for one in found("verify", "bern,uri", drill=True, on="zug-test").chosen]
    assert len(same[0] & same[1]) == 1
    assert not found("list", "bern").chosen[0].holds
    (folder / "biso.toml").unlink()
    backups = [one.holds for one in found("backup", "bern,uri").chosen]
    assert backups[0] == backups[1], "the same host and path, by whichever site"


def test_a_member_is_given_what_was_given_but_for_the_pattern() -> None:
    member = Member("bern", Path("/x"), "bern")
    given = {"env": "b*", "only": "data", "no_maintenance": True, "set_": "", "all_": False}
    assert words("backup", "env", member, given) == (
        *("backup", "--json", "--env=bern", "--only=data", "--no-maintenance"),
    )
    whole = Member("bern", Path("/x"), "")
    assert "--env" not in " ".join(words("backup", "env", whole, {"env": "b*"}))
