"""What sudo must allow for a run, whether it does, and the lines for sudoers that make it so."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.config.model import Environment
from biso_tasks.files.access import ROOT_PROGRAMS
from biso_tasks.host.command import script
from biso_tasks.host.protocol import Host

__all__ = ["SudoRule", "check_sudo", "may_without_password", "sudo_rules", "sudoers_lines"]


@dataclass(frozen=True, slots=True)
class SudoRule:
    """What `sudo -n` must allow: `words` as `user`. `anything` stands for every command of that
    user. `harmless` programs answer `--version`, so that the rule can be tried."""

    user: str
    words: tuple[str, ...]
    harmless: bool = True
    anything: bool = False


def sudo_rules(
    environment: Environment, login: str, *, writes: bool, hold: Sequence[str] | None = None
) -> tuple[SudoRule, ...]:
    """What a run asks sudo for on this environment's host, the login being `login`. `hold` are the
    services that a backup holds still, None where there is none to be made."""
    rules: list[SudoRule] = []
    configured = environment.services
    docker = configured.kind == "compose"
    # A backup makes and removes the folder in which it notes its maintenance.
    backup = () if hold is None else ("install", "rm")
    programs = ROOT_PROGRAMS if writes else ("rsync", *backup)
    if environment.host_user:
        rules += [
            SudoRule(environment.host_user, (name,), anything=True)
            for name in ("bash", "test", "find", "cp", "tar")
        ]
    if environment.sudo:
        rules += [SudoRule("root", (name,)) for name in programs]
        if docker:
            rules.append(SudoRule("root", ("docker",)))
        elif configured.kind == "systemd":
            rules += [
                SudoRule("root", ("systemctl", verb, "--", name), harmless=False)
                for name in dict.fromkeys((*(configured.stop if writes else ()), *(hold or ())))
                for verb in ("stop", "start")
            ]
        elif writes and configured.kind == "command":
            templates = (
                configured.stop_command, configured.start_command, configured.status_command
            )  # fmt: skip
            rules += [
                SudoRule("root", tuple(w.replace("{service}", name) for w in words), harmless=False)
                for name in configured.stop
                for words in templates
                if words
            ]
    role = environment.database.admin
    if writes and role is not None and role.run_as:
        rules.append(SudoRule(role.run_as, ("docker" if docker else "psql",)))
    return tuple(rule for rule in dict.fromkeys(rules) if rule.user != login)


# `sudo -n -l COMMAND` says yes as well where a password would be asked for: what is harmless is
# tried, and the rest looked up in the list of rules. What is not in the list is never tried, since
# a refusal is reported to the administrator.
_SUDO = r"""
type -P sudo >/dev/null || { printf 'nosudo\0'; exit 0; }
while IFS= read -r -d '' user; do
  IFS= read -r -d '' try; IFS= read -r -d '' count; words=()
  while [ "${#words[@]}" -lt "$count" ]; do IFS= read -r -d '' word; words+=("$word"); done
  program=${words[0]}; path=$(type -P -- "$program" || true)
  if ! id -u -- "$user" >/dev/null 2>&1; then answer=nobody
  elif [ -z "$path" ]; then answer=missing
  elif ! sudo -n -l -u "$user" -- "${words[@]}" </dev/null >/dev/null 2>&1; then answer=denied
  elif [ "$try" = 0 ] ||
    ! sudo -n -l -u "$user" -- "$program" --version </dev/null >/dev/null 2>&1; then answer=listed
  elif sudo -n -u "$user" -- "$program" --version </dev/null >/dev/null 2>&1; then answer=allowed
  else answer=denied
  fi
  printf '%s\0%s\0' "$answer" "$path"
