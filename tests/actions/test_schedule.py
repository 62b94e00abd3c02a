"""Timers for this machine: what is written, how it is understood, and that nothing else changes.

`systemctl` and `crontab` are stand-ins (no test may change the machine's own timers); what they
say and refuse was compared with systemd 252 and Debian's cron 3.0pl1. How units are read is asked
of systemd itself, where it is there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from biso_tasks.actions.schedule import systemd as schedule_systemd
from biso_tasks.actions.schedule.agenda import (
    Agenda,
    Job,
    Timetable,
    agenda,
    program,
    require_starts,
)
from biso_tasks.actions.schedule.cron import Crontab, cron_fields
from biso_tasks.actions.schedule.since import timers_since
from biso_tasks.actions.schedule.systemd import Units, on_calendar, unit_name
from biso_tasks.cli import commands, scheduling
from biso_tasks.config.findings import CONTROL, BadConfig
from biso_tasks.config.load import parse
from biso_tasks.config.model import Site
from biso_tasks.config.moment import Moment, moment
from biso_tasks.errors import Refused, StepFailed
from biso_tasks.host.local import LocalHost

SITE = """\
[site]
name = "beratung"
[environments.prod]
role = "production"
webroot = "/nowhere/prod"
[environments.test]
role = "test"
webroot = "/nowhere/test"
"""
OTHERS = "MAILTO=anna@example.org\n# m h dom\x0cmon dow\n*/5 * * * * /usr/bin/true 50\\%\n"
HOSTILE = """/srv/s' 50% $HOME "x" \\%n `id` ä=b;&"""


def site(text: str = "", file: str = "/srv/site/biso.toml") -> Site:
    return parse((SITE + text).encode(), Path(file))


def jobs(text: str = "", file: str = "/srv/site/biso.toml", start: str = "/bin/echo") -> Agenda:
    return agenda(site(text, file), (start,))


# -- when --


@pytest.mark.parametrize(
    ("text", "written", "calendar", "fields"),
    [
        ("02:30", "02:30", "*-*-* 02:30:00", "30 2 * * *"),
        ("2:30", "02:30", "*-*-* 02:30:00", "30 2 * * *"),
        ("00:00", "00:00", "*-*-* 00:00:00", "0 0 * * *"),
        ("sun 05:00", "sun 05:00", "Sun *-*-* 05:00:00", "0 5 * * 0"),
        ("Monday 23:59", "mon 23:59", "Mon *-*-* 23:59:00", "59 23 * * 1"),
        ("28  4:05", "28 04:05", "*-*-28 04:05:00", "5 4 28 * *"),
        ("01 4:05", "1 04:05", "*-*-01 04:05:00", "5 4 1 * *"),
    ],
)
def test_one_small_grammar_says_when(text: str, written: str, calendar: str, fields: str) -> None:
    at = moment(text)
    assert (str(at), on_calendar(at), cron_fields(at)) == (written, calendar, fields)
    assert site(f'[schedule]\nbackup = "{text}"\n').schedule.backup == written


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("daily", "is no time"),
        ("02.30", "is no time"),
        ("02:30:00", "is no time"),
        ("02:30 sun", "is no time"),
        ("٠٢:٣٠", "is no time"),
        ("24:00", "is later than any clock shows"),
        ("12:60", "is later than any clock shows"),
        ("31 02:30", "is on a day that not every month has"),
        ("0 02:30", "is on a day that not every month has"),
        ("sunn 02:30", "names no day (mon, tue, wed, thu, fri, sat, sun)"),
        ("mon,tue 02:30", "names no day (mon, tue, wed, thu, fri, sat, sun)"),
        ("*-*-* 02:30", "names no day (mon, tue, wed, thu, fri, sat, sun)"),
    ],
)
def test_any_other_text_is_a_mistake_with_its_remedy(text: str, cause: str) -> None:
    with pytest.raises(BadConfig) as caught:
        site(f'[schedule]\nprune = "{text}"\n')
    assert str(caught.value) == (
        f'/srv/site/biso.toml:10: schedule.prune: "{text}" {cause} (write "02:30", "sun 05:00" or '
        '"15 05:00" (the 15th of each month), or "" for never)'
    )


