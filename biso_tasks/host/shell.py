"""Whether a login runs commands, and says nothing of its own: a shell that ends before them answers
each with nothing, one that greets mixes its words into what they print. Both look like many other
mistakes."""

from __future__ import annotations

import shlex

from biso_tasks.errors import plain
from biso_tasks.host.command import Command
from biso_tasks.host.protocol import Host, HostError

__all__ = ["require_shell"]

_WORD = "biso-was-here"


def require_shell(host: Host) -> None:
    """Raises HostError where the login's shell on `host` ends before it runs a command: nologin, or
    an `exit` in what bash reads for each command that comes by SSH; and where it prints something
    first, in which neither rsync nor we could find the answer."""
    result = host.run(Command(("echo", _WORD)), ok=None)
    if result.text == _WORD:
        return
    login = host.login
    said = result.text.removesuffix(_WORD)
    printed = plain(said or result.error).strip().splitlines()
    if _WORD in result.text:
        raise HostError(
            f"{host.name}: the shell of {login} prints something before each command: "
            f"{printed[0][:200] if printed else '(an empty line)'}",
            hint=f"in ~/.bashrc of {login} there, and in what it reads, let only a shell with a "
            "terminal print: `case $- in *i*) ;; *) return;; esac` as its first line",
        )
    raise HostError(
        f"{host.name}: the shell of {login} ends before it runs a command"
        + (f", saying: {printed[0][:200]}" if printed else ""),
        hint=f"take `exit` out of ~/.bashrc of {login} there and of what it reads; where the shell "
        f"is nologin or the like: `chsh -s /bin/bash {shlex.quote(login)}`",
    )
