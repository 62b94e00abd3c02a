"""A site in memory, to which a swap happens: what it reads and changes is kept here, each change is
one moment, and at any moment it may fail, lose its answer, or be the last one.

It stands for `database.swap`, `files.places`, services and the application, whose real ones are
tried in test_swap.py, tests/database/test_swap.py and tests/faults; here it is the order and the
decisions of `stage.swap` that are tried, all of them, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.database import swap as real
from biso_tasks.errors import NeedsPerson, StepFailed
from biso_tasks.files.slots import Slot
from biso_tasks.instance.serving import Answer
from biso_tasks.stage import insist, swap
from biso_tasks.stage.model import Area

SERVICES = ("web", "scheduler")
"""They run before. A third that the site has, "queue", does not."""


class Killed(BaseException):
    """The controller is gone: nothing that it would have done afterwards happens."""


@dataclass
class Site:
    """`databases` by server and name: who it is, and whether clients may connect. `trees` by place.
    `spoils` says when the incoming instance answers badly: "in maintenance", "afterwards", or
    "switch", where its maintenance cannot be ended."""

    servers: tuple[str, ...] = ("main",)
    areas: frozenset[Area] = frozenset({"data", "database"})
    in_maintenance: bool = False
    url: str = "https://test.example"
    spoils: str = ""
    databases: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    trees: dict[str, str] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    up: list[str] = field(default_factory=lambda: list(SERVICES))
    notes: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    moments: list[str] = field(default_factory=list)
    at: int = 0
    manner: str = ""
    dead: bool = False
    torn: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.in_maintenance:
            self.closed.add("old")
        self.documents["instance"] = {"serves": "old"}
        for place, who in (("live", "old"), ("stage", "new"), ("previous", "older")):
            self.trees[place] = who
            for server in self.servers if "database" in self.areas else ():
                self.databases[server, place] = [who, True]

    # --- what happens -----------------------------------------------------------------------------

    def moment(self, what: str, change: Callable[[], Any] = lambda: None) -> Any:
        """Do `change`, unless this is where it ends: "dies" and "dies after", "fails" and "fails
        after" (its answer is lost), "stays away" (it and all after it fail until `mended`)."""
        if self.dead:
            raise Killed
        self.moments.append(what)
        here = len(self.moments) == self.at
        later = 0 < self.at < len(self.moments)
        if here and self.manner == "dies":
            self.dead = True
            raise Killed
        if (here and self.manner == "fails") or ((here or later) and self.manner == "stays away"):
            raise StepFailed(f"injected: {what}")
        if here and self.manner == "a person":
            raise NeedsPerson(f"injected: {what}")
        given = change()
        self.look(what)
        if here and self.manner == "dies after":
            self.dead = True
            raise Killed
        if here and self.manner == "fails after":
            raise StepFailed(f"injected after: {what}")
        return given

    def look(self, what: str) -> None:
        """What a user finds is of one instance, whenever it can be reached."""
        served = {self.trees["live"]}
        served |= {who for (_, name), (who, _) in self.databases.items() if name == "live"}
        if not self.flag and "web" in self.up and len(served) > 1:
            self.torn.append(f"{what}: {served}")

    def mended(self) -> Site:
        """Seen from another machine, a while later: nothing fails any more."""
        self.moments, self.at, self.manner, self.dead = [], 0, "", False
        return self

    # --- what is found ----------------------------------------------------------------------------

    @property
    def flag(self) -> bool:
        """Whether what is served is in maintenance: a file of its own data dir."""
        return self.trees["live"] in self.closed

    def close_stage(self, *, rollback: bool) -> Callable[[], None]:
        who = "older" if rollback else "new"
        return lambda: self.moment("close the stage", lambda: self.closed.add(who))

    def ours(self) -> None:
        self.moment("look at the lock")

    @property
    def picture(self) -> tuple[Any, ...]:
        """Who is where, and whether a user gets there."""
        databases = {key: tuple(one) for key, one in self.databases.items()}
        return databases, dict(self.trees), self.flag, sorted(self.up), sorted(self.notes)

    # --- the parts --------------------------------------------------------------------------------

    def intent(self, *, rollback: bool) -> swap.Intent:
        coming = "previous" if rollback else "stage"
        parts = tuple(
            swap.DatabasePart(
                _server(server), "live", "stage", "previous",
                incoming=_oid(server, self.databases[server, coming][0]),
                outgoing=_oid(server, "old"),
            )
            for server in self.servers if "database" in self.areas
        )  # fmt: skip
        return swap.Intent(
            run="r1", rollback=rollback, parts=parts, slots=(_SLOT,), services=SERVICES,
            in_maintenance=self.in_maintenance, document={"serves": "new"}, areas=self.areas,
        )  # fmt: skip

    def instance(self) -> Any:
        def write(name: str, document: Any) -> None:
            self.moment(f"write {name}", lambda: self.documents.update({name: document}))

        def remove(name: str) -> None:
            self.moment(f"remove {name}", lambda: self.documents.pop(name, None))

        def maintenance(on: bool) -> None:
            def change() -> None:
                who = self.trees["live"]
                if on:
                    self.closed.add(who)
                elif self.spoils != "switch" or who == "old":
                    self.closed.discard(who)

            self.moment(f"maintenance {on}", change)

        _NOW[:] = [self]
        return SimpleNamespace(
            name="test",
            host="host",
            environment=SimpleNamespace(url=self.url, name="test"),
            layout=SimpleNamespace(stage_dir="/stage"),
            state=SimpleNamespace(write=write, remove=remove, read=self.documents.get),
            app=SimpleNamespace(maintenance=maintenance),
            in_maintenance=lambda: self.moment("ask maintenance", lambda: self.flag),
        )

    def exchange(
        self,
        role: str,
        goes: Mapping[str, str],
        renames: Sequence[real.Rename],
        before_block: Callable[[], None] | None = None,
        before_commit: Callable[[], None] | None = None,
    ) -> real.Swapped:
        assert [(one.live, one.stage, one.previous) for one in renames] == [
            ("live", "stage", "previous")
        ]
        if before_block is not None:
            before_block()
        own = {name: one for (server, name), one in self.databases.items() if server == role}

        def opened(now: bool) -> None:
            for one in own.values():
                one[1] = now

        def rename() -> None:
            for name, one in own.items():
                self.databases[role, goes[name]] = one
            opened(True)

        self.moment(f"block {role}", lambda: opened(False))
        try:
            if before_commit is not None:
                before_commit()
            self.moment(f"commit {role}", rename)
        except StepFailed:
            self.moment(f"open {role}", lambda: opened(True))
            raise
        return real.Swapped(0.0, 0, (f"leftover {role}",))


