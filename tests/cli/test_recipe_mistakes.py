"""What is wrong in recipes of biso.toml is told at once, with its line, before a host is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.cli import commands
from biso_tasks.session import Session

SITE = """\
[environments.prod]
role = "production"
ssh = "nobody@192.0.2.1"
webroot = "/nowhere/prod"
[environments.test]
role = "test"
ssh = "nobody@192.0.2.1"
webroot = "/nowhere/test"
"""
FIRST = SITE.count("\n") + 1
PLUGIN = """
from biso_tasks.api import Action, Insert, RecipeText, hookimpl

@hookimpl
def biso_actions(site):
    return [Action("count-rooms", lambda context: None)]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/rooms.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BISO_CONFIG", raising=False)

    def asked(session: Session, *given: Any) -> None:
        pytest.fail("a host was contacted")

    monkeypatch.setattr(Session, "_connected", asked)
    return tmp_path


def told(
    site: Path,
    text: str,
    capfd: pytest.CaptureFixture[str],
    command: str = "refresh-test",
    code: int = 2,
    **options: Any,
) -> list[str]:
    """The lines of the error."""
    (site / "biso.toml").write_text(SITE + text)
    assert commands.run(command, {"yes": True, "json": True, **options}) == code
    out, err = capfd.readouterr()
    error = json.loads(out)["error"]
    assert error["kind"] == "config"
    assert "Traceback" not in err
    return list(error["message"].splitlines())


INSERT = '[[recipes.refresh-test.insert]]\nname = "mine"\n'
OWN = '[[recipes.mine.step]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            f'{INSERT}after = "stage-dat"\non = "test"\nrun = ["true"]\n', 2,
            ["recipes.refresh-test.insert[0].after", '"stage-dat"', 'did you mean "stage-data"?'],
        ),
        (
            f'{INSERT}before = "swop"\non = "test"\nrun = ["true"]\n', 2,
            ["insert[0].before", 'did you mean "swap"?', "its steps are: lock, guard"],
        ),
        (
            '[[recipes.refresh-test.insert]]\nname = "scrub"\nafter = "stage-data"\non = "test"\n'
            'run = ["true"]\n', 1,
            ["insert[0].name", 'there is a step "scrub" already', "another name"],
        ),
        (
            f'{INSERT}after = "scrub"\non = "test"\nrun = ["rm",\n  "{{stage.datadr}}/x"]\n', 5,
            ["insert[0].run[1]", "{stage.datadr} is not known", "did you mean {stage.datadir}?"],
        ),
        (
            f'{INSERT}after = "scrub"\non = "test"\nuses = "count-roms"\n', 4,
            ["insert[0].uses", 'no action "count-roms"', 'did you mean "count-rooms"?'],
        ),
        (
            f'{INSERT}after = "stage-data"\non = "target"\nuses = "swap"\n', 4,
            ["insert[0].uses", '"swap" cannot be named in step mine', "safety rests on", "`run`"],
        ),
        (
            f'{INSERT}after = "stage-data"\non = "target"\nuses = "set-seal"\n', 4,
            ["insert[0].uses", "it is a part of backup and baseline", "change backup with insert"],
        ),
        (
            f'{INSERT}after = "scrub"\non = "tset"\nrun = ["true"]\n', 3,
            ["insert[0].on", 'did you mean "test"?'],
        ),
        (
            f'{INSERT}after = "scrub"\nrun = ["true"]\n', 0,
            ["insert[0].on", "is missing", '"source", "target", "prod" or "test"'],
        ),
        (
            '[recipes.refresh-test]\nskip = ["migrate", "scrib"]\n', 1,
            ["recipes.refresh-test.skip[1]", 'did you mean "scrub"?'],
        ),
        (
            '[recipes.refresh-test]\nskip = ["prove"]\n', 1,
            ["skip[0]", 'step "prove" cannot be skipped: it is part of the safety'],
        ),
        (
            '[recipes.refresh-test.set.migrat]\ntimeout = "5m"\n', 0,
            ["recipes.refresh-test.set.migrat", 'did you mean "migrate"?'],
        ),
        (
            '[recipes.refresh-test.set.migrate]\ntiemout = "5m"\n', 1,
            ["set.migrate.tiemout", "no key of a step", 'did you mean "timeout"?'],
        ),
        (
            '[recipes.refresh-test.set.migrate]\nuses = "swap"\n', 1,
            ["set.migrate.uses", '"swap" cannot be named in step migrate'],
        ),
        (
            '[recipes.refresh-test.set.migrate]\nwhen = "anonymise"\n', 1,
            ["set.migrate.when", 'no condition "anonymise"', '"anonymize"'],
        ),
        (
            '[recipes.refresh-test.set.keep]\nneeds = ["neutralize"]\n',
            0,
            ["recipes.refresh-test", "would no longer wait", "as they are"],
        ),
        ('[recipes.refresh-test]\nconfirm = "tst"\n', 1, [".confirm", 'did you mean "test"?']),
        ('[recipes.refresh-tset]\nskip = ["x"]\n', 0, ["no such recipe", '"refresh-test"?']),
        ('[recipes.backup]\n[[recipes.backup.step]]\nname = "a"\non = "prod"\nrun = ["true"]\n', 1,
            ["recipes.backup.step", "cannot be declared anew", "insert, skip and set"]),
        (f'{OWN}uses = "snapshot"\non = "prod"\n', 2,
            ["recipes.mine.step[0].uses", '"snapshot" cannot be named in step a of mine',
             "refresh-in-place, refresh-test and release", "insert, skip and set"]),
        (f'{OWN}uses = "set-open"\non = "prod"\n', 2, ["part of backup and baseline"]),
        (f'{OWN}uses = "lok"\non = "prod"\n', 2, ['did you mean "lock"?']),
        (f'{OWN}uses = "lock"\n', 0, ["step[0].on", "is about one environment"]),
        (
            f'{OWN}uses = "lock"\non = "test"\n[[recipes.mine.step]]\nname = "b"\nuses = "unlock"\n'
            'on = "prod"\n', 7,
            ["step[1].on", 'holds "test" already', "two recipes"],
        ),
        (f'{OWN}on = "test"\nrun = ["echo", "{{stage.datadir}}"]\n', 3,
            ["step[0].run[1]", "{stage.datadir} is not known in mine", "known here: {run}"]),
        (f'{OWN}on = "test"\nrun = ["true"]\nwhen = "monday"\n', 4, ["it has none"]),
        (f'{OWN}on = "test"\nrun = ["true"]\nconfirm = "tost"\n', 4, ["confirm", '"test"?']),
        (f'{OWN}on = "test"\nrun = ["true"]\nneeds = ["b"]\n', 4,
            ["step[0].needs", 'needs "b", which does not exist']),
        (f'{OWN}on = "test"\nrun = ["true"]\nparams = {{ a = 1 }}\n', 4,
            ["step[0].params.a", "takes no parameters"]),
        (
            f'{OWN}on = "test"\nrun = ["true"]\nneeds = ["b"]\n[[recipes.mine.step]]\nname = "b"\n'
            'on = "test"\nrun = ["true"]\nneeds = ["a"]\n', 4,
            ["needs", "steps wait for each other"],
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_what_to_write(
    site: Path, capfd: pytest.CaptureFixture[str], text: str, line: int, said: list[str]
) -> None:
    lines = told(site, text, capfd)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"biso.toml:{FIRST + line}: recipes."), lines[0]
    for words in said:
        assert words in lines[0]


