"""Decides whether a host key is the known one, with OpenSSH's own reading of known_hosts files.

paramiko's reader knows no patterns, no @revoked, and one key a type; Fabric asks nobody at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from biso_tasks.errors import Refused
from biso_tasks.host.explain import changed_hint, keyscan_hint

__all__ = ["KnownKey", "fingerprint", "first_knowing", "judge", "look_up"]


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line of a known_hosts file. `marker` is "", "CA" or "REVOKED"."""

    file: str
    line: int
    marker: str
    kind: str  # ssh-ed25519, ssh-rsa, ...
    blob: bytes


def fingerprint(blob: bytes) -> str:
    """As OpenSSH prints it: SHA256:…"""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def look_up(name: str, files: Sequence[str]) -> tuple[KnownKey, ...]:
    """Every key known for `name` (a host name, or "[host]:port"), hashed entries and patterns
    included. Files that do not exist hold none."""
    found: list[KnownKey] = []
    for file in files:
        if not Path(file).is_file():
            continue
        done = subprocess.run(
            ("ssh-keygen", "-F", name, "-f", file),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        line, marker = 0, ""
        for text in done.stdout.decode("utf-8", "replace").splitlines():
            if match := re.match(r"# Host .* found: line (\d+) ?(\S*)", text):
                line, marker = int(match[1]), match[2]
                continue
            fields = text.removeprefix("@cert-authority ").removeprefix("@revoked ").split()
            if len(fields) < 3:
                continue
            try:
                blob = base64.b64decode(fields[2], validate=True)
            except binascii.Error:
                continue
            found.append(KnownKey(file, line, marker, fields[1], blob))
    return tuple(found)


def first_knowing(lookup: str, files: Sequence[str]) -> str:
    """The first of `files` that holds a key for `lookup`, or for its host on any port; "" where
    none does."""
    plain = re.fullmatch(r"\[(.+)\]:\d+", lookup)
    names = (lookup, plain[1]) if plain else (lookup,)
    known = (file for file in files if any(look_up(name, [file]) for name in names))
    return next(known, "")


def judge(
    host: str,
    where: str,
    lookup: str,
    files: Sequence[str],
    kind: str,
    blob: bytes,
) -> None:
    """Return if the key that the server at `where` (user@host:port) offered is known for `lookup`;
    raise Refused otherwise: revoked, changed (both fingerprints, file and line) or unknown (with
    the way to make it known). Like OpenSSH, a key known for the host without a port counts on any
    port."""
    known = look_up(lookup, files)
    plain = re.fullmatch(r"\[(.+)\]:\d+", lookup)
    portless = look_up(plain[1], files) if plain else ()
    for key in (*known, *portless):
        if key.marker == "REVOKED" and key.blob == blob:
            raise Refused(
                f"{host}: the SSH host key {fingerprint(blob)} of {where} is marked as revoked "
                f"in {key.file} line {key.line}",
                hint="do not connect; ask the administrator of that machine",
            )
    if any(not key.marker and key.blob == blob for key in (*known, *portless)):
        return
    for key in known:
        if not key.marker and key.kind == kind:
            raise Refused(
                f"{host}: the SSH host key of {where} has changed: it offers "
                f"{fingerprint(blob)}, but {key.file} line {key.line} says "
                f"{fingerprint(key.blob)} ({kind})",
                hint=changed_hint(lookup, [key.file], where),
            )
    hint = keyscan_hint(lookup, files, where)
    if any(key.marker == "CA" for key in known):
        hint += " (host certificates are not checked by the control plane; it needs the plain key)"
    raise Refused(
        f"{host}: the SSH host key of {where} is not known: it offers {fingerprint(blob)} ({kind})",
        hint=hint,
    )