TIMES = (st.integers(0, 23), st.integers(0, 59))
MOMENTS = st.one_of(
    st.builds(Moment, *TIMES),
    st.builds(Moment, *TIMES, weekday=st.integers(0, 6)),
    st.builds(Moment, *TIMES, day=st.integers(1, 28)),
)


@given(MOMENTS)
def test_every_moment_is_read_back_and_means_the_same_to_cron(at: Moment) -> None:
    assert moment(str(at)) == at
    minute, hour, day, month, weekday = cron_fields(at).split(" ")
    assert (int(minute), int(hour), month) == (at.minute, at.hour, "*")
    first = date(2026, 11, 1)
    for one in (first + timedelta(days=number) for number in range(30)):
        due = at.weekday in (None, one.weekday()) and at.day in (None, one.day)
        assert due == (weekday in ("*", str(one.isoweekday() % 7)) and day in ("*", str(one.day)))


@pytest.mark.real
@pytest.mark.needs("systemd")
def test_every_moment_means_the_same_to_systemd() -> None:
    every = [Moment(2, 30), Moment(0, 0), Moment(23, 59)]
    every += [Moment(5, 7, weekday=number) for number in range(7)]
    every += [Moment(5, 7, day=number) for number in range(1, 29)]
    words = ["systemd-analyze", "calendar", *map(on_calendar, every)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"Next elapse: (\w{3}) (\d+-\d+-\d+) (\d\d):(\d\d):00", done.stdout)
    assert len(found) == len(every)
    for at, (weekday, day, hour, minute) in zip(every, found, strict=True):
        assert (int(hour), int(minute)) == (at.hour, at.minute)
        assert at.weekday is None or str(at).startswith(weekday.lower())
        assert at.day is None or date.fromisoformat(day).day == at.day


# -- which jobs --


def test_backup_prune_and_the_drill_run_by_themselves_and_the_refresh_where_the_site_says_so() -> (
    None
):
    said = [(str(job.at), *job.words) for job in jobs().jobs]
    assert said == [
        ("02:30", "backup", "--yes"),
        ("04:00", "prune", "--yes"),
        ("sun 05:00", "verify", "--drill", "--yes"),
    ]
    *_, refresh = jobs('[schedule]\nrefresh = "sat 3:00"\n').jobs
    assert refresh == Job("refresh", Moment(3, 0, weekday=5), ("refresh-test", "--yes"))
    off = '[schedule]\nbackup = ""\nprune = ""\nverify = ""\n'
    assert jobs(off).jobs == ()


def test_a_release_runs_by_itself_where_the_site_says_so_in_a_test_environment() -> None:
    *_, release = jobs('[schedule]\nrelease = "1:00"\n').jobs
    assert release == Job("release", Moment(1, 0), ("release", "--yes"))
    text = '[schedule]\nrelease = "1:00"\n[release]\nenvironment = "test"\n'
    assert jobs(text).jobs[-1].name == "release"


@pytest.mark.parametrize("key", ["verify", "refresh"])
def test_no_timer_writes_into_production_but_the_backup(key: str) -> None:
    text = '[refresh]\nfrom = "test"\nto = "prod"\n[schedule]\nverify = ""\n'
    with pytest.raises(Refused, match=rf"schedule\.{key}: refresh\.to is 'prod', a production"):
        jobs(text.replace('verify = ""\n', "") if key == "verify" else text + 'refresh = "3:00"\n')


def test_a_job_that_could_only_fail_is_refused_now() -> None:
    alone = parse(SITE.partition("[environments.test]")[0].encode(), Path("/srv/site/biso.toml"))
    with pytest.raises(Refused, match=r"schedule\.verify: there is no test environment") as caught:
        agenda(alone, ("/bin/echo",))
    assert 'verify = "" under [schedule]' in caught.value.hint
    no_production = parse(SITE.replace('"production"', '"test"').encode(), Path("/srv/biso.toml"))
    without = replace(no_production, backup=replace(no_production.backup, environment="production"))
    with pytest.raises(Refused, match=r"schedule\.backup: there is no environment 'production'"):
        agenda(without, ("/bin/echo",))


