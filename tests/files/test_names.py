"""Names of users and groups, asked once each."""

from __future__ import annotations

import grp
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.files.access import Access
from biso_tasks.files.listing import list_tree
from biso_tasks.files.names import ids_of, names_of
from biso_tasks.host import LocalHost

pytestmark = pytest.mark.real
NOBODY = "3999999"  # a number that no user and no group has


class Counting:
    """A host that counts what it is asked."""

    def __init__(self, host: LocalHost) -> None:
        self._host = host
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def run(self, *given: Any, **more: Any) -> Any:
        self.asked += 1
        return self._host.run(*given, **more)


@pytest.fixture
def host() -> Iterator[Any]:
    local = LocalHost("prod")
    yield Counting(local)
    local.close()


def test_numbers_become_names_and_are_asked_for_once(host: Any) -> None:
    names = names_of(host)
    names.learn({"0", NOBODY}, {"0", NOBODY})
    assert names.users == {"0": pwd.getpwuid(0).pw_name, NOBODY: NOBODY}
    assert names.groups == {"0": grp.getgrgid(0).gr_name, NOBODY: NOBODY}
    names_of(host).learn({"0"}, {NOBODY})
    assert host.asked == 1


def test_names_become_numbers_and_what_nobody_is_called_stays(host: Any) -> None:
    users, groups = ids_of(host, ["root", "gibt es nicht", NOBODY, "-x"], ["root"])
    assert users == {
        "root": "0", "gibt es nicht": "gibt es nicht", NOBODY: NOBODY, "-x": "-x",
    }  # fmt: skip
    assert groups == {"root": "0"}


def test_each_host_has_names_of_its_own() -> None:
    one, other = LocalHost("prod"), LocalHost("test")
    try:
        names_of(one).learn({"0"}, ())
        assert names_of(other).users == {}
    finally:
        one.close()
        other.close()


@pytest.mark.needs("root")
def test_a_listing_says_the_name_or_the_number_of_who_has_none(host: Any, tmp_path: Path) -> None:
    known = pwd.getpwnam("www-data")
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        for name, uid, gid in (
            ("mine", known.pw_uid, known.pw_gid),
            ("nobody's", int(NOBODY), int(NOBODY)),
        ):
            Path(folder, name).touch()
            os.chown(Path(folder, name), uid, gid)
        found = {one.path: one for one in list_tree(Access(host), folder).entries}
    assert (found["mine"].owner, found["mine"].group) == ("www-data", "www-data")
    assert (found["nobody's"].owner, found["nobody's"].group) == (NOBODY, NOBODY)
