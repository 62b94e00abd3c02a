"""Python's collector stands still while originals are learnt, and runs again afterwards."""

from __future__ import annotations

import gc

import pytest

from biso_tasks.privacy.uncollected import uncollected


def test_the_collector_runs_again_whatever_happened() -> None:
    seen = []

    def fail() -> None:
        with uncollected():
            seen.append(gc.isenabled())
            raise LookupError("no such table")

    assert gc.isenabled()
    with pytest.raises(LookupError, match="no such table"):
        fail()
    assert seen == [False]
    assert gc.isenabled()


def test_who_runs_without_it_goes_on_so() -> None:
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