_SLOT = Slot("/live", "/stage", "/previous", "/moving", "1", "2", "3")
_FORWARD = {"stage": "live", "live": "previous", "previous": "stage"}
_BACK = {new: old for old, new in _FORWARD.items()}
_ROLLBACK = {"previous": "live", "live": "previous", "stage": "stage"}
_BEFORE = {"live": "old", "stage": "new", "previous": "older"}
_TREES = {
    (False, False): _BEFORE,
    (False, True): _BEFORE,
    (True, False): {_FORWARD[place]: who for place, who in _BEFORE.items()},
    (True, True): {_ROLLBACK[place]: who for place, who in _BEFORE.items()},
}
"""The trees by whether it is after the exchange, and whether that is a rollback."""


def _server(name: str) -> Any:
    return SimpleNamespace(dsn=SimpleNamespace(host=name, port=1), admin_user="", prefix=())


def _oid(server: str, who: str) -> int:
    return {"old": 1, "new": 2, "older": 3}[who] + 10 * len(server)


_NOW: list[Site] = []


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the site that was last asked for its instance in the place of what `stage.swap` works
    with."""

    def on() -> Site:
        return _NOW[0]

    @contextmanager
    def admin(server: Any) -> Iterator[str]:
        on().moment(f"connect {server.dsn.host}")
        yield server.dsn.host

    def exchange(role: str, renames: Any, **calls: Any) -> real.Swapped:
        return on().exchange(role, _FORWARD, renames, **calls)

    def back(role: str, renames: Any, **calls: Any) -> real.Swapped:
        return on().exchange(role, _ROLLBACK, renames, **calls)

    def revert(role: str, renames: Any) -> real.Swapped:
        return on().exchange(role, _BACK, renames)

    def committed(role: str, intents: Sequence[real.Intent]) -> bool:
        def ask() -> bool:
            (live,) = {one.live for one in intents}
            who = _oid(role, on().databases[role, live][0])
            assert who in (intents[0].incoming, intents[0].outgoing)
            return who == intents[0].incoming

        return bool(on().moment(f"ask {role}", ask))

    def allow(role: str, intents: Sequence[real.Intent], names: Sequence[str]) -> None:
        oids = {oid for one in intents for oid in (one.incoming, one.outgoing)}

        def change() -> None:
            for (server, name), one in on().databases.items():
                if server == role and (_oid(server, one[0]) in oids or name in names):
                    one[1] = True

        on().moment(f"allow {role}", change)

    def settle(_: Any, slots: Any, *, after: bool, rollback: bool, fresh: bool = False) -> None:
        assert slots == (_SLOT,)
        if fresh:
            assert on().trees == {"live": "old", "stage": "new", "previous": "older"}
        places = _TREES[after, rollback]
        if on().trees != places:
            # A rename of several has happened, and the others not yet.
            asking = "without asking" if fresh else "where it must"
            on().moment(f"rename the first tree {asking}", lambda: on().trees.update(live="nobody"))
        on().moment("rename the trees", lambda: on().trees.update(places))

    def standing(_: Any, slots: Any, *, rollback: bool) -> str:
        def ask() -> str:
            for name, after in (("before", False), ("after", True)):
                if on().trees == _TREES[after, rollback]:
                    return name
            return "between"

        return str(on().moment("ask the trees", ask))

    def control(verb: str) -> Callable[..., None]:
        def act(host: Any, environment: Any, names: Sequence[str]) -> None:
            up = on().up
            change = up.remove if verb == "stop" else up.append
            for name in names if verb == "stop" else reversed(names):
                if (name in up) == (verb == "stop"):
                    on().moment(f"{verb} {name}", partial(change, name))

        return act

    def running(host: Any, environment: Any) -> tuple[str, ...]:
        return tuple(on().moment("ask services", lambda: list(on().up)))

    def wait(url: str, app: Any, *, maintenance: bool, seconds: float = 20) -> Answer:
        assert url == on().url
        assert maintenance or not on().flag
        spoilt = on().spoils if on().trees["live"] != "old" else ""
        status = 503 if on().flag or spoilt == "afterwards" else 200
        if on().flag and spoilt == "in maintenance":
            status = 500
        try:
            on().moment("ask the site" if maintenance else "ask the site again")
        except StepFailed as error:
            return Answer(None, error.message)  # as the real one does
        return Answer(status, f"HTTP {status}")

    names = {"Rename": real.Rename, "Intent": real.Intent, "exchange": exchange, "back": back,
             "revert": revert, "committed": committed, "allow": allow}  # fmt: skip
    monkeypatch.setattr(swap, "databases", SimpleNamespace(**names))
    monkeypatch.setattr(swap, "admin", admin)
    monkeypatch.setattr(swap, "access", lambda instance: None)
    monkeypatch.setattr(swap, "settle", settle)
    monkeypatch.setattr(swap, "standing", standing)
    monkeypatch.setattr(swap, "wait_until_good", wait)
    verbs = {"stop": control("stop"), "start": control("start"), "running": running}
    monkeypatch.setattr(swap, "services", SimpleNamespace(**verbs))
    for name, change in (("note", "add"), ("forget", "discard")):
        monkeypatch.setattr(
            swap,
            f"{name}_stage_dir",
            lambda _, name=name, change=change: on().moment(
                name, partial(getattr(on().notes, change), "elsewhere")
            ),
        )
    clock = iter(range(1_000_000))
    fast = SimpleNamespace(monotonic=lambda: float(next(clock)), sleep=lambda _: None)
    monkeypatch.setattr(insist, "time", fast)
    monkeypatch.setattr(swap, "time", fast)