done
LC_ALL=C sudo -n -l </dev/null 2>/dev/null || true
printf '\0'
"""


def check_sudo(
    sheet: Sheet,
    host: Host,
    environment: Environment,
    *,
    writes: bool,
    hold: Sequence[str] | None = None,
) -> dict[str, bool]:
    """One line for each user that sudo is needed for; whether all of it is granted."""
    rules = sudo_rules(environment, host.login, writes=writes, hold=hold)
    if not rules:
        return {}
    fields: list[str] = []
    for rule in rules:
        fields += [rule.user, str(int(rule.harmless)), str(len(rule.words)), *rule.words]
    stdin = "".join(f"{one}\0" for one in fields).encode("utf-8", "surrogateescape")
    answers = host.run(script(_SUDO), stdin=stdin, timeout=180).text.split("\0")
    users = list(dict.fromkeys(rule.user for rule in rules))
    if answers[0] == "nosudo":
        sheet.bad("sudo", f"not there, and {host.login} must become {', '.join(users)}",
                  "apt install sudo, then run doctor again for the rules")  # fmt: skip
        return dict.fromkeys(users, False)
    said = dict(zip(rules, zip(answers[0::2], answers[1::2], strict=False), strict=False))
    listing = answers[2 * len(rules)]
    granted: dict[str, bool] = {}
    for user in users:
        if any(said[rule][0] == "nobody" for rule in rules if rule.user == user):
            granted[user] = False
            sheet.bad(f"sudo as {user}", f"there is no user {user!r} on that host",
                      f"correct {_named_in(environment, user)}: the user that PHP or PostgreSQL "
                      "runs as there, such as www-data or postgres")  # fmt: skip
            continue
        mine = [rule for rule in rules if rule.user == user and said[rule][0] != "missing"]
        closed = [rule for rule in mine if not _granted(rule, *said[rule], listing)]
        granted[user] = not closed
        name = f"sudo as {user}"
        if not closed:
            sheet.good(name, _named(mine))
            continue
        lines = sudoers_lines(host.login, [(rule, said[rule][1]) for rule in mine])
        sheet.bad(
            name,
            f"not without a password for {host.login}: {_named(closed)}",
            f"put into /etc/sudoers.d/biso on that host (visudo -f): {'; '.join(lines)}",
        )
    return granted


def _named_in(environment: Environment, user: str) -> str:
    key = f"environments.{environment.name}"
    return f"{key}.run_as" if environment.run_as == user else f"{key}.database.admin.run_as"


def _granted(rule: SudoRule, answer: str, path: str, listing: str) -> bool:
    if answer == "listed":
        return may_without_password(listing, rule.user, (path, *rule.words[1:]))
    return answer == "allowed"


def _named(rules: Sequence[SudoRule]) -> str:
    if rules and rules[0].anything:
        return "any command"
    return ", ".join(" ".join(rule.words) for rule in rules) or "nothing is needed"


def sudoers_lines(login: str, rules: Sequence[tuple[SudoRule, str]]) -> list[str]:
    """The lines of a sudoers file that grant these rules, each with its program's absolute path."""
    grants: dict[str, list[str]] = {}
    for rule, path in rules:
        words = " ".join(_escaped(word) for word in (path, *rule.words[1:]))
        grants.setdefault(rule.user, []).append("ALL" if rule.anything else words)
    return [
        f"{login} ALL=({user}) NOPASSWD: {', '.join(dict.fromkeys(commands))}"
        for user, commands in grants.items()
    ]


def _escaped(word: str) -> str:
    """What sudoers would read as its own syntax, or as a wildcard."""
    return re.sub(r"([,:=\\*?\[\] #!])", r"\\\1", word)


def may_without_password(listing: str, user: str, words: Sequence[str]) -> bool:
    """Whether `sudo -l`'s listing lets `words` run as `user` without a password: as in sudoers, the
    last entry that matches counts."""
    wanted, allowed = " ".join(words), False
    for line in re.sub(r"\n {5,}", " ", listing).splitlines():
        entry = re.fullmatch(r"\s+\(([^)]*)\)\s*(.*)", line)
        if entry is None:
            continue
        users = {one.strip() for one in entry[1].partition(":")[0].split(",")}
        if not users & {user, "ALL"}:
            continue
        free = False
        for one in re.split(r"(?<!\\), ", entry[2]):
            tags = re.match(r"(?:[A-Z_]+:\s*)*", one)
            end = tags.end() if tags else 0
            for tag in re.findall(r"\b(NOPASSWD|PASSWD):", one[:end]):
                free = tag == "NOPASSWD"
            given = re.sub(r"\\(.)", r"\1", one[end:].strip())
            if given == "ALL" or given == words[0] or fnmatch.fnmatchcase(wanted, given):
                allowed = free
    return allowed
