"""The gate of a restricted account: releases are listed, read and fetched, and whatever else a
client asks for does nothing and shows nothing. Behind a real sshd, as authorized_keys has it.
"""

from __future__ import annotations

import getpass
import io
import os
import random
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.backup.gate import DOCUMENTS, GATE
from biso_tasks.backup.ids import BadSet, new_id
from biso_tasks.backup.received import Received
from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import verify_set
from biso_tasks.errors import BisoError, Interrupted, ProofFailed, Refused
from biso_tasks.host.command import Command, Result
from biso_tasks.host.local import LocalHost
from biso_tasks.host.ssh import SshHost

pytestmark = [pytest.mark.needs("sshd", "ssh")]

NOW = datetime.now(UTC).replace(microsecond=0)
ID = new_id(NOW, "test")
RAW = "20260101_000000-prod"
SECRET = "Großkopf-Zürcher"
PROOF = {"source": "prod", "run": "r1", "snapshot": NOW.isoformat(), "tool": "1", "columns": 1,
         "values": 2, "files": 3, "leaks": 0, "sampled": False, "inventory": "",
         "judged": "0" * 64}  # fmt: skip


@dataclass
class Account:
    """A key that is bound to the gate, at an sshd of the test's own."""

    folder: Path
    store: Store
    port: int

    def ask(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """By ssh's own client, over one shared connection; what is asked for is sent as it is."""
        return subprocess.run(
            ["ssh", "-F", str(self.folder / "config"), "-T", "releases", "--", *words],
            capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip

    def state(self) -> list[tuple[str, int, bytes]]:
        """Everything that a client must not change."""
        found = []
        for path in sorted(self.folder.rglob("*")):
            if path.name in ("sshd.log", "m") or path.is_dir():
                continue
            found.append((str(path), path.lstat().st_mode, path.read_bytes()))
        return found


@pytest.fixture
def account(maker: Any, here: LocalHost) -> Iterator[Account]:
    store: Store = maker.store
    maker.seal(ID, ("data", "database"), role="test", personal=False, proof=PROOF)
    raw = Path(store.path, "sets", RAW)
    shutil.copytree(maker.seal(new_id(NOW, "raw")), raw, symlinks=True)
    (raw / "db/secret.sql").write_text(SECRET, "utf-8")
    (Path(store.path, "sets") / ".partial-20260101_000000-x").mkdir()
    folder = Path(store.path).parent
    (folder / "secret").write_text(SECRET, "utf-8")
    gate = folder / "gate of releases"
    gate.write_text(GATE, "utf-8")
    gate.chmod(0o755)
    for name in ("host", "key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    forced = f"'{gate}' '{store.path}'"
    public = (folder / "key.pub").read_text()
    (folder / "authorized_keys").write_text(f'restrict,command="{forced}" {public}')
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f'AuthorizedKeysFile "{folder}/authorized_keys"\nStrictModes no\nUsePAM no\n'
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        "MaxSessions 100\nSubsystem sftp internal-sftp\nAcceptEnv *\n"
    )
    line = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{port} {line}\n")
    socket_at = Path(tempfile.mkdtemp(prefix="bg-", dir="/tmp"))
    (folder / "config").write_text(
        f"Host releases\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n"
        f" IdentityFile {folder}/key\n IdentitiesOnly yes\n IdentityAgent none\n BatchMode yes\n"
        f" UserKnownHostsFile {folder}/known\n ControlMaster auto\n ControlPath {socket_at}/m\n"
        " ControlPersist 30\n SendEnv *\n"
    )
    sshd = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    assert sshd is not None
    process = subprocess.Popen(
        [sshd, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")],
        stdin=subprocess.DEVNULL,
    )
    found = Account(folder, store, port)
    try:
        _wait(port)
        yield found
    finally:
        words = ["ssh", "-F", str(folder / "config"), "-O", "exit", "releases"]
        subprocess.run(words, capture_output=True, check=False)
        process.terminate()
        process.wait()
        shutil.rmtree(socket_at)


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail("sshd did not start")


@pytest.fixture
def gate(account: Account) -> Iterator[SshHost]:
    folder = account.folder
    host = SshHost("releases", "releases", folder / "config", folder / "known")
    yield host
    host.close()


@pytest.fixture
def received(gate: SshHost, here: LocalHost, account: Account) -> Received:
    found = Received(here, str(account.folder / "received"), gate)
    found.prepare()
    return found


# -- what it is for --


def test_a_release_comes_through_the_gate_and_is_like_any_other_set(
    received: Received, account: Account
) -> None:
    assert [one.id for one in received.list()] == [ID], "neither a raw set nor a partial one"
    assert received.resolve("released") == ID
    planned = received.read(ID)
    assert planned.manifest == account.store.read(ID).manifest
    for name in DOCUMENTS:
        assert received.read_file(ID, name) == account.store.read_file(ID, name), name
    assert received.read_file(ID, "db/grants.sql") is None
    assert not received.here(ID)
    received.fetch(planned, run="r2", cancel=threading.Event())
    assert received.here(ID)
    assert verify_set(received, ID) == ()
    assert verify_set(Store(received.host, received.path), ID) == ()
    for path in Path(account.store.set_path(ID)).rglob("*"):
        other = Path(received.set_path(ID), path.relative_to(account.store.set_path(ID)))
        assert other.is_symlink() == path.is_symlink()
        if path.is_file() and path.name != "state.toml":
            assert other.read_bytes() == path.read_bytes(), path.name
    left = {one.name for one in Path(received.path, "sets").iterdir()}
    assert left == {ID}


def test_a_release_that_was_fetched_is_read_without_asking_again(
    received: Received, account: Account
) -> None:
    received.fetch(received.read(ID), run="r2", cancel=threading.Event())
    (account.folder / "authorized_keys").write_text("")
    nobody = Received(received.host, received.path, LocalHost("nobody"))
    assert nobody.read(ID).id == nobody.resolve(ID) == ID
    assert verify_set(nobody, ID) == ()


def test_a_damaged_copy_is_fetched_again(received: Received) -> None:
    planned = received.read(ID)
    received.fetch(planned, run="r2", cancel=threading.Event())
    state = Path(received.set_path(ID), "state.toml")
    state.write_text("sums = 1")
    assert not received.here(ID)
    assert received.read(ID).status == planned.status
    received.fetch(planned, run="r3", cancel=threading.Event())
    assert verify_set(received, ID) == ()


def test_what_was_exchanged_since_it_was_looked_at_is_not_kept(
    received: Received, account: Account
) -> None:
    planned = received.read(ID)
    with (Path(account.store.set_path(ID)) / "SHA256SUMS").open("ab") as file:
        file.write(b"0" * 64 + b"  data/x\n")
    with pytest.raises(ProofFailed, match="is not the one that it had named"):
        received.fetch(planned, run="r2", cancel=threading.Event())
    assert list(Path(received.path, "sets").iterdir()) == []


def test_a_fetch_that_is_cut_leaves_no_release(received: Received) -> None:
    cancel = threading.Event()
    cancel.set()
    planned = received.read(ID)
    with pytest.raises(Interrupted):
        received.fetch(planned, run="r2", cancel=cancel)
    assert not received.here(ID)
    received.remove_partial(ID)
    assert list(Path(received.path, "sets").iterdir()) == []


def test_what_was_not_fetched_is_neither_verified_nor_pinned_here(received: Received) -> None:
    for work in (
        lambda: received.require_here([ID]),
        lambda: received.pin(ID, "x", None, NOW),
        lambda: received.unpin(ID),
    ):
        with pytest.raises(Refused, match="was not fetched yet"):
            work()
    received.fetch(received.read(ID), run="r2", cancel=threading.Event())
    received.require_here([ID])
    received.pin(ID, "x", None, NOW)
    assert received.read(ID).status.pin is not None


def test_what_a_killed_fetch_left_is_replaced(received: Received) -> None:
    left = Path(received.begin(new_id(NOW.replace(year=2020), "test"), ()))
    (left / "data").mkdir()
    (left / "data" / "half").write_text("half a file")
    mine = Path(received.begin(ID, ()))
    (mine / "data").mkdir()
    (mine / "data" / "half").write_text("half a file")
    received.fetch(received.read(ID), run="r2", cancel=threading.Event())
    assert verify_set(received, ID) == ()
    assert [one.name for one in Path(received.path, "sets").iterdir()] == [ID]


class Evil:
    """Behind its gate somebody sends what they like."""

    name = address = login = "evil"

    def __init__(self, honest: SshHost, here: LocalHost, archive: Path) -> None:
        self.honest, self.here, self.archive = honest, here, archive

    def run(self, *args: Any, **more: Any) -> Any:
        return self.honest.run(*args, **more)

    def start(self, command: Command, **more: Any) -> Any:
        return self.here.start(Command(("cat", str(self.archive))), **more)


def _member(archive: tarfile.TarFile, name: str, *, link: str = "") -> None:
    entry = tarfile.TarInfo(name)
    if link:
        entry.type, entry.linkname = tarfile.SYMTYPE, link
        archive.addfile(entry)
    else:
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))


@pytest.mark.parametrize("way", ["above", "absolute", "link", "link out", "too much"])
def test_whatever_an_archive_holds_nothing_outside_of_the_set_is_written(
    way: str, gate: SshHost, here: LocalHost, account: Account, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as made:
        made.add(account.store.set_path(ID), ".")
        if way == "above":
            for depth in range(1, 6):
                _member(made, "../" * depth + "outside.evil")
        elif way == "absolute":
            _member(made, str(outside / "evil"))
        elif way == "link":
            _member(made, "data/out", link=str(outside))
            _member(made, "data/out/evil")
        elif way == "link out":
            _member(made, "data/up", link="../../../../")
            _member(made, "data/up/outside.evil")
        else:
            _member(made, "data/more")
    store = Received(here, str(tmp_path / "received"), Evil(gate, here, archive))  # type: ignore[arg-type]
    store.prepare()
    try:
        store.fetch(store.read(ID), run="r2", cancel=threading.Event())
    except BisoError:
        assert not store.here(ID)
    else:
        assert verify_set(store, ID) != ()
    assert list(outside.iterdir()) == []
    inside = tmp_path / "received" / "sets"
    strays = [one for one in tmp_path.rglob("*evil*") if inside not in one.parents]
    assert strays == [archive]


def test_an_account_without_the_gate_is_told_so(received: Received, account: Account) -> None:
    key = (account.folder / "key.pub").read_text()
    (account.folder / "authorized_keys").write_text(key)
    with pytest.raises(Refused, match="does not hand out releases") as caught:
        received.list()
    assert "biso release --gate" in caught.value.hint


@pytest.mark.parametrize(
    "answer",
    ["x\n", "a b c\n", "../../etc b c\n", f"{RAW} - - -\n", ".partial-20260101_000000-x - -"],
)
def test_an_account_that_answers_something_else_is_no_source_of_releases(
    answer: str, here: LocalHost, tmp_path: Path
) -> None:
    class Liar:
        name = "liar"

        def run(self, *args: Any, **more: Any) -> Any:
            return Result(0, answer.encode(), b"")

    store = Received(here, str(tmp_path / "received"), Liar())  # type: ignore[arg-type]
    with pytest.raises(BadSet, match="something else than releases"):
        store.list()


# -- what it is against --

HOSTILE = (
    "",
    "id",
    "sh",
    "bash -i",
    "scp -f /etc/passwd",
    "scp -t /tmp",
    "sftp-server",
    "internal-sftp",
    "rsync --server --sender -logDtpre.iLsfxCIvu . /",
    f"rsync --server --sender -e. . sets/{ID}/",
    "rsync --server -logDtpre.iLsfxCIvu . /tmp/x",
    "list /",
    "list; cat secret",
    "list && cat secret",
    "list\ncat secret",
    "list\tx",
    "list | tee x",
    "list >x",
    "LIST",
    " list",
    "list ",
    "list  x",
    "$(cat ../secret)",
    "`cat ../secret`",
    f"read {ID} ../../../secret",
    f"read {ID} ../{RAW}/db/secret.sql",
    f"read {ID} state.toml",
    f"read {ID} db/grants.sql",
    f"read {ID} /etc/passwd",
    f"read {ID} *",
    f"read {ID} manifest.toml x",
    f"read {ID}/../{RAW} manifest.toml",
    f"read {RAW} manifest.toml",
    f"read {RAW} METADATA",
    "read . manifest.toml",
    "read .. manifest.toml",
    "read ../.. secret",
    "read -- manifest.toml",
    "read -f manifest.toml",
    "read .partial-20260101_000000-x manifest.toml",
    "fetch",
    "fetch .",
    "fetch ..",
    "fetch /",
    "fetch *",
    f"fetch {RAW}",
    f"fetch {ID} {RAW}",
    f"fetch {ID} --to-command=id",
    f"fetch --to-command=id {ID}",
    f"fetch {ID}/../{RAW}",
    f"fetch {ID}\n{RAW}",
    f"fetch {ID};id",
    f"fetch '{RAW}'",
    f"fetch {ID[:-1]}*",
    f"fetch {ID[:-1]}?",
    "fetch --checkpoint=1",
    "fetch 20260101_000000-",
    "fetch 20260101_000000-nobody",
    f"timeout 60 fetch {ID}",
    "list " + "x" * 5000,
    "\x00",
    "größe",
    "\\",
    "'",
    '"',
    "!",
    "#",
    "{list,/}",
    "~root",
    "$HOME",
    "${IFS}",
    "list$IFS",
)


def test_whatever_else_a_client_asks_for_does_nothing_and_shows_nothing(account: Account) -> None:
    before = account.state()
    for words in HOSTILE:
        if "\0" in words:
            continue
        done = account.ask(words)
        assert done.returncode in (64, 66), (words, done)
        assert done.stdout == b"", words
        assert SECRET.encode() not in done.stderr, words
    assert account.state() == before


def test_a_key_behind_the_gate_opens_nothing_else(account: Account) -> None:
    """No terminal, no forwarding, no subsystem, no environment."""
    base = ["ssh", "-F", str(account.folder / "config"), "-S", "none"]
    run = {"capture_output": True, "check": False, "stdin": subprocess.DEVNULL, "timeout": 60}
    sftp = subprocess.run([*base, "-s", "releases", "sftp"], **run)  # type: ignore[call-overload]
    assert sftp.returncode == 64
    terminal = subprocess.run([*base, "-tt", "releases"], **run)  # type: ignore[call-overload]
    assert terminal.returncode != 0
    assert b"PTY allocation request failed" in terminal.stderr
    words = [*base, "-o", "ExitOnForwardFailure=yes", "-W", f"127.0.0.1:{account.port}", "releases"]
    assert subprocess.run(words, **run).returncode != 0  # type: ignore[call-overload]
    for name, value in {
        "SSH_ORIGINAL_COMMAND": "fetch x", "TAR_OPTIONS": "--to-command=id", "BASH_ENV": "secret",
        "ENV": "secret", "IFS": "x", "PATH": "/nowhere", "LC_ALL": "xx", "POSIXLY_CORRECT": "1",
    }.items():  # fmt: skip
        env = {**os.environ, name: value}
        ssh = shutil.which("ssh") or "ssh"
        done = subprocess.run([ssh, *base[1:], "releases", "list"], env=env, **run)  # type: ignore[call-overload]
        assert done.returncode == 0, (name, done.stderr)
        assert done.stdout.startswith(ID.encode()), name


def test_no_word_of_any_kind_gets_more_than_a_release(account: Account) -> None:
    """Words made of what such a script could stumble over, given to the gate itself: thousands."""
    chance = random.Random(8)
    pieces = ["list", "read", "fetch", ID, RAW, "manifest.toml", "SHA256SUMS", "state.toml", " ",
              "  ", "\t", "\n", ";", "&", "|", "$", "`", "(", ")", "<", ">", "*", "?", "[", "]",
              "..", "/", ".", "-", "--", "'", '"', "\\", "~", "#", "!", "=", "secret", "ü", "x",
              "-C", "--help", "$IFS", "$(id)", "20260101_000000-", "%s", "\x7f"]  # fmt: skip
    before = account.state()
    command = ["sh", str(account.folder / "gate of releases"), account.store.path]
    allowed = {"list", f"fetch {ID}", *(f"read {ID} {name}" for name in DOCUMENTS)}
    for _ in range(600):
        asked = "".join(chance.choice(pieces) for _ in range(chance.randrange(1, 7)))
        if chance.random() < 0.5:
            asked = chance.choice(sorted(allowed)) + asked
        done = subprocess.run(
            command, env={"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": asked},
            capture_output=True, check=False, cwd="/",
        )  # fmt: skip
        assert SECRET.encode() not in done.stdout + done.stderr, asked
        if asked not in allowed:
            assert done.returncode == 64, (asked, done)
            assert done.stdout == b"", asked
    assert account.state() == before


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_any_shell_that_is_sh_runs_the_gate(account: Account, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is missing: apt install {shell}")
    words = [program, *(["--posix"] if shell == "bash" else [])]
    for asked, code in (("list", 0), (f"read {ID} METADATA", 0), (f"fetch {RAW}", 64), ("x", 64)):
        done = subprocess.run(
            [*words, str(account.folder / "gate of releases"), account.store.path],
            env={"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": asked},
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, (asked, done)


def test_a_gate_that_has_nothing_to_hand_out_lists_nothing(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.write_text(GATE, "utf-8")
    for asked, code in (("list", 0), (f"fetch {ID}", 64)):
        done = subprocess.run(
            ["sh", str(gate), str(tmp_path / "nowhere")],
            env={"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": asked},
            capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (code, b"")


def test_errors_of_the_gate_are_ours(gate: SshHost, here: LocalHost, tmp_path: Path) -> None:
    store = Received(here, str(tmp_path / "received"), gate)
    with pytest.raises(BisoError):
        store.read(new_id(NOW, "nobody"))
