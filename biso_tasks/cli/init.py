"""`init`: a biso.toml from what a webroot and its host say, with a tasks.py and the shipped plugins
beside it. Nothing that is there is overwritten.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from biso_tasks.actions.doctor.looking import Seen, look, webroots
from biso_tasks.cli.call import Call
from biso_tasks.cli.examining import examined, rows
from biso_tasks.config.load import FILE, parse
from biso_tasks.config.model import Ssh
from biso_tasks.config.write import InitFacts, render
from biso_tasks.errors import Interrupted, Refused, StepFailed, UsageError
from biso_tasks.host import Host, SshHost, connect
from biso_tasks.host.aliases import aliases
from biso_tasks.ui.table import table

__all__ = ["init", "shipped_plugins"]

_TASKS: Final = '''\
"""The tasks of this site, for `invoke`."""

from biso_tasks.cli.tasks import namespace

ns = namespace()
'''

_MISSING: Final = """\
# --- {what} was not looked at: take away the "# " and correct the values ---
# [environments.{name}]
# role = "{role}"
# ssh = "user@host"                # leave it out for this machine
# webroot = "{webroot}"
# run_as = "www-data"              # the user that BISO runs as
# owner = "www-data:www-data"
# sudo = true                      # sudo -n for what needs root: services, owners
#
# [environments.{name}.services]
# kind = "systemd"
# stop = ["apache2", "php8.2-fpm"]

