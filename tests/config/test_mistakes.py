"""One mistake a test, with the exact text that a person reads."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from config_mistakes import MISTAKES

Wrong = Callable[..., list[str]]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_line_key_cause_and_remedy(mistake: str, wrong: Wrong) -> None:
    text, expected = MISTAKES[mistake]
    assert wrong(text) == [f"biso.toml:{expected}"]


def test_the_line_of_the_style_guide(wrong: Wrong) -> None:
    base = '[environments.prod]\nrole = "production"\nwebroot = "/srv/prod"\n' + "\n" * 9
    text = '[environments.test]\nrole = "tset"\nwebroot = "/srv/test"\n'
    assert wrong(text, base=base) == [
        'biso.toml:14: environments.test.role: expected "production" or "test", got "tset" '
        '(did you mean "test"?)'
    ]


@pytest.mark.real
@pytest.mark.needs("ssh")
def test_without_the_check_a_host_that_begins_with_a_dash_runs_a_program(
    tmp_path: Path, wrong: Wrong
) -> None:
    host = f"-oProxyCommand=touch {tmp_path}/ran"
    subprocess.run(["ssh", "-F", "none", host, "true"], capture_output=True, check=False)
    assert (tmp_path / "ran").exists()
    assert len(wrong(f'ssh = "{host}"\n')) == 1


def test_an_empty_file_says_what_is_needed(wrong: Wrong) -> None:
    assert wrong(base="") == [
        "biso.toml: environments: none is declared (write [environments.test] and its webroot)"
    ]


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_lines(wrong: Wrong) -> None:
    found = wrong(
        'ssh = "-x"\n[refresh]\nto = "tset"\nanonymize = 3\n[backup]\nformat = "plan"\n'
        'keep = { last = -1, dialy = 3 }\n[site]\nname = ""\n'
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["biso.toml:7", "environments.test.ssh"],
        ["biso.toml:9", "refresh.to"],
        ["biso.toml:10", "refresh.anonymize"],
        ["biso.toml:12", "backup.format"],
        ["biso.toml:13", "backup.keep.dialy"],
        ["biso.toml:13", "backup.keep.last"],
        ["biso.toml:15", "site.name"],
    ]


def test_what_follows_from_a_mistake_is_not_reported_again(wrong: Wrong) -> None:
    assert len(wrong('[environments.third]\nrole = "tset"\nwebroot = ""\nssh = 3\n')) == 3


def test_a_production_target_is_left_to_the_guard_at_run_time(wrong: Wrong) -> None:
    assert wrong('[refresh]\nfrom = "test"\nto = "prod"\n') == []


def test_a_stage_inside_the_data_dir_is_allowed_as_that_may_be_a_mount_point(wrong: Wrong) -> None:
    assert wrong('datadir = "/data/biso"\nstage_dir = "/data/biso/.stage"\n') == []


def test_two_hosts_may_have_the_same_paths(wrong: Wrong) -> None:
    text = '[environments.third]\nrole = "test"\nwebroot = "/srv/prod"\nssh = "elsewhere"\n'
    assert wrong(text) == []


def test_nothing_of_a_value_reaches_the_terminal_as_a_control_character(wrong: Wrong) -> None:
    (line,) = wrong('[refresh]\nstrategy = "\\u001b[2J\\u202e\\u0085"\n')
    assert line.isprintable()
    assert '"\\u001b[2J\\u202e\\u0085"' in line


def test_a_password_that_stands_in_the_file_is_not_repeated(wrong: Wrong) -> None:
    assert "geheim" not in "".join(
        wrong(
            'password = "geheim"\nurl = "https://a:geheim@b/"\ndatabase = { passwd = "geheim" }\n'
        )
    )
