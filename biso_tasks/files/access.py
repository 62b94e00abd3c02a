"""How a tree on a host is touched: as the login, as the site's user, as root for a short list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from biso_tasks.host.command import Command
from biso_tasks.host.protocol import Host

__all__ = ["ROOT_PROGRAMS", "Access"]

# What an administrator grants `sudo -n` for; anything else runs as the site's user.
ROOT_PROGRAMS: Final = ("rsync", "mv", "rm", "mkdir", "chown", "chmod", "install")


@dataclass(frozen=True, slots=True)
class Access:
    """`user`: who reads and looks (`sudo -n -u USER`), None for the login itself. `root`: the
    programs of ROOT_PROGRAMS run through `sudo -n`, so that files keep owners that differ.
    `knows_owners`: False where files belong to users of a container, whom the host does not know
    by name: there the environment's `owner`, where it is set, is for all files."""

    host: Host
    user: str | None = None
    root: bool = False
    knows_owners: bool = True

    def reader(self, command: Command) -> Command:
        """`command` as whoever looks at trees here."""
        return command.as_user(self.user)

    def writer(self, command: Command) -> Command:
        """`command` as whoever changes trees here: root where that is granted."""
        return command.as_root() if self.root else command.as_user(self.user)

    @property
    def gives_away(self) -> bool:
        """Whether files can be given to any owner here."""
        return self.root or (self.host.login == "root" and self.user in (None, "root"))