@pytest.mark.parametrize("name", ["line\nbreak", "bell\x07", "latin\udce4", "sep\u2028"])
def test_a_path_that_no_unit_can_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="cannot stand in a unit or a crontab"):
        agenda(replace(site(), file=Path(f"/srv/{name}/biso.toml")), ("/bin/echo",))
    with pytest.raises(Refused, match="cannot stand in a unit or a crontab"):
        jobs(start=f"/srv/{name}/biso")


@pytest.fixture
def host() -> Iterator[LocalHost]:
    made = LocalHost("this machine")
    yield made
    made.close()


def test_a_program_that_needs_this_shells_environment_is_refused(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An equals sign: env alone would take the path for a variable.
    start = tmp_path / "a=b 'c" / "biso"
    start.parent.mkdir()
    start.write_text('#!/bin/sh\necho "${NEEDED:?not there}" "$BISO_CONFIG" "$@" >"$0.said"\n')
    start.chmod(0o755)
    monkeypatch.setenv("NEEDED", "here")
    with pytest.raises(Refused, match=r"does not start without this shell's.*not there"):
        require_starts(host, jobs(start=str(start)))
    start.write_text(start.read_text().replace(":?not there", "-none"))
    require_starts(host, jobs(start=str(start)))
    assert Path(f"{start}.said").read_text() == "none /srv/site/biso.toml --version\n"


def test_this_very_program_can_be_started_from_anywhere() -> None:
    start, *words = program()
    assert Path(start).is_absolute() and os.access(start, os.X_OK)
    assert not words or start == sys.executable


# -- how it is written --

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)


@given(NAMES, NAMES)
def test_any_site_has_a_unit_name_of_its_own(one: str, other: str) -> None:
    name = unit_name(one, "backup")
    assert re.fullmatch(r"[A-Za-z0-9_.\\-]+", name, re.ASCII)
    assert len(f"{name}.service") < 256
    assert (name == unit_name(other, "backup")) == (one == other)


@pytest.mark.real
@pytest.mark.needs("systemd")
@pytest.mark.parametrize("name", ["plain", "Bürö Zürich", "a@b", "50% \\ $x", "a_b.c"])
def test_unit_names_are_escaped_as_systemd_does_it(name: str) -> None:
    words = ["systemd-escape", "--", name]
    escaped = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert unit_name(name, "prune") == f"biso-{escaped}-prune"