def test_all_mistakes_of_all_recipes_come_at_once(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = (
        f'{INSERT}after = "stage-dat"\non = "test"\nrun = ["true"]\n'
        '[recipes.backup]\nskip = ["sael"]\n'
        f'{OWN}uses = "nothing"\non = "nowhere-at-all"\n'
    )
    lines = told(site, text, capfd, command="rollback", env="")
    assert [line.split(":")[1] for line in lines] == [
        str(FIRST + number) for number in (2, 6, 9, 10)
    ]


def test_what_fits_is_planned_and_a_plugins_action_is_welcome(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (site / "biso.toml").write_text(
        f'{SITE}{OWN}uses = "count-rooms"\nparams = {{ floor = 1 }}\n'
        '[[recipes.mine.step]]\nname = "b"\non = "test"\nrun = ["echo", "{run}", "{print}"]\n'
        f'{INSERT}after = "migrate"\nuses = "migrate"\non = "target"\n'
        '[recipes.refresh-test.set.mine]\ntimeout = "5m"\n'
        '[recipes.refresh-test.set.migrate]\nwhen = "not anonymize"\nconfirm = "target"\n'
    )
    assert commands.run("recipe", {"recipe": "mine", "plan": True, "json": True}) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["plan"][1]["changes"] == [f"runs echo {document['run']} '{{print}}'"]


def test_a_change_that_only_a_variant_cannot_take_is_no_mistake_elsewhere(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = f'{INSERT}after = "snapshot"\non = "source"\nrun = ["true"]\n{OWN}uses = "count-rooms"\n'
    (site / "biso.toml").write_text(SITE + text)
    assert commands.run("recipe", {"recipe": "mine", "plan": True}) == 0
    capfd.readouterr()
    (line,) = told(site, text, capfd, source="latest")
    assert line.startswith(f"biso.toml:{FIRST + 2}:") and "in refresh-from-set, a variant" in line


def test_a_mistake_in_the_section_of_a_plugin_is_told_with_its_line(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (line,) = told(site, "[plugins.rooms]\nfloor = 1\n", capfd)
    assert line == f"biso.toml:{FIRST}: plugins.rooms: the plugin takes no settings"


def test_what_a_plugin_does_wrong_names_the_plugin(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (site / "plugins/rooms.py").write_text(
        PLUGIN
        + "@hookimpl\ndef biso_steps(recipe):\n    return [Insert('x', after='swp', uses='swap')]\n"
    )
    assert 'plugin "rooms"' in told(site, "", capfd)[0]
    (site / "plugins/rooms.py").write_text(
        PLUGIN + '@hookimpl\ndef biso_recipes(site):\n    return [RecipeText(\'name = "rooms"\\n'
        '[[steps]]\\nname = "a"\\nuses = "stage-open"\', \'rooms.py\')]\n'
    )
    (line,) = told(site, "", capfd)
    assert line.startswith("rooms.py: recipe rooms, step a") and '"stage-open"' in line


@pytest.mark.parametrize("command", ["recover", "doctor"])
def test_who_runs_no_recipe_is_not_kept_from_work(
    site: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    text = f'{OWN}uses = "nothing"\n'
    (site / "biso.toml").write_text(SITE + text)
    with pytest.raises(pytest.fail.Exception, match="a host was contacted"):
        commands.run(command, {"env": "test"} if command == "recover" else {"for_": ""})
