"""The signature of a released set: by ssh-keygen, over its SHA256SUMS, which covers all the rest.

    ssh-keygen -Y verify -f allowed_signers -I WHO -n biso-release -s SHA256SUMS.sig <SHA256SUMS

It is made and looked at on this machine: the key never comes to a host.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from biso_tasks.errors import ConfigError, Refused, StepFailed

__all__ = ["NAMESPACE", "require_key", "require_signed", "sign"]

NAMESPACE: Final = "biso-release"
_PROGRAM: Final = "ssh-keygen"
_PATIENCE: Final = 120.0  # seconds: an agent may ask a person


def require_key(key: Path) -> None:
    """Raises ConfigError where there is nothing to sign with: known before anything is begun."""
    if not key.is_file():
        raise ConfigError(
            f"release.sign: there is no file {key}",
            hint=f"make a key for it: ssh-keygen -t ed25519 -f {key}",
        )


def sign(key: Path, content: bytes) -> bytes:
    """The signature of `content`, armoured. Raises StepFailed where ssh-keygen does not give it."""
    done = _run(("-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE), content)
    if done.returncode != 0 or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise StepFailed(
            f"{key} could not sign the release: {_said(done)}",
            hint="a key with a passphrase needs an agent: ssh-add, and release.sign names its .pub",
        )
    return done.stdout


def require_signed(allowed: Path, what: str, content: bytes, signature: bytes | None) -> str:
    """Who of `allowed` (an allowed_signers file) signed `content`. Raises Refused where nobody of
    them did, ConfigError where there is no such file; `what` is how messages call the set."""
    if not allowed.is_file():
        raise ConfigError(
            f"release.allowed_signers: there is no file {allowed}",
            hint='write it: a line is a name, namespaces="biso-release", and the public key',
        )
    if signature is None:
        raise Refused(
            f"{what} is not signed, and release.allowed_signers wants a signature",
            hint="whoever makes releases sets release.sign; then make a new one",
        )
    with tempfile.TemporaryDirectory(prefix="biso-") as folder:
        file = Path(folder, "signature")
        file.write_bytes(signature)
        asked = ("-f", str(allowed), "-s", str(file))
        # Of whom the key is; nothing has been checked yet.
        found = _run(("-Y", "find-principals", *asked), b"")
        names = found.stdout.decode("utf-8", "replace").splitlines()
        for name in names:
            done = _run(("-Y", "verify", *asked, "-I", name, "-n", NAMESPACE), content)
            if done.returncode == 0:
                return name
    raise Refused(
        f"the signature of {what} is nobody's in {allowed}"
        if not names
        else f"{what} is not what {names[0]} signed",
        hint="take no data from it: ask whoever makes the releases",
    )


def _run(words: Sequence[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        # Without a terminal: a question that nobody sees would hold up a nightly run.
        return subprocess.run(
            (_PROGRAM, *words), input=stdin, capture_output=True, check=False, timeout=_PATIENCE,
            start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise StepFailed(
            f"{_PROGRAM} is not on this machine", hint="apt install openssh-client"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise StepFailed(
            f"{_PROGRAM} did not end within {_PATIENCE:.0f} s",
            hint="does it wait for a passphrase? Give the key to an agent (ssh-add)",
        ) from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in lines if line.strip()), "it says nothing")
