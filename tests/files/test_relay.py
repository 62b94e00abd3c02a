"""What the source says is compared, never executed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import Refused
from biso_tasks.files.crew import Crew
from biso_tasks.files.ends import Ends
from biso_tasks.files.listing import FilesError, list_tree
from biso_tasks.files.relay import read_header, relay, server_words
from biso_tasks.files.sync import transfer

GOOD = b"x\0rsync\0--server\0-lHogtpRSe.LsfxCIvu\0--stats\0.\0.\0\0"


def test_the_receiver_is_ours_but_for_the_checked_flags() -> None:
    header = read_header(GOOD, "prod")
    assert header.flags == "-lHogtpRSe.LsfxCIvu"
    assert server_words(header, ["--copy-dest=/live"], "/stage/data") == (
        *("rsync", "--server", "-lHogtpRSe.LsfxCIvu", "--stats", "--copy-dest=/live"),
        *(".", "/stage/data/"),
    )


def test_a_receiver_that_unpacks_is_ours_only_where_we_asked_for_one() -> None:
    packed = GOOD.replace(b"-lHogtpRSe", b"-lHogtpRSze")
    assert read_header(packed, "prod", compressed=True).flags == "-lHogtpRSze.LsfxCIvu"
    for raw, compressed in ((packed, False), (GOOD, True)):
        with pytest.raises(Refused, match="another receiver"):
            read_header(raw, "prod", compressed=compressed)


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\0",
        b"x\0sh\0-c\0id\0\0",
        b"x\0rsync\0--server\0--sender\0-lHogtpRSe.iL\0.\0.\0\0",  # would send from the target
        b"x\0rsync\0--server\0-lHogtpRSe.iL\0.\0/etc\0\0",  # a place of its own choice
        b"x\0rsync\0--server\0-lHogtpRSe.iL\0--delete\0.\0.\0\0",
        b"x\0rsync\0--server\0-lHogtpRSe.iL\0--stats\0--log-file=/etc/x\0.\0.\0\0",
        b"x\0rsync\0--server\0-slHogtpRSe.iL\0.\0.\0\0",  # options that follow over stdin
        b"x\0rsync\0--server\0-KlHogtpRSe.iL\0.\0.\0\0",  # follows links out of the stage
        b"x\0rsync\0--server\0-lHogtpRS\0.\0.\0\0",
        b"x\0rsync\0--server\0-lHogtpRSe.iL;id\0.\0.\0\0",
        b"x\0rsync\0--server\0-lHogtpRSe/bin/sh\0.\0.\0\0",
        b"x\0rsync\0--server\0-lHogtpRRSe.iL\0.\0.\0\0",
        b"x\0rsync\0--server\0-lHogtpe.iL\0.\0.\0\0",
        b"x\0rsync\0--server\0-lHogtpRSe.iL\0.\0.\0extra\0\0",
        b"x\0rsync\0--server\0-lHogtpRSe.iL\n\0.\0.\0\0",
        b"\xff" * 4096,
    ],
)
def test_any_other_command_line_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused, match="another receiver"):
        read_header(raw, "prod")


@pytest.mark.real
def test_a_hostile_source_cannot_start_anything_on_the_target(
    lab: Any, places: tuple[Path, Path]
) -> None:
    """The login's `rsync` asks for a receiver that writes elsewhere; no process starts there."""
    prod, test = places
    (prod / "f").write_text("x")
    fake = lab.prod.home / "rsync"
    fake.write_text(
        '#!/bin/bash\nwhile [ $# -gt 0 ]; do [ "$1" != -e ] || shim=$2; shift; done\n'
        f'eval "$shim" x rsync --server -lHogtpRSe.iL . {test}/stolen\n'
    )
    fake.chmod(0o755)
    profile = lab.prod.home / ".bashrc"
    profile.write_text(f"PATH={lab.prod.home}:$PATH\n")
    try:
        source = lab.prod.access()
        target = lab.test.access(user="www-data", root=True)
        entries = list_tree(source, str(prod)).entries
        with pytest.raises(Refused, match="another receiver"):
            transfer(source, str(prod), target, str(test / "dst"), entries, using="rsync")
    finally:
        fake.unlink()
        profile.unlink()
    assert not (test / "stolen").exists()
    assert not list((test / "dst").iterdir())


@pytest.mark.real
def test_a_source_that_may_not_start_rsync_says_why(lab: Any, places: tuple[Path, Path]) -> None:
    prod, test = places
    source, target = lab.prod.access(user="nobody"), lab.test.access(user="www-data")
    with Crew(None, "the transfer") as crew, pytest.raises(FilesError, match=r"sudo|password"):
        relay(Ends(source, str(prod), target, str(test)), b"./x\0", client=(), server=(), crew=crew)


@pytest.mark.real
def test_sudo_closes_descriptors_which_is_why_the_shim_opens_them_again(lab: Any) -> None:
    """The trap, with plain tools."""
    text = "exec 3</dev/null; sudo -n -u www-data bash -c 'exec 4<&3'"
    done = subprocess.run(
        ["runuser", "-u", lab.prod.login, "--", "bash", "-c", text],
        capture_output=True,
        check=False,
    )
    assert b"Bad file descriptor" in done.stderr
