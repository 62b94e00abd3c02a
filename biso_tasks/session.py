"""Wires config, hosts and hooks together for one command."""

from __future__ import annotations

import getpass
import os
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from biso_tasks.config.model import Environment, Site
from biso_tasks.errors import Locked
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.host import connect
from biso_tasks.host.protocol import Host
from biso_tasks.instance.instance import Instance, read_instance
from biso_tasks.instance.lock import lock
from biso_tasks.instance.mending import look, mend
from biso_tasks.values import Dsn

__all__ = ["Session", "lock_owner", "whoami"]

SHORTEST: Final = 6  # characters; shorter passwords would black out ordinary words


def whoami() -> str:
    """Who a colleague should ask: login and machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def lock_owner(run: str) -> dict[str, str]:
    """Who holds a lock, for a colleague: run, who, since."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"run": run, "who": whoami(), "since": since}


@dataclass(slots=True)
class Session:
    """One command's site, plugins and connections. `say` shows a line to the person. `mends`: what
    a killed run left of a maintenance is ended at the first contact; not while only planning."""

    site: Site
    hooks: PluginManager
    say: Callable[[str], None]
    mends: bool = True
    _hosts: dict[str, Host] = field(default_factory=dict)
    _secrets: set[str] = field(default_factory=set)
    _connecting: threading.Lock = field(default_factory=threading.Lock)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def environment(self, name: str) -> Environment:
        return self.site.environment(name)

    def host(self, name: str) -> Host:
        """The environment's host, connected at first use and kept for the command."""
        return self._connected(name, self.environment(name).ssh or None)

    def visited(self, destination: str) -> Host:
        """A host that is no environment's: an ssh_config alias or user@host:port, "" for this
        machine. Its host key is checked like any other's."""
        return self._connected(destination or "this machine", destination or None)

    def _connected(self, name: str, destination: str | None) -> Host:
        with self._connecting:
            if name not in self._hosts:
                host = connect(
                    name,
                    destination,
                    ssh_config=Path(self.site.ssh.config).expanduser(),
                    known_hosts=Path(self.site.ssh.known_hosts).expanduser(),
                )
                self._stack.callback(host.close)
                self._hosts[name] = host
            return self._hosts[name]

    def instance(self, name: str) -> Instance:
        """The environment as it is found now. Raises BisoError with the remedy."""
        instance = read_instance(self.host(name), self.environment(name))
        self.keep_secret(instance.facts.database, instance.facts.log)
        if self.mends:
            self._mend(instance)
        return instance

    def keep_secret(self, *databases: Dsn | None) -> None:
        """From now on `redact` takes these passwords out."""
        for dsn in databases:
            if dsn is not None and len(dsn.password.reveal()) >= SHORTEST:
                self._secrets.add(dsn.password.reveal())

    def _mend(self, instance: Instance) -> None:
        if look(instance).state != "dead":
            return
        owner = lock_owner("of the next contact")
        # Whoever holds the environment has made contact, too.
        with (
            suppress(Locked),
            lock(instance.host, instance.environment, instance.layout, owner),
        ):
            for line in mend(instance):
                self.say(f"{instance.name}: {line}")

    def redact(self, text: str) -> str:
        """`text` without any password that this command has seen: the last net of the journal."""
        found = {one.reveal() for one in self.hooks.found_secrets()}
        for secret in self._secrets | {one for one in found if len(one) >= SHORTEST}:
            text = text.replace(secret, "…")
        return text
