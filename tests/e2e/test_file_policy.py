"""What becomes of files on their way: with the policy that replaces them off, the proof names each
of them; with it on, not one of their bytes travels."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.demo.data import PLANTED
from tests.privacy.test_documents import PACKED, PLAIN

COPIED = ("brief_vorlagen/", "hilfe/", "schriften/")
WIRE = """#!/bin/bash
exec {real} "$@" < <(exec tee -a {log}) > >(exec tee -a {log})
"""


def same_code(world: Any) -> None:
    max((world.test.webroot / "migrations").glob("*.sql")).unlink()


def test_with_a_file_policy_off_the_proof_names_each_file_and_no_other(world: Any) -> None:
    """Generated over all kinds of documents that it reads: of each one with a person in it, and one
    with nobody."""
    same_code(world)
    folder = world.prod.datadir / "probe"
    folder.mkdir()
    named = set()
    for number, (kind, make) in enumerate({**PLAIN, **PACKED}.items()):
        name = f"{number:02}.{kind.split()[0].strip(',')}"
        (folder / name).write_bytes(make("Änne", PLANTED[0], PLANTED[1]))
        (folder / f"nobody-{name}").write_bytes(make("Ünal", "Niemand-Nirgends", "x@y.example"))
        named.add(f"probe/{name}")
    shutil.copystat(world.prod.datadir / "hilfe", folder)
    for path in (folder, *folder.iterdir()):
        owner = (world.prod.datadir / "hilfe/index.html").stat()
        os.chown(path, owner.st_uid, owner.st_gid)
    before = world.test.state()

    world.site(refresh={"files": {"probe/**": "copy"}})
    ran = world.refresh("--from", "prod", code=4)

    leaks = ran.json["proof"]["leaks"]
    assert {one["place"].split("!")[0] for one in leaks} == named
    assert world.test.state() == before
    assert not [word for word in PLANTED if word in ran.out + ran.err]

    world.site()
    assert world.refresh("--from", "prod").json["proof"]["leaks"] == []


def test_not_one_byte_of_an_attachment_travels(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that goes from production to test by relay passes two ssh processes here, in plain."""
    log, programs = world.laptop / "wire", world.laptop / "tapped"
    programs.mkdir()
    (programs / "ssh").write_text(WIRE.format(real=shutil.which("ssh"), log=log))
    (programs / "ssh").chmod(0o755)
    same_code(world)
    datadir = world.prod.datadir
    marks: dict[bytes, Path] = {}
    for path in datadir.rglob("*"):
        name = str(path.relative_to(datadir))
        if name.startswith(COPIED) or path.suffix in (".log", ".xconf", ".ini"):
            continue
        if path.is_file() and not path.is_symlink() and not name.startswith("tmp/"):
            mark = secrets.token_bytes(48)
            marks[mark] = path
            with path.open("ab") as file:
                file.write(mark)
    assert len(marks) > 20
    world.site(refresh={"route": "relay"})
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    world.refresh("--from", "prod")

    wire = log.read_bytes()
    font = (datadir / "schriften/Kundenschrift.ttf").read_bytes()
    assert font[-2000:] in wire, "what is copied travels here, uncompressed"
    assert [str(path) for mark, path in marks.items() if mark in wire] == []
    for path in world.test.place.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not [mark for mark in marks if mark in content], path