"""


def init(
    call: Call,
    webroot: str = "",
    ssh: str = "",
    test_webroot: str = "",
    test_ssh: str = "",
    name: str = "",
    run_as: str = "",
) -> None:
    """Look, write, say what to do next. Raises Refused where a biso.toml is here already."""
    folder = Path.cwd()
    file = folder / FILE
    if os.path.lexists(file):
        raise Refused(
            f"{file} is there already, and init overwrites nothing",
            hint="go to an empty folder, or move it away; `biso doctor` checks what it says",
        )
    with ExitStack() as stack:
        wanted = _wanted(call, stack, webroot, ssh, test_webroot, test_ssh)
        seen = [look(one.host, one.webroot, ssh=one.ssh or None, run_as=run_as) for one in wanted]
        known = _known_hosts(wanted)
    _require_fitting(seen, wanted)
    found = tuple(one.facts for one in seen)
    text = _text(InitFacts(name or folder.name or "biso", found, known), file)
    if call.options.plan:
        _tell_plan(call, folder, text)
        return
    written, kept = _write(folder, text)
    call.document |= {
        "file": str(file),
        "written": written,
        "kept": kept,
        "environments": [one.as_json() for one in seen],
    }
    _tell(call, seen, written, kept)
    if len(seen) == 2:
        _tell_doctor(call)
    _tell_next(call, seen)


# -- what is looked at --


def _aliases_here() -> str:
    known = aliases(Path("~/.ssh/config").expanduser())
    return f" Hosts in ~/.ssh/config: {', '.join(known)}." if known else ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """`test` says that the command line calls it the test instance."""

    host: Host
    ssh: str
    webroot: str
    test: bool = False


def _wanted(
    call: Call, stack: ExitStack, webroot: str, ssh: str, test_webroot: str, test_ssh: str
) -> list[_Wanted]:
    if not webroot and not ssh and Path("config.php").exists():
        webroot = "."
    host = _connect(stack, ssh)
    there = () if webroot else webroots(host)
    if not webroot and not there and not ssh and call.asks:
        sys.stderr.write(f"No webroot of BISO's was found on this machine.{_aliases_here()}\n")
        ssh = _asked("Where is production? An ssh alias, or user@host; empty: here")
        if ssh and not test_ssh:
            test_ssh = _asked("Where is test? Empty: on the same host")
        host = _connect(stack, ssh)
        there = webroots(host) if ssh else there
    most = 1 if test_webroot else 2
    first = [_absolute(webroot, ssh)] if webroot else _chosen(call, host, there, most)
    wanted = [_Wanted(host, ssh, one) for one in first]
    if test_webroot or test_ssh:
        other = _connect(stack, test_ssh) if test_ssh else host
        place = (
            _absolute(test_webroot, test_ssh or ssh)
            if test_webroot
            else _chosen(call, other, webroots(other), 1)[0]
        )
        wanted = [wanted[0], _Wanted(other, test_ssh or ssh, place, test=True)]
    return wanted


def _asked(question: str) -> str:
    """What is typed, "" where nobody answers. Raises Interrupted."""
    sys.stderr.write(f"{question}\n")
    try:
        return input("> ").strip()
    except EOFError:
        return ""
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted at the question: nothing was written") from error


def _connect(stack: ExitStack, ssh: str) -> Host:
    host = connect(ssh or "this machine", ssh or None)
    stack.callback(host.close)
    return host


def _absolute(webroot: str, ssh: str) -> str:
    if not ssh:
        return os.path.abspath(os.path.expanduser(webroot))  # noqa: PTH100, PTH111 (links stay)
    if not webroot.startswith("/"):
        raise UsageError(
            f"{webroot!r} on {ssh}: say where it is from the root",
            hint=f"such as /var/www/{webroot}",
        )
    return webroot


def _chosen(call: Call, host: Host, found: Sequence[str], most: int) -> list[str]:
    """The webroots to look at, `most` of them: those that were found, or of more those that a
    person names."""
    if 1 <= len(found) <= most:
        return list(found)
    where = host.address or "this machine"
    if not found:
        raise UsageError(
            f"no webroot with config.php and biso-cli was found on {where}",
            hint="--webroot names it (and --test-webroot the test instance's); --ssh and "
            f"--test-ssh say on which host.{'' if host.address else _aliases_here()}",
        )
    said = f"{len(found)} webroots were found on {where}: {', '.join(found)}"
    if call.asks:
        sys.stderr.write(f"{said}\n")
        named = [_asked("Which one is meant?" if most == 1 else "Which one is production's?")]
        if most == 2:
            named.append(_asked("Which one is test's? Empty: none"))
        if (wanted := [one for one in named if one]) and set(wanted) <= set(found):
            return wanted
    raise UsageError(said, hint="--webroot names production's, --test-webroot the test instance's")


def _known_hosts(wanted: list[_Wanted]) -> str:
    """The known_hosts file that the ssh_config names, "" for the default one: a site asks the same
    file for all its hosts, so that of the first one behind SSH counts."""
    host = next((one.host for one in wanted if isinstance(one.host, SshHost)), None)
    file = host.known_in() if host is not None else ""
    if not file or Path(file) == Path(Ssh().known_hosts).expanduser():
        return ""
    home = Path("~").expanduser()
    # For a colleague, who has a home of her own.
    return f"~/{Path(file).relative_to(home)}" if Path(file).is_relative_to(home) else file


def _require_fitting(seen: list[Seen], wanted: list[_Wanted]) -> None:
    """Raises Refused where what was looked at is no pair of production and test."""
    if len(seen) < 2:
        return
    one, other = seen
    if wanted[1].test and other.facts.role == "production":
        raise Refused(
            f"{other.facts.webroot} sets env to {other.env!r}: it is a production instance and "
            "cannot be the test environment",
            hint="are the two swapped? a test instance sets env to 'dev'",
        )
    if one.facts.role == other.facts.role:
        raise Refused(
            f"{one.facts.webroot} (env {one.env!r}) and {other.facts.webroot} (env {other.env!r}) "
            "are not a production and a test instance",
            hint="production's config.php sets env to 'PROD'; or look at one of them alone with "
            "--webroot",
        )


# -- what is written --


def _text(facts: InitFacts, file: Path) -> str:
    """The biso.toml; what was not looked at stands in it as a comment."""
    text = render(facts, file=file)
    roles = {each.role for each in facts.environments}
    missing = ""
    if "test" not in roles:
        missing = _MISSING.format(
            what="the test instance", name="test", role="test", webroot="/var/www/biso-test"
        )
    elif "production" not in roles:
        missing = _MISSING.format(
            what="production", name="prod", role="production", webroot="/var/www/biso-webroot"
        )
    head, section, tail = text.partition("\n[ssh]\n")
    text = f"{head}\n{missing}{section.lstrip()}{tail}" if missing else text
    parse(text.encode(), file)
    return text


def _write(folder: Path, text: str) -> tuple[list[str], list[str]]:
    """Names of the files that were written, and of those that were there and stay."""
    wanted = _wanted_files(text)
    written, kept = [], []
    try:
        # First of all: where it cannot be made, nothing is written by half.
        (folder / "plugins").mkdir(exist_ok=True)
        for name, data in wanted:
            try:
                # "x": a file that appeared in the meantime is not overwritten either.
                with (folder / name).open("xb") as handle:
                    handle.write(data)
                written.append(name)
            except FileExistsError:
                kept.append(name)
    except OSError as error:
        raise StepFailed(
            f"{error.filename} cannot be written: {error.strerror}",
            hint="go to a folder of your own",
        ) from error
    return written, kept


def _wanted_files(text: str) -> list[tuple[str, bytes]]:
    wanted = [(FILE, text.encode()), ("tasks.py", _TASKS.encode())]
    return wanted + [(f"plugins/{one.name}", one.read_bytes()) for one in shipped_plugins()]


def shipped_plugins() -> list[Traversable]:
    """The plugins that come with the tool: inside the installed package, or in its checkout."""
    package = files("biso_tasks")
    place: Traversable = package / "shipped_plugins"
    if not place.is_dir():
        checkout = Path(str(package)).parent
        place = checkout / "plugins"
        # Beside an installed package, a folder of that name would be somebody else's.
        if not (checkout / "pyproject.toml").is_file() or not place.is_dir():
            return []
    found = [one for one in place.iterdir() if one.name.endswith(".py")]
    return sorted((one for one in found if not one.name.startswith("_")), key=lambda one: one.name)


# -- what is said --


def _tell_plan(call: Call, folder: Path, text: str) -> None:
    names = [name for name, _ in _wanted_files(text)]
    new = [name for name in names if not os.path.lexists(folder / name)]
    call.document["text"] = text
    call.outlook("init", changes=[f"writes {folder / name}" for name in new])
    call.text(f"\n--- {FILE}\n{text}")


def _tell(call: Call, seen: list[Seen], written: list[str], kept: list[str]) -> None:
    for one in seen:
        call.text(f"{one.facts.name}")
        call.text(table([(f"  {what}", how) for what, how in one.lines]))
    notes = [f"{one.facts.name}: {note}" for one in seen for note in one.notes]
    if notes:
        call.text("To look at:\n" + "".join(f"  - {note}\n" for note in notes))
    call.text(f"Written: {', '.join(written)}")
    if kept:
        call.text(f"There already, and left as it is: {', '.join(kept)}")


def _tell_doctor(call: Call) -> None:
    """What doctor says of the site that was just written: how much is well, and what is not."""
    found = examined(call, call.session(observed=False), "")
    bad = [one for one in found if not one.ok]
    call.text(f"\nbiso doctor: {len(found) - len(bad)} of {len(found)} checks are well")
    if bad:
        call.text(table(rows(bad)))


def _tell_next(call: Call, seen: list[Seen]) -> None:
    first = ""
    if len(seen) == 1:
        other = "prod" if seen[0].facts.role == "test" else "test"
        first = f"  edit biso.toml              [environments.{other}] is a comment in it\n"
    call.text(
        "\nNext:\n"
        f"{first}"
        "  biso doctor                 what a refresh needs, checked on every host\n"
        "  biso refresh-test --plan    what a refresh would do, step by step\n"
    )
