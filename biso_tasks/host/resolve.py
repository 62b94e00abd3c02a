"""Asks OpenSSH once what a destination means, and makes both planes use that answer.

A private ssh_config is generated that sets what must not be left to chance (strict host keys,
no forwarding, no prompt) and then includes the user's own. OpenSSH hands `-F` on to the `ssh`
processes of a ProxyJump, but no `-o` option: only a file makes every hop strict.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from biso_tasks.errors import ConfigError
from biso_tasks.host.alive import SILENCE
from biso_tasks.host.cipher import preferred_ciphers
from biso_tasks.host.protocol import HostError

__all__ = [
    "CONNECT_TIMEOUT",
    "STRICT",
    "Destination",
    "Resolved",
    "parse_destination",
    "resolve",
    "ssh_environment",
    "write_config",
]

CONNECT_TIMEOUT = 10  # seconds for the first contact

# The first value counts in an ssh_config, so nothing after these lines can undo them.
# NoHostAuthenticationForLocalhost and VerifyHostKeyDNS would skip known_hosts; UpdateHostKeys
# would write to it; a user's ControlPersist would leave a process behind; RemoteCommand would run
# instead of ours. A silent link ends after 40 s, well before a lease's 60 s are over.
STRICT: tuple[tuple[str, str], ...] = (
    ("BatchMode", "yes"),
    ("StrictHostKeyChecking", "yes"),
    ("NoHostAuthenticationForLocalhost", "no"),
    ("VerifyHostKeyDNS", "no"),
    ("UpdateHostKeys", "no"),
    # What moves data connects to a host that was reached: a link that is silent for a moment is
    # waited for as long as the connection that is there already waits.
    ("ConnectTimeout", str(SILENCE)),
    ("ConnectionAttempts", "1"),
    ("ServerAliveInterval", "10"),
    ("ServerAliveCountMax", "3"),
    ("ForwardAgent", "no"),
    ("ForwardX11", "no"),
    ("Tunnel", "no"),
    ("ClearAllForwardings", "yes"),
    ("PermitLocalCommand", "no"),
    ("RemoteCommand", "none"),
    ("RequestTTY", "no"),
    ("ControlMaster", "no"),
    ("ControlPath", "none"),
    ("ControlPersist", "no"),
    ("AddKeysToAgent", "no"),
    ("LogLevel", "ERROR"),
)


@dataclass(frozen=True, slots=True)
class Destination:
    """An ssh_config alias or a host, with the user and port if they were given."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words for `ssh`, destination last."""
        user = ("-l", self.user) if self.user else ()
        port = ("-p", str(self.port)) if self.port else ()
        return (*user, *port, self.host)


def parse_destination(text: str) -> Destination:
    """`alias`, `host`, `user@host`, `host:port`, `user@host:port`, `user@[v6]:port`.

    Raises ConfigError for anything that ssh could take for an option."""
    match = re.fullmatch(
        r"(?:(?P<user>[^\s@:/-][^\s@:/]*)@)?"
        r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s@:\[\]/-][^\s@:\[\]/]*))"
        r"(?::(?P<port>\d{1,5}))?",
        text,
    )
    if match is None or (match["port"] and not 0 < int(match["port"]) < 65536):
        raise ConfigError(
            f'ssh = "{text}" is neither an ssh_config alias nor user@host:port',
            hint='write for example ssh = "biso-prod" or ssh = "deploy@db.example.org:2222"',
        )
    port = int(match["port"]) if match["port"] else None
    return Destination(match["v6"] or match["host"], match["user"], port)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What `ssh -G` says of a destination, as far as the control plane needs it."""

    hostname: str
    port: int
    user: str
    lookup: str  # the name under which known_hosts is asked
    known_hosts: tuple[str, ...]  # the user's, then those of the machine
    own_known_hosts: tuple[str, ...]  # the user's alone
    identity_files: tuple[str, ...]
    identities_only: bool
    use_agent: bool
    jump: str  # last hop first reached through the others; "" for none
    proxy_command: str  # with its tokens expanded; "" for none
    family: str  # any | inet | inet6

    @property
    def address(self) -> str:
        return f"{self.user}@{self.hostname}:{self.port}"


def write_config(directory: Path, ssh_config: Path | None, known_hosts: Path | None) -> Path:
    """Write the private ssh_config into `directory` and give its path."""
    lines = ["Host *", *(f"  {key} {value}" for key, value in STRICT)]
    if known_hosts is not None:
        lines.append(f"  UserKnownHostsFile {_quoted(str(known_hosts.expanduser().absolute()))}")
    users = Path("~/.ssh/config").expanduser()
    own = users if ssh_config is None else ssh_config.expanduser().absolute()
    if own.is_file():
        # Include takes a glob pattern, and brackets are the one escape that all versions know
        lines.append(f'  Include "{glob.escape(str(own))}"')
    if own == users:
        lines.append("  Include /etc/ssh/ssh_config")  # -F leaves it out
    ciphers = preferred_ciphers()
    if ciphers:  # last: what the user's own files say comes first, and counts
        lines += ["Host *", f"  Ciphers {ciphers}"]
    path = directory / "config"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    path.chmod(0o600)
    return path


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def ssh_environment() -> dict[str, str]:
    """Our environment without the locale: Debian's SendEnv would carry it to the host, where it
    changes what programs print, on one plane only."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("LC_") and key not in ("LANG", "LANGUAGE")
    }


