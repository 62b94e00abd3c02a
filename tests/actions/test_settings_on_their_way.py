"""A database setting that came after the proof names nobody either."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions.staged.finishing import _require_nobody
from biso_tasks.errors import ProofFailed


def find(text: str) -> frozenset[str]:
    return frozenset({"mail"} if "anna@post.example" in text else ())


WORK: Any = SimpleNamespace(originals=(SimpleNamespace(distinctive=SimpleNamespace(find=find)),))


def test_one_that_names_somebody_ends_the_run_without_saying_whom() -> None:
    with pytest.raises(ProofFailed, match=r"setting app\.kontakt .*\(mail\)") as raised:
        _require_nobody(WORK, "biso_test", [("", "app.kontakt", "an anna@post.example")])
    assert "anna" not in str(raised.value)


def test_any_other_comes_along() -> None:
    _require_nobody(WORK, "biso_test", [("", "timezone", "Europe/Zurich")])
    _require_nobody(SimpleNamespace(originals=()), "b", [("", "x", "anna@post.example")])  # type: ignore[arg-type]
