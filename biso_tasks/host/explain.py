"""Turns what a command or OpenSSH printed into one clear line and a remedy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from biso_tasks.errors import BisoError, Refused
from biso_tasks.host.command import Command, Result
from biso_tasks.host.protocol import CommandFailed, HostError, Unreachable

__all__ = [
    "LOST",
    "changed_hint",
    "command_failed",
    "keyscan_hint",
    "no_authentication",
    "no_connection",
    "ssh_failure",
    "sudo_refusal",
    "title",
    "without_code",
]

LOST = "the network, or the SSH server's log, says why; run the task again when it is back"

_ATTACK = "this can be an attack: ask the administrator of that machine"
_SUDO_PASSWORD = re.compile(
    r"sudo: (a password is required|a terminal is required|no tty present|"
    r".*interactive authentication)"
)
_SUDO_UNKNOWN = re.compile(r"sudo: unknown user")
_SUDO_DENIED = re.compile(r"user \S+ is not allowed to execute '(.+?)' as|may not run sudo on")
_NOT_FOUND = re.compile(
    r"(?:line \d+|sh: \d+|bash|sudo|timeout|env): (?:failed to run command )?"
    r"[‘'`\"]?([^\s:‘’'\"`]+)[’'\"]?: (?:command not found|not found|No such file)"
)


def title(command: Command) -> str:
    """How an error calls a command: its words, or the first line of a script; never too long."""
    argv = command.argv
    if argv[:5] == ("bash", "--norc", "-euo", "pipefail", "-c"):
        text = argv[5].strip().splitlines()[0] if argv[5].strip() else "bash"
    else:
        text = str(command)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= 120 else text[:119] + "…"


def command_failed(
    host: str,
    login: str,
    command: Command,
    result: Result,
    locate: Callable[[str], str] | None = None,
) -> CommandFailed:
    """The error for a command that ended with an unexpected code. `locate` gives a program's
    absolute path on the host (for the sudoers line), "" if it is not there."""
    said = result.error.replace("\r", "")
    if refused := sudo_refusal(host, login, command, result, locate):
        return refused
    sudo = command.words(login)[:1] == ("sudo",) and command.argv[:1] != ("sudo",)
    missing = _NOT_FOUND.search(said)
    if result.code == 127 or (sudo and result.code == 1 and missing):
        program = missing.group(1) if missing else command.words(login)[0]
        return CommandFailed(
            f"{host}: the program `{program}` was not found",
            result=result,
            hint=f"install it on {host}, or put it on the PATH of {command.user or login}",
        )
    if result.code == 126:
        reason = "cannot be executed"
    elif result.code < 0 and result.code != -1:
        reason = f"was ended by signal {-result.code}"
    elif result.code == -1:
        reason = "was ended by a signal"
    elif result.code > 128:
        reason = f"ended with code {result.code} (signal {result.code - 128})"
    else:
        reason = f"ended with code {result.code}"
    last = "\n".join(said.splitlines()[-5:])
    return CommandFailed(
        f"{host}: `{title(command)}` {reason}" + (f": {last}" if last else ""), result=result
    )


def sudo_refusal(
    host: str,
    login: str,
    command: Command,
    result: Result,
    locate: Callable[[str], str] | None = None,
) -> CommandFailed | None:
    """The error where sudo did not run the command at all, None where it did. `locate` as in
    `command_failed`."""
    if result.code == 0 or command.words(login)[:1] != ("sudo",):
        return None
    said = result.error.replace("\r", "")
    target = command.user or "root"
    if _SUDO_UNKNOWN.search(said):
        return CommandFailed(
            f"{host}: there is no user {target!r} there to run commands as",
            result=result,
            hint="correct `run_as` of this environment in biso.toml: the user that PHP runs as "
            "there, such as www-data",
        )
    denied = _SUDO_DENIED.search(said)
    if not denied and not _SUDO_PASSWORD.search(said):
        return None
    program = command.argv[0] if command.cwd is None else "bash"
    path = program
    if denied and denied.group(1):
        path = denied.group(1).split()[0]
    elif not program.startswith("/") and locate is not None:
        path = locate(program) or program
    return CommandFailed(
        f"{host}: sudo does not let {login} run `{program}` as {target} without a password",
        result=result,
        hint=f"add to /etc/sudoers.d/biso on {host} (with visudo): "
        f"{login} ALL=({target}) NOPASSWD: {path}; `biso doctor` prints all lines that are needed",
    )


def no_connection(host: str, where: str, reason: str) -> Unreachable:
    """The error for a TCP connection that could not be made; `reason` as the system says it."""
    lower = reason.lower()
    if "refused" in lower:
        hint = "check the port, and that sshd runs there"
    elif "timed out" in lower or "timeout" in lower:
        hint = "check that the machine is up, and that no firewall or missing VPN is in between"
    elif "resolve" in lower or "not known" in lower or "name resolution" in lower:
        hint = "check the name in biso.toml (`ssh`) and its entry in the ssh_config"
    else:
        hint = "check with: ssh " + where
    return Unreachable(f"{host}: cannot reach {where}: {reason}", hint=hint)


def no_authentication(host: str, where: str, tried: Sequence[str], why: str = "") -> Unreachable:
    """The error for a server that does not let us in; `tried` names users and keys."""
    return Unreachable(
        f"{host}: {where} does not let us in"
        + (f" ({why})" if why else "")
        + "; tried: "
        + (", ".join(tried) or "no key at all"),
        hint=f"`{_copy_id(where, tried)}` puts your public key there, where you have another way "
        "in; `ssh-add` loads an encrypted one; User and IdentityFile in the ssh_config name others",
    )


def _copy_id(where: str, tried: Sequence[str]) -> str:
    """`where` is user@host:port, or without the port."""
    found = re.fullmatch(r"(.+):(\d+)", where)
    place, port = (found[1], found[2]) if found else (where, "22")
    key = next((one.removeprefix("key ") for one in tried if one.startswith("key ")), "")
    words = ["ssh-copy-id", *(["-i", f"{key}.pub"] if key else [])]
    return shlex.join([*words, *(["-p", port] if port != "22" else []), place])


def changed_hint(lookup: str, files: Sequence[str], where: str = "") -> str:
    """What to do about a key that is not the known one any more. The arguments are those of
    `keyscan_hint`."""
    file = f" -f {shlex.quote(files[0])}" if files else ""
    return (
        f"{_ATTACK}. Only where the new fingerprint is confirmed: "
        f"`ssh-keygen -R {shlex.quote(lookup)}{file}` forgets the old one; "
        + keyscan_hint(lookup, files, where)
    )


def keyscan_hint(lookup: str, files: Sequence[str], where: str = "") -> str:
    """How to make a host key known, for the name under which it is looked up. `where` is
    user@host:port of that very host, "" where only the name is known."""
    name, port = lookup, "22"
    if match := re.fullmatch(r"\[(.+)\]:(\d+)", lookup):
        name, port = match.group(1), match.group(2)
    renamed, said = "", ""
    address, _, number = where.rpartition("@")[2].rpartition(":")
    own = address.lower() if number == "22" else f"[{address.lower()}]:{number}"
    if address and lookup != own:
        # A HostKeyAlias may be no name that resolves, and has no port: the host itself is scanned,
        # and the keys put under the alias; not the comments, which some versions print there too.
        name, port = address, number
        alias = re.sub(r"[\\/&]", r"\\\g<0>", lookup)
        renamed = " | sed " + shlex.quote(f"s/^[^# ][^ ]*/{alias}/")
        said = f" ({lookup} is its HostKeyAlias in the ssh_config)"
    file = shlex.quote(files[0]) if files else "~/.ssh/known_hosts"
    return (
        f"run `ssh-keyscan -p {port} {shlex.quote(name)}{renamed}`{said}, compare the fingerprint "
        f"(`| ssh-keygen -lf -`) with what the administrator of that machine says, "
        f"then append the line to {file}"
    )


def without_code(host: str, command: Command) -> HostError:
    """The error for an `ssh` that ended with 255 and said nothing."""
    return HostError(
        f"{host}: `{title(command)}` ended without an exit code: "
        "it was killed, or the connection to the host was lost",
        hint=LOST,
    )


def ssh_failure(
    host: str, where: str, said: str, files: Sequence[str] = (), lookup: str = ""
) -> BisoError | None:
    """What OpenSSH's stderr means, if it speaks of the connection itself: a refusal (host key) or
    Unreachable. None if it says nothing of that kind. `lookup` is the name under which the key of
    `where` is looked up: of another name that OpenSSH speaks of, it is a jump host's."""
    said = said.replace("\r", "")
    if "HOST IDENTIFICATION HAS CHANGED" in said or "host key has changed" in said:
        offered = re.search(r"(SHA256:\S+?)\.?\s", said + " ")
        place = re.search(r"Offending (?:\S+ )?key in (.+?):(\d+)", said)
        # It may be a jump host's: forgetting another one's key would be worse than no help.
        named = re.search(r"Host key for (\S+) has changed", said)
        name = named.group(1) if named else ""
        found_in = [place.group(1)] if place else files
        return Refused(
            f"{host}: the SSH host key of {where} has changed"
            + (f": it offers {offered.group(1)}" if offered else "")
            + (f", another one is in {place.group(1)} line {place.group(2)}" if place else ""),
            hint=changed_hint(name, found_in, where if name == lookup else "") if name else _ATTACK,
        )
    if match := re.search(r"No (\S+) host key is known for (\S+)", said):
        name = match.group(2)
        return Refused(
            f"{host}: the {match.group(1)} host key of {name} is not known",
            hint=keyscan_hint(name, files, where if name == lookup else ""),
        )
    if "REVOKED" in said or "Host key verification failed" in said:
        return Refused(
            f"{host}: the SSH host key of {where} was refused: {_last(said)}",
            hint="see " + (", ".join(files) or "the known_hosts file in use"),
        )
    if match := re.search(r"(\S+@\S+?): Permission denied \((.+?)\)", said):
        # Without its port; where it is a jump host's name, that is all there is.
        here = match.group(1)
        return no_authentication(
            host,
            where if where.startswith(f"{here}:") else here,
            [f"what ssh -v {where} lists"],
            f"it accepts {match.group(2)}",
        )
    if match := re.search(r"connect to host (\S+) port (\d+): (.+)", said):
        return no_connection(
            host, f"{match.group(1)} port {match.group(2)}", match.group(3).strip()
        )
    if match := re.search(r"Could not resolve hostname (\S+): (.+)", said):
        return no_connection(
            host, match.group(1), f"could not resolve the name: {match.group(2).strip()}"
        )
    if re.search(
        r"Connection (to \S+ )?(closed|reset|timed out)|kex_exchange_identification|"
        r"Timeout, server \S+ not responding|client_loop: send disconnect|banner exchange",
        said,
    ):
        return Unreachable(f"{host}: the connection to {where} ended: {_last(said)}", hint=LOST)
    return None


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"
