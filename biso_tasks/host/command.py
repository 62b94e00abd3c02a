"""Commands as types: an argv is data until the last moment, so quoting cannot be forgotten.

A pipeline is a `Script`: constant bash text whose variable parts arrive as "$1", "$2", ...
Neither ever holds a secret: secrets travel on stdin (see `Secret`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["PERL", "Command", "Result", "command", "script"]

# perl, in a script's text: for what bash does file by file, or sed slowly. Debian always has it;
# where there is none the same is done without. What a login wishes of its own perl would change how
# names are read.
PERL: Final = "env -u PERL5OPT -u PERL_UNICODE perl"


@dataclass(frozen=True, slots=True)
class Command:
    """One program to start on a host.

    `cwd` is entered before the program starts, as the user that runs it. `user` runs it through
    `sudo -n -u USER`, `root` through `sudo -n`; both are left out where the login is that user
    already (the host decides). File names that are not UTF-8 are held with surrogateescape.
    """

    argv: tuple[str, ...]
    cwd: str | None = None
    user: str | None = None
    root: bool = False

    def as_user(self, user: str | None) -> Command:
        return replace(self, user=user, root=False)

    def as_root(self, root: bool = True) -> Command:
        return replace(self, root=root, user=None)

    def within(self, cwd: str | None) -> Command:
        return replace(self, cwd=cwd)

    def words(self, login: str = "") -> tuple[str, ...]:
        """The whole argv as `login` must start it, sudo and directory change included."""
        inner = self.argv
        if self.cwd is not None:
            inner = ("bash", "-c", 'cd -- "$0" && exec "$@"', self.cwd, *inner)
        if self.root and login != "root":
            return ("sudo", "-n", "--", *inner)
        if self.user and self.user != login:
            return ("sudo", "-n", "-u", self.user, "--", *inner)
        return inner

    def shell(self, login: str = "") -> str:
        """One POSIX shell word list, quoted: what an SSH server's login shell is given."""
        return shlex.join(self.words(login))

    def __str__(self) -> str:
        return shlex.join(self.argv)


def command(*argv: str) -> Command:
    return Command(tuple(argv))


def script(text: str, *args: str) -> Command:
    """Constant bash `text` with pipefail, -e and -u; `args` arrive as "$1", "$2", ...

    --norc: bash whose stdin is sshd's socket reads bashrc even for -c, behind sudo as well."""
    return Command(("bash", "--norc", "-euo", "pipefail", "-c", text, "biso", *args))


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished command gave. `out` and `err` are raw bytes; `text` is UTF-8 with
    surrogateescape and without the last newline. A process ended by a signal has code -signal
    locally and 128+signal or -1 remotely."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "surrogateescape").removesuffix("\n")

    @property
    def error(self) -> str:
        return self.err.decode("utf-8", "replace").strip()
