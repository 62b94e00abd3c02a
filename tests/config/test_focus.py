"""A site with many installations, seen from one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from biso_tasks.config.findings import BadConfig
from biso_tasks.config.focus import focus
from biso_tasks.config.load import parse
from biso_tasks.config.model import Site, UnknownEnvironment

PAIRS = """
[environments.bern]
role = "production"
webroot = "/srv/bern"
[environments.uri]
role = "production"
webroot = "/srv/uri"
[environments.uri-test]
role = "test"
webroot = "/srv/uri-test"
copy_of = "uri"
[environments.play]
role = "test"
webroot = "/srv/play"
[backup]
path = "/var/backups/biso"
"""


def site(text: str = PAIRS) -> Site:
    return parse(text.encode(), Path("/site/biso.toml"))


def ends(seen: Site) -> tuple[str, str, str, str]:
    return (
        seen.refresh.from_,
        seen.refresh.to,
        seen.backup.environment,
        seen.release.environment,
    )


def test_of_many_none_need_be_the_one_that_is_meant_by_itself() -> None:
    assert site().environments


def test_a_pair_is_seen_whole_from_both_ends() -> None:
    assert ends(focus(site(), "uri")) == ("uri", "uri-test", "uri", "uri-test")
    assert ends(focus(site(), "uri-test")) == ("uri", "uri-test", "uri", "uri-test")


def test_releases_stay_on_the_host_that_is_protected_for_them() -> None:
    named = site(PAIRS + '[release]\nenvironment = "play"\n')
    assert ends(focus(named, "uri")) == ("uri", "uri-test", "uri", "play")
    copy = site(PAIRS + '[release]\nenvironment = "uri-test"\n')
    assert focus(copy, "uri").release.environment == "uri-test"


def test_without_a_pair_the_rest_stays_as_the_file_says_it() -> None:
    named = site(PAIRS + 'environment = "bern"\n[refresh]\nfrom = "bern"\nto = "play"\n')
    assert ends(focus(named, "bern")) == ("bern", "play", "bern", "test")
    assert ends(focus(named, "play")) == ("bern", "play", "bern", "test")
    with pytest.raises(UnknownEnvironment, match="basel"):
        focus(named, "basel")


@pytest.mark.parametrize(
    ("role", "source", "said"),
    [
        ("production", "uri", "is never made of another one"),
        ("test", "new", "is the environment itself"),
        ("test", "urri", 'no environment is called "urri" .did you mean "uri"?'),
    ],
)
def test_a_copy_of_nothing_is_said(role: str, source: str, said: str) -> None:
    more = f'[environments.new]\nrole = "{role}"\nwebroot = "/srv/new"\ncopy_of = "{source}"\n'
    with pytest.raises(BadConfig) as caught:
        site(PAIRS + more)
    assert said.replace(".did", "(did") in caught.value.message
    assert "copy_of" in caught.value.message