def test_the_units_say_what_a_person_expects(host: LocalHost) -> None:
    pieces = {p.name: p.text for p in Units(host, Path("/x"), user=False).planned(jobs())}
    assert sorted(pieces) == [
        f"biso-beratung-{job}.{kind}"
        for job in ("backup", "prune", "verify")
        for kind in ("service", "timer")
    ]
    assert pieces["biso-beratung-prune.service"] == (
        "# biso schedule: /srv/site/biso.toml\n"
        "# Replaced and removed as a whole, by `biso schedule`.\n"
        "[Unit]\n"
        "Description=beratung: prune (biso-tasks)\n"
        "Wants=network-online.target\n"
        "After=network-online.target biso-beratung-backup.service\n"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        "Environment=BISO_CONFIG=/srv/site/biso.toml\n"
        "Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        "ExecStart=/bin/echo prune --yes\n"
        "SuccessExitStatus=75\n"
        "UMask=0077\n"
        "Nice=10\n"
        "IOSchedulingClass=best-effort\n"
        "IOSchedulingPriority=7\n"
        "KillMode=mixed\n"
        "TimeoutStartSec=12h\n"
        "TimeoutStopSec=15min\n"
        "ProtectKernelLogs=yes\n"
        "ProtectKernelModules=yes\n"
        "ProtectKernelTunables=yes\n"
        "ProtectControlGroups=yes\n"
        "ProtectClock=yes\n"
        "ProtectHostname=yes\n"
        "RestrictRealtime=yes\n"
        "LockPersonality=yes\n"
        "SystemCallArchitectures=native\n"
    )
    assert pieces["biso-beratung-verify.timer"].endswith(
        "[Timer]\nOnCalendar=Sun *-*-* 05:00:00\nPersistent=true\nRandomizedDelaySec=2min\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )
    own = Units(host, Path("/x"), user=True).planned(jobs())
    assert not any("network" in piece.text for piece in own), "a user's systemd knows none"
    assert not any("Protect" in piece.text for piece in own), "there they would end sudo"


@pytest.mark.real
@pytest.mark.needs("systemd")
def test_systemd_itself_takes_the_units_and_is_asked_before_they_are_installed(
    host: LocalHost, tmp_path: Path
) -> None:
    units = Units(host, tmp_path, user=False)
    planned = units.planned(jobs())
    for piece in planned:
        (tmp_path / piece.name).write_text(piece.text)
    words = ["systemd-analyze", "verify", "--man=no"]
    services = [str(tmp_path / piece.name) for piece in planned]
    done = subprocess.run([*words, *services], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line], done.stderr
    units._verify(planned)
    wrong = [replace(planned[0], text=planned[0].text.replace("Type=oneshot", "Type=once"))]
    with pytest.raises(StepFailed, match="would not take the units"):
        units._verify(wrong)


@pytest.mark.real
@pytest.mark.needs("systemd", "setpriv")
@pytest.mark.parametrize("start", ["/srv/ä b%c/biso", f"{HOSTILE}/biso"])
def test_systemd_reads_the_very_paths_that_were_meant(host: LocalHost, start: str) -> None:
    """Asked of systemd as a user's manager in its test mode, which prints what it has read."""
    manager = next((p for p in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd")
                    if os.access(p, os.X_OK)), "")  # fmt: skip
    assert manager
    wanted = replace(jobs(file=f"{HOSTILE}/biso.toml", start=start), site='Bürö 50%n "x" \\')
    folder = Path(tempfile.mkdtemp(prefix="biso-units-"))
    try:
        for piece in Units(host, folder, user=True).planned(wanted):
            (folder / piece.name).write_text(piece.text)
        folder.chmod(0o755)
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if os.geteuid() == 0:
            os.chown(runtime, 65534, 65534)
        name = unit_name(wanted.site, "verify")
        done = subprocess.run(
            [*(nobody if os.geteuid() == 0 else []), manager, "--test", "--user",
             f"--unit={name}.service"],
            cwd="/", capture_output=True, text=True, check=False,
            env={"XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime), "PATH": os.environ["PATH"],
                 "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_TARGET": "console"},
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    _, _, part = done.stdout.partition(f"Unit {name}.service:\n")
    assert part, done.stdout + done.stderr
    part = part.partition("-> Unit ")[0]
    assert 'Description: Bürö 50%n "x" \\: verify (biso-tasks)\n' in part
    assert f"Environment: BISO_CONFIG={HOSTILE}/biso.toml\n" in part
    for earlier in ("backup", "prune"):
        assert f"After: {unit_name(wanted.site, earlier)}.service" in part
    assert "KillMode: mixed" in part and "UMask: 0077" in part
    (line,) = re.findall(r"Command Line: (.*)", part)
    # It prints the words in double quotes, escaped, and before it puts in variables.
    words = [
        re.sub(r"\$(.?)", lambda found: "$" if found[1] == "$" else "VARIABLE", word)
        for word in shlex.split(re.sub(r"\\([$`])", r"\1", line))
    ]
    assert words[-4:] == [start, "verify", "--drill", "--yes"]
    assert words[:-4] == ([] if start.startswith("/srv/ä") else ["/bin/sh", "-c", 'exec "$0" "$@"'])


def as_cron_does(line: str) -> str:
    """What cron gives to the shell of a line: as do_command.c of Vixie's cron, which Debian's and
    cronie share, takes "%" and the backslash before it."""
    text, escaped = "", False
    for char in line.split(" ", 5)[5]:
        if escaped:
            text = text[:-1] + char if char == "%" else text + char
            escaped = False
            continue
        if char == "%":
            break
        escaped = char == "\\"
        text += char
    return text


PATHS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda t: not CONTROL.search(t))


@given(PATHS)
def test_cron_and_the_shell_read_the_very_paths_that_were_meant(path: str) -> None:
    assume("/" not in path and path not in (".", ".."))
    host = LocalHost("this machine")
    wanted = jobs(file=f"/srv/{path}/biso.toml", start=f"/opt/{path}/biso")
    (piece,) = Crontab(host).planned(wanted)
    first, whole, backup, *_, last = piece.text.removesuffix("\n").split("\n")
    assert first.startswith("# BEGIN ") and whole.startswith("# ") and last.startswith("# END ")
    words = shlex.split(as_cron_does(backup))
    assert f"BISO_CONFIG=/srv/{path}/biso.toml" in words
    assert words[-4:] == ["10", f"/opt/{path}/biso", "backup", "--yes"]


def test_a_real_shell_runs_what_cron_gives_it(host: LocalHost, tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE.replace("/", "_")
    folder.mkdir()
    start = folder / "biso"
    start.write_text('#!/bin/sh\nprintf "%s|%s|" "$BISO_CONFIG" "$(umask)" "$@" >"$0.said"\n')
    start.chmod(0o755)
    (piece,) = Crontab(host).planned(jobs(file=f"{folder}/biso.toml", start=str(start)))
    text = as_cron_does(piece.text.split("\n")[2])
    subprocess.run(["/bin/sh", "-c", text], check=True, env={}, stdin=subprocess.DEVNULL)
    assert Path(f"{start}.said").read_text() == f"{folder}/biso.toml|0077|backup|--yes|"


# -- installed, changed, removed --

SYSTEMCTL = r"""#!/bin/bash
# systemctl, as far as it matters: what was enabled, what the manager has loaded, what runs.
[ "$1" != --user ] || shift
verb=$1; shift
while [[ "${1-}" == --* ]]; do shift; done
mkdir -p "$STAND_IN/loaded" "$STAND_IN/active"
[ ! -e "$STAND_IN/dead" ] || { echo "Failed to connect to bus: No medium found" >&2; exit 1; }
case $verb in
  show) echo Version=252 ;;
  daemon-reload) rm -f "$STAND_IN/loaded"/*; cp "$UNITS"/*.timer "$STAND_IN/loaded"/ 2>/dev/null
    true ;;
  enable|disable) for unit; do
      [ -e "$UNITS/$unit" ] || { echo "Unit file $unit does not exist." >&2; exit 1; }
      mkdir -p "$UNITS/timers.target.wants"
      if [ $verb = enable ]; then ln -sf "../$unit" "$UNITS/timers.target.wants/$unit"
      else rm -f "$UNITS/timers.target.wants/$unit" "$STAND_IN/active/$unit"; fi
    done
    [ $verb = disable ] || cp "$UNITS"/*.timer "$STAND_IN/loaded"/ ;;
  restart) for unit; do
      [ -e "$STAND_IN/loaded/$unit" ] || { echo "Unit $unit not found." >&2; exit 5; }
      [ -e "$STAND_IN/lame" ] || cp "$STAND_IN/loaded/$unit" "$STAND_IN/active/$unit"
    done ;;
  is-active) code=3; for unit; do
      if [ -e "$STAND_IN/active/$unit" ]; then echo active; code=0; else echo inactive; fi
    done; exit $code ;;
  clean|reset-failed) exit 1 ;;
  *) echo "Unknown command verb $verb." >&2; exit 1 ;;
esac
"""
CRONTAB = r"""#!/bin/sh
# crontab, as Debian's: an empty one is no error, a line without its end is.
case ${1-} in
  -l) if [ -e "$STAND_IN/closed" ]; then
      echo "You (x) are not allowed to use this program (crontab)" >&2; exit 1
    fi
    [ -e "$STAND_IN/crontab" ] || { echo "no crontab for x" >&2; exit 1; }
    cat "$STAND_IN/crontab" ;;
  -r) [ -e "$STAND_IN/crontab" ] || { echo "no crontab for x" >&2; exit 1; }
    rm "$STAND_IN/crontab" ;;
  -) cat >"$STAND_IN/new"; echo >>"$STAND_IN/written"
    if [ -n "$(tail -c 1 "$STAND_IN/new")" ]; then
      echo "new crontab file is missing newline before EOF, can't install." >&2; exit 1
    fi
    [ -e "$STAND_IN/forgets" ] || mv "$STAND_IN/new" "$STAND_IN/crontab" ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of the stand-ins (systemctl, crontab), which are on the PATH; HOME is empty."""
    state, programs, home = (tmp_path / name for name in ("state", "bin", "home"))
    for folder in (state, programs, home):
        folder.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("crontab", CRONTAB)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("STAND_IN", str(state))
    monkeypatch.setenv("UNITS", str(home / ".config/systemd/user"))
    return state


@pytest.fixture
def units(stand_in: Path, host: LocalHost) -> Units:
    return Units(host, schedule_systemd.user_folder(), user=True)


@pytest.fixture
def crontab(stand_in: Path, host: LocalHost) -> Crontab:
    return Crontab(host)


@pytest.fixture(params=["units", "crontab"])
def place(request: pytest.FixtureRequest) -> Timetable:
    found: Timetable = request.getfixturevalue(request.param)
    return found


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_is_installed_is_what_was_shown_and_a_second_time_changes_nothing(
    place: Timetable, stand_in: Path, tmp_path: Path
) -> None:
    wanted = jobs(file=f"{HOSTILE}/biso.toml")
    assert place.present(wanted) == ()
    place.install(wanted)
    assert place.present(wanted) == place.planned(wanted) != ()
    before = everything(tmp_path)
    place.install(wanted)
    assert everything(tmp_path) == before


def test_another_time_is_the_one_that_runs(place: Timetable, stand_in: Path) -> None:
    place.install(jobs())
    later = jobs('[schedule]\nbackup = "sat 22:15"\n')
    assert place.present(later) != place.planned(later)
    place.install(later)
    assert place.present(later) == place.planned(later)
    if place.kind == "systemd":
        running = (stand_in / "active/biso-beratung-backup.timer").read_text()
        assert "OnCalendar=Sat *-*-* 22:15:00\n" in running


def test_what_the_site_no_longer_wants_or_calls_otherwise_is_taken_away(
    place: Timetable, stand_in: Path
) -> None:
    place.install(jobs('[schedule]\nrefresh = "sat 3:00"\n'))
    renamed = replace(jobs(), site="other")
    place.install(renamed)
    assert place.present(renamed) == place.planned(renamed)
    if place.kind == "systemd":
        assert sorted(p.name for p in (stand_in / "active").iterdir()) == [
            f"biso-other-{job}.timer" for job in ("backup", "prune", "verify")
        ]
    place.install(replace(jobs(), jobs=()))
    assert place.present(jobs()) == ()


def test_removing_leaves_the_timers_of_others_and_of_other_sites(
    units: Units, stand_in: Path
) -> None:
    other = replace(jobs(file="/srv/site/biso.toml.d"), site="other")
    units.install(other)
    (units.folder / "biso-own.timer").write_text("# by hand\n[Timer]\nOnCalendar=daily\n")
    before = everything(units.folder)
    units.install(jobs())
    units.remove(jobs())
    units.remove(jobs())
    assert everything(units.folder) == before
    assert len(list((stand_in / "active").iterdir())) == 3
    assert len(list((units.folder / "timers.target.wants").iterdir())) == 3


@pytest.mark.parametrize("rest", ["", OTHERS, OTHERS + "\n\n", "# umlaut \udce4\n"])
def test_every_line_of_others_stays_in_the_crontab(
    crontab: Crontab, stand_in: Path, rest: str
) -> None:
    file = stand_in / "crontab"
    theirs = rest.encode("utf-8", "surrogateescape")
    if rest:
        file.write_bytes(theirs)
    other = jobs(file="/srv/site/biso.toml.d")
    crontab.install(jobs())
    crontab.install(other)
    with file.open("ab") as handle:
        handle.write(b"0 0 1 1 * true # below\n")
    crontab.install(jobs('[schedule]\nbackup = "1:00"\n'))
    assert file.read_bytes().startswith(theirs + b"# BEGIN biso schedule: /srv/site/biso.toml\n")
    crontab.remove(other)
    crontab.remove(jobs())
    assert file.read_bytes() == theirs + b"0 0 1 1 * true # below\n"


def test_a_crontab_that_was_not_there_is_not_there_afterwards(
    crontab: Crontab, stand_in: Path
) -> None:
    crontab.install(jobs())
    crontab.remove(jobs())
    crontab.remove(jobs())
    assert not (stand_in / "crontab").exists()


def test_a_crontab_that_cannot_be_read_is_not_taken_for_an_empty_one(
    crontab: Crontab, stand_in: Path
) -> None:
    (stand_in / "crontab").write_text(OTHERS)
    (stand_in / "closed").touch()
    with pytest.raises(StepFailed, match=r"cannot be read.*You \(x\) are not allowed"):
        crontab.install(jobs())
    assert (stand_in / "crontab").read_text() == OTHERS


@pytest.mark.parametrize("damage", ["no end", "no begin", "twice", "crossed"])
def test_a_block_that_somebody_cut_is_left_to_a_person(
    crontab: Crontab, stand_in: Path, damage: str
) -> None:
    crontab.install(jobs())
    file = stand_in / "crontab"
    first, *middle, last = file.read_text().splitlines(keepends=True)
    cut = {
        "no end": [first, *middle],
        "no begin": [*middle, last],
        "twice": [first, *middle, last] * 2,
        "crossed": [last, *middle, first],
    }[damage]
    file.write_text("".join([*cut, "0 0 * * * theirs\n"]))
    before = file.read_text()
    for change in (crontab.install, crontab.remove):
        with pytest.raises(Refused, match="exactly one whole block"):
            change(jobs())
    assert file.read_text() == before


def test_what_was_written_is_read_back(crontab: Crontab, stand_in: Path) -> None:
    (stand_in / "forgets").touch()
    with pytest.raises(StepFailed, match="does not hold what was just written"):
        crontab.install(jobs())


def test_a_timer_that_does_not_run_is_no_success(units: Units, stand_in: Path) -> None:
    units.install(jobs('[schedule]\nprune = ""\nverify = ""\n'))
    (stand_in / "lame").touch()
    with pytest.raises(StepFailed, match=r"do not run: biso-beratung-prune\.timer, biso-ber"):
        units.install(jobs())


def test_without_a_manager_nothing_is_written(units: Units, stand_in: Path) -> None:
    (stand_in / "dead").touch()
    with pytest.raises(Refused, match="does not answer on this machine"):
        units.install(jobs())
    assert not units.folder.exists()


def test_units_of_another_place_are_not_overwritten(units: Units, stand_in: Path) -> None:
    units.install(jobs(file="/srv/elsewhere/biso.toml"))
    before = everything(units.folder)
    with pytest.raises(Refused, match="belongs to something else"):
        units.install(jobs())
    assert everything(units.folder) == before


@pytest.mark.real
@pytest.mark.needs("systemd")
def test_what_systemd_would_not_take_is_not_installed(
    units: Units, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = schedule_systemd._SERVICE.replace("Type=oneshot", "Type=once")
    monkeypatch.setattr(schedule_systemd, "_SERVICE", broken)
    system = Units(units.host, units.folder, user=False)
    with pytest.raises(StepFailed, match=r"systemd would not take the units: .*once"):
        system.install(jobs())
    assert not units.folder.exists()


# -- the task --

Told = Callable[..., tuple[int, dict[str, object]]]


@pytest.fixture
def biso(
    stand_in: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Told:
    """`schedule --json` in a site's folder; its exit code and its document."""
    folder = tmp_path / "s ite 50%"
    folder.mkdir()
    # A checkout need not be installed, and then it does not start without PYTHONPATH.
    start = tmp_path / "bin" / "biso"
    start.write_text("#!/bin/sh\n")
    start.chmod(0o755)
    monkeypatch.setattr(scheduling, "program", lambda: (str(start),))
    (folder / "biso.toml").write_text(SITE)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BISO_CONFIG", raising=False)

    def run(**options: object) -> tuple[int, dict[str, object]]:
        code = commands.run("schedule", {"json": True, "user": True, **options})
        document: dict[str, object] = json.loads(capfd.readouterr().out)
        return code, document

    return run


@pytest.mark.parametrize("kind", ["systemd", "cron"])
def test_it_is_shown_installed_with_yes_and_removed_again(
    biso: Told, kind: str, tmp_path: Path
) -> None:
    before = everything(tmp_path)
    for only in ({}, {"plan": True}, {"plan": True, "yes": True}):
        code, shown = biso(kind=kind, **only)
        assert (code, shown["kind"], shown["installed"]) == (0, kind, False)
        assert everything(tmp_path) == before
    assert [one["name"] for one in shown["jobs"]] == ["backup", "prune", "verify"]  # type: ignore[attr-defined]
    code, done = biso(kind=kind, yes=True)
    assert (code, done["installed"], done["changed"]) == (0, True, True), done
    assert biso(kind=kind)[1]["installed"] is True
    again = biso(kind=kind, yes=True)[1]
    assert (again["installed"], again["changed"]) == (True, False)
    installed = everything(tmp_path)
    code, would = biso(remove=True, plan=True)
    assert (code, would["installed"], len(would["pieces"]) > 0) == (0, True, True)  # type: ignore[arg-type]
    assert everything(tmp_path) == installed
    code, gone = biso(remove=True)
    assert (code, gone["installed"], gone["changed"]) == (0, False, True)
    assert biso(kind=kind)[1]["installed"] is False
    assert biso(remove=True)[1]["changed"] is False


def test_no_job_is_installed_twice(biso: Told) -> None:
    assert biso(kind="cron", yes=True)[0] == 0
    code, refused = biso(kind="systemd", yes=True)
    assert code == 3
    assert "is scheduled already, in the crontab of" in str(refused["error"])


def test_removing_does_not_need_a_site_that_could_be_scheduled(biso: Told, tmp_path: Path) -> None:
    assert biso(kind="cron", yes=True)[0] == 0
    file = Path("biso.toml")
    file.write_text(SITE.partition("[environments.test]")[0])
    assert biso(kind="cron")[0] == 3
    code, gone = biso(remove=True)
    assert (code, gone["changed"]) == (0, True)


def test_where_neither_systemd_nor_cron_runs_it_is_shown_and_not_installed(
    biso: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "_SYSTEMD", tmp_path / "not there")
    (tmp_path / "bin/crontab").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    before = everything(tmp_path)
    for only in ({}, {"plan": True}, {"plan": True, "yes": True}):
        code, shown = biso(**only)
        assert (code, shown["kind"], shown["installed"]) == (0, "systemd", False)
        assert len(shown["pieces"]) == 6  # type: ignore[arg-type]
        assert "neither systemd nor cron runs on this machine" in str(shown["notes"])
        assert biso(kind="cron", **only)[0] == 0
    code, refused = biso(yes=True)
    assert (code, refused["changed"]) == (3, False)
    assert "nothing can be installed here" in str(refused["error"])
    assert biso(remove=True)[0] == 0
    assert everything(tmp_path) == before


def test_it_is_remembered_since_when_there_are_timers_for_backups(biso: Told) -> None:
    """`doctor` misses a first set only after they had time."""
    found = site(file=str(Path("biso.toml").resolve()))
    assert timers_since(found) is None
    assert biso(kind="cron", yes=True)[0] == 0
    first = timers_since(found)
    assert first is not None
    (found.state / "scheduled").write_text("2026-11-20T02:30:00+00:00\n")
    assert biso(kind="cron", yes=True)[0] == 0
    assert timers_since(found) == datetime(2026, 11, 20, 2, 30, tzinfo=UTC), "the first time counts"
    assert biso(kind="systemd", remove=True)[0] == 0
    assert biso(remove=True, plan=True)[0] == 0
    assert timers_since(found) is not None, "the crontab still has them"
    assert biso(remove=True)[0] == 0
    assert timers_since(found) is None
    assert biso(kind="cron", yes=True)[0] == 0
    Path("biso.toml").write_text(SITE + '[schedule]\nbackup = ""\n')
    assert biso(kind="cron", yes=True)[0] == 0
    assert timers_since(found) is None, "no backup is expected of the other timers"


def test_a_kind_that_is_none_is_a_mistake_of_the_command_line(biso: Told) -> None:
    assert biso(kind="at")[0] == 2