def resolve(name: str, config: Path, destination: Destination, known: Path | None) -> Resolved:
    """Run `ssh -G`. Raises ConfigError where the ssh_config is wrong, HostError without OpenSSH."""
    try:
        done = subprocess.run(
            ("ssh", "-F", str(config), "-G", *destination.words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=ssh_environment(),
            timeout=30,
            check=False,
        )
    except FileNotFoundError as error:
        raise HostError(
            f"{name}: the program `ssh` was not found on this machine",
            hint="install the OpenSSH client (Debian: apt install openssh-client)",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"{name}: `ssh -G {destination.host}` did not end in 30 s",
            hint="a `Match exec` of the ssh_config may hang",
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").replace("\r", "").strip().replace("\n", "; ")
        raise ConfigError(
            f"{name}: ssh cannot make sense of {destination.host}: {said}",
            hint="correct the ssh_config; `ssh -G` shows what it makes of a name",
        )
    values: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
        key, _, value = line.partition(" ")
        values.setdefault(key, []).append(value)

    def one(key: str, default: str = "") -> str:
        value = values.get(key, [default])[0]
        return default if value == "none" else value

    hostname, port, user = one("hostname"), int(one("port", "22")), one("user")
    tokens = {
        "%": "%",
        "h": hostname,
        "n": destination.host,
        "p": str(port),
        "r": user,
        "u": pwd.getpwuid(os.getuid()).pw_name,
        "d": _home(),
        "k": one("hostkeyalias") or destination.host,
    }
    if known is not None:
        own: Iterable[str] = [str(known.expanduser().absolute())]
    else:
        own = one("userknownhostsfile").split()
    own = tuple(_expand(file, tokens) for file in own)
    machines = tuple(_expand(file, tokens) for file in one("globalknownhostsfile").split())
    alias = one("hostkeyalias")
    plain = hostname.lower()
    return Resolved(
        hostname=hostname,
        port=port,
        user=user,
        lookup=alias or (plain if port == 22 else f"[{plain}]:{port}"),
        known_hosts=(*own, *machines),
        own_known_hosts=own,
        identity_files=tuple(
            _expand(file, tokens) for file in values.get("identityfile", []) if file != "none"
        ),
        identities_only=one("identitiesonly") == "yes",
        use_agent=values.get("identityagent", [""])[0] != "none",
        jump=one("proxyjump"),
        proxy_command=_tokens(one("proxycommand"), tokens),
        family=one("addressfamily", "any"),
    )


def _home() -> str:
    return pwd.getpwuid(os.getuid()).pw_dir  # what OpenSSH takes; it does not look at HOME


def _expand(path: str, tokens: dict[str, str]) -> str:
    if path.startswith("~/"):
        path = _home() + path[1:]
    return _tokens(path, tokens)


def _tokens(text: str, tokens: dict[str, str]) -> str:
    return re.sub(r"%(.)", lambda match: tokens.get(match[1], match[0]), text)
