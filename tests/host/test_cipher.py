"""AES-GCM first where it is the faster one; whoever says otherwise is heard."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.host import SshHost, cipher, command, resolve

X86 = "processor\t: 0\nflags\t\t: fpu sse2 {}ht\n"
GCM = "aes128-gcm@openssh.com"
CHACHA = "chacha20-poly1305@openssh.com"


@pytest.mark.parametrize(
    ("cpuinfo", "wanted"),
    [
        (X86.format("aes "), True),
        (X86.format(""), False),
        (X86.format("vaes "), False),
        ("Features\t: fp asimd aes pmull\n", True),
    ],
)
def test_a_processor_with_aes_instructions_asks_for_aes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, wanted: bool
) -> None:
    monkeypatch.setattr(cipher, "_openssh", lambda: (9, 2))
    monkeypatch.setattr(cipher, "_knows", lambda ciphers: True)
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert cipher.preferred_ciphers(tmp_path / "cpuinfo").startswith("^aes128-gcm") is wanted


@pytest.mark.parametrize(("version", "built"), [((8, 0), True), ((9, 2), False)])
def test_an_openssh_that_would_stumble_over_it_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], built: bool
) -> None:
    """Before 8.1 the prefix is a mistake, and so is a cipher that it was built without."""
    known = f"{GCM}\naes256-gcm@openssh.com" if built else CHACHA
    said = {"-V": f"OpenSSH_{version[0]}.{version[1]}p1 Debian", "-Q": f"aes128-ctr\n{known}\n"}
    monkeypatch.setattr(cipher, "_said", lambda *words: said[words[0]])
    cipher._openssh.cache_clear()
    cipher._knows.cache_clear()
    (tmp_path / "cpuinfo").write_text(X86.format("aes "))
    try:
        assert cipher.preferred_ciphers(tmp_path / "cpuinfo") == ""
        said["-V"] = "OpenSSH_8.1p1"
        said["-Q"] = f"{GCM}\naes256-gcm@openssh.com\n"
        cipher._openssh.cache_clear()
        cipher._knows.cache_clear()
        assert cipher.preferred_ciphers(tmp_path / "cpuinfo") == cipher._FAST
    finally:
        cipher._openssh.cache_clear()
        cipher._knows.cache_clear()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with AES instructions, whatever this one has."""
    monkeypatch.setattr(resolve, "preferred_ciphers", lambda: cipher._FAST)


def ciphers(host: SshHost) -> list[str]:
    said = subprocess.run(
        (*host.ssh_words()[:-1], "-G", host.ssh_words()[-1]), capture_output=True, check=True
    ).stdout.decode()
    (line,) = [line for line in said.splitlines() if line.startswith("ciphers ")]
    return line.split(" ")[1].split(",")


@pytest.mark.real
@pytest.mark.needs("ssh")
@pytest.mark.usefixtures("fast")
def test_none_goes_and_the_user_s_own_order_counts(sshd: Any, connect_to: Any) -> None:
    offered = ciphers(connect_to(sshd))
    assert offered[0] == GCM
    assert CHACHA in offered
    assert ciphers(connect_to(sshd, extra=f"  Ciphers {CHACHA},{GCM}")) == [CHACHA, GCM]


@pytest.mark.real
@pytest.mark.needs("ssh")
@pytest.mark.usefixtures("fast")
def test_a_server_that_speaks_chacha20_alone_is_spoken_to(start_sshd: Any, connect_to: Any) -> None:
    host = connect_to(start_sshd(extra=f"Ciphers {CHACHA}"))
    child = host.start(
        command("echo", "here"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.communicate(timeout=30)[0] == b"here\n"
