"""The shipped plugins as a site loads them; servers and a stage for them to work on, all real."""

from __future__ import annotations

import base64
import contextlib
import http.server
import ipaddress
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from biso_tasks.errors import StepFailed
from biso_tasks.hooks.manager import PluginManager

ROOT = Path(__file__).parents[2]


@pytest.fixture
def load() -> Callable[..., PluginManager]:
    """A manager with the plugins of the real folder, each with its section; further folders too."""

    def load(*folders: Path, **sections: Mapping[str, Any]) -> PluginManager:
        said: list[str] = []
        manager = PluginManager(say=said.append)
        manager.load(["plugins", *folders], root=ROOT, sections=sections)
        assert said == []
        return manager

    return load


@pytest.fixture
def keep_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a secret's file into a home of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    folder = tmp_path / "home/.config/biso-tasks/secrets"
    folder.mkdir(parents=True)

    def keep(name: str, text: str, mode: int = 0o600) -> Path:
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
        return folder / name

    return keep


@dataclass
class LocalStage:
    """A stage in a folder: commands run on this machine, for real."""

    datadir: str
    databases: dict[str, str] = field(default_factory=dict)
    connections: dict[str, Any] = field(default_factory=dict)
    commands: list[tuple[str, ...]] = field(default_factory=list)
    name: str = "the stage of test"

    def host_run(self, argv: Sequence[str], *, stdin: bytes = b"") -> bytes:
        self.commands.append(tuple(argv))
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False, cwd="/")
        if done.returncode:
            raise StepFailed(f"{argv[0]}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def files(self) -> Iterator[str]:
        root = Path(self.datadir)
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(root))

    def connect(self, key: str = "") -> AbstractContextManager[Any]:
        return self._connect(key)

    @contextmanager
    def _connect(self, key: str) -> Iterator[Any]:
        made = self.connections[key]
        with made() as connection:
            yield connection


@pytest.fixture
def stage(tmp_path: Path) -> LocalStage:
    folder = tmp_path / "daten $(x) ä"
    folder.mkdir()
    return LocalStage(str(folder))


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class _Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no error of the server's."""


@dataclass
class HttpSink:
    """Answers every request with `code`; `asked` is what came."""

    code: int = 200
    location: str = ""
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def http_sink() -> Iterator[HttpSink]:
    sink = HttpSink()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sink.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            self.send_response(sink.code)
            if sink.location:
                self.send_header("Location", sink.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *given: Any) -> None:
            """Quiet."""

    server = _Threads(("127.0.0.1", 0), Handler)
    sink.port = server.server_address[1]
    with _serving(server):
        yield sink


@dataclass
class MailSink:
    """An SMTP server: EHLO, STARTTLS, AUTH PLAIN, one mail or more. `refuse` are recipients that
    it does not take; `login` is what must be given where it is set."""

    port: int = 0
    ca: str = ""
    offers_tls: bool = False
    login: tuple[str, str] | None = None
    refuse: tuple[str, ...] = ()
    mails: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)


class _Smtp(socketserver.StreamRequestHandler):
    sink: MailSink
    trust: ssl.SSLContext | None = None
    at_once = False

    def setup(self) -> None:
        self.tls = False
        if self.at_once:
            self._wrap()
        super().setup()

    def _wrap(self) -> None:
        assert self.trust is not None
        self.request = self.trust.wrap_socket(self.request, server_side=True)
        self.tls = True

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")
        self.wfile.flush()

    def handle(self) -> None:
        sink = self.sink
        self._say("220 sink")
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            match word.upper():
                case "EHLO":
                    self._say("250-sink")
                    if sink.offers_tls and not self.tls:
                        self._say("250-STARTTLS")
                    self._say("250 AUTH PLAIN" if sink.login else "250 OK")
                case "STARTTLS":
                    self._say("220 go ahead")
                    self._wrap()
                    self.rfile = self.request.makefile("rb")
                    self.wfile = self.request.makefile("wb")
                case "AUTH":
                    _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                    sink.logins.append((user, password))
                    good = (user, password) == sink.login
                    self._say("235 in" if good else f"535 not you, {user} with {password}")
                case "RCPT":
                    address = rest.partition("<")[2].partition(">")[0]
                    taken = address not in sink.refuse
                    if taken:
                        sink.recipients.append(address)
                    self._say("250 OK" if taken else f"550 {address} is unknown")
                case "DATA":
                    self._say("354 go on")
                    body = b""
                    while (one := self.rfile.readline()) != b".\r\n":
                        body += one
                    sink.mails.append(body)
                    sink.secure.append(self.tls)
                    self._say("250 OK")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 OK")


@contextmanager
def _mail_sink(trust: ssl.SSLContext | None = None, *, at_once: bool = False) -> Iterator[MailSink]:
    sink = MailSink(offers_tls=trust is not None)
    handler = type("Handler", (_Smtp,), {"sink": sink, "trust": trust, "at_once": at_once})
    server = _Threads(("127.0.0.1", 0), handler)
    sink.port = server.server_address[1]
    with _serving(server):
        yield sink


@pytest.fixture
def mail_sink() -> Iterator[MailSink]:
    with _mail_sink() as sink:
        yield sink


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sink")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


def _server_side(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.fixture
def tls_mail_sink(certificate: Path) -> Iterator[MailSink]:
    with _mail_sink(_server_side(certificate), at_once=True) as sink:
        sink.ca = str(certificate / "cert.pem")
        yield sink


@pytest.fixture
def starttls_mail_sink(certificate: Path) -> Iterator[MailSink]:
    with _mail_sink(_server_side(certificate)) as sink:
        sink.ca = str(certificate / "cert.pem")
        yield sink


@pytest.fixture(params=["silent", "dripping"])
def hanging(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server's port that never answers whole: it says nothing, or a byte every 0.1 s."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while not over.wait(0.1):
                if request.param == "dripping":
                    self.request.sendall(b"2")

    server = _Threads(("127.0.0.1", 0), Handler)
    with _serving(server):
        yield server.server_address[1]
        over.set()
