"""Secrets that no plugin knows: what systemd hands over (LoadCredential), else the user's files.

There is no environment variable for them: every process of the run would inherit it, and a listing
of processes shows it.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from biso_tasks.errors import ConfigError
from biso_tasks.values import Secret

__all__ = ["on_this_machine", "require_name"]

OWN: Final = "~/.config/biso-tasks/secrets"
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"


def require_name(name: str) -> None:
    """Raises ConfigError for what cannot be a secret's name."""
    # It becomes a file's name: "." and ".." are none.
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not name.strip("."):
        # Whoever mistakes the key `secret` for the password itself must not find it in a log.
        raise ConfigError(
            "that is no name of a secret; it is not shown, as it may be the secret itself",
            hint="give the secret a name of letters, digits, - _ . and write that name",
        )


def on_this_machine(
    name: str, *, env: Mapping[str, str] | None = None, asked: Sequence[str] = ()
) -> Secret:
    """The secret from the first file of its name, without one trailing newline. `asked` are the
    plugins that did not know it. Raises ConfigError where it is not there, where others than its
    owner could read it, and where it cannot be read: with the places and what to do."""
    credentials = (os.environ if env is None else env).get(CREDENTIALS, "")
    own = _home(Path(OWN)) / name
    if credentials:
        content = _read(name, Path(credentials) / name, guarded=False)
        if content is not None:
            return content
    if own.is_absolute():
        content = _read(name, own, guarded=True)
        if content is not None:
            return content
    plugins = f"the plugins {', '.join(asked)}" if asked else "plugins (none has biso_secret)"
    given = f"${CREDENTIALS}/{name}" if credentials else f"${CREDENTIALS} (not set)"
    raise ConfigError(
        f"the secret {name!r} is not there; looked at: {plugins}, {given}, {own}",
        hint=f"write it to {shlex.quote(str(own))} and chmod 600 that file, give it to the service "
        f"with LoadCredential={name}:FILE, or answer it in a plugin's biso_secret",
    )


def _home(path: Path) -> Path:
    """Where there is no home (a service with a user of the moment) the "~" stays."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _read(name: str, file: Path, *, guarded: bool) -> Secret | None:
    """None where there is no such file. `guarded` files are ours alone; systemd looks after its."""
    try:
        # Not blocking: a FIFO would wait for a writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"the secret {name!r}: {file} cannot be read: {error.strerror}",
            hint=f"make it a file of the user who runs this, with {_chmod(file)}",
        ) from error
    try:
        # What was opened is looked at, not what stands at the path by then.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"the secret {name!r}: {file} is no file", hint="make it one")
        if guarded:
            _require_ours(name, file, status)
        with open(descriptor, "rb", closefd=False) as handle:
            text = handle.read().decode()
    except UnicodeDecodeError:
        # The error itself holds all of the bytes.
        raise ConfigError(
            f"the secret {name!r}: {file} is no UTF-8 text", hint="write it as UTF-8"
        ) from None
    finally:
        os.close(descriptor)
    value = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not value:
        raise ConfigError(f"the secret {name!r}: {file} is empty", hint="write the secret to it")
    return Secret(value)


def _require_ours(name: str, file: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"the secret {name!r}: {file} belongs to another user (uid {status.st_uid})",
            hint=f"chown {os.geteuid()} {shlex.quote(str(file))} && {_chmod(file)}",
        )
    if mode & ~0o600:
        raise ConfigError(
            f"the secret {name!r}: {file} has mode {mode:04o}: others than its owner may read it"
            if mode & 0o077
            else f"the secret {name!r}: {file} has mode {mode:04o}, more than a secret needs",
            hint=_chmod(file),
        )


def _chmod(file: Path) -> str:
    return f"chmod 600 {shlex.quote(str(file))}"
