"""Tells how a run ended: by mail, by a webhook, by a ping of a healthchecks server, by Apprise.

    [plugins.notify]
    messages = true                     # false: only an error's kind, its text stays in the report
    [[plugins.notify.mail]]
    to = ["it@example.ch"]
    sender = "biso@example.ch"
    host = "smtp.example.ch"            # port: 587 starttls, 465 tls, 25 none
    security = "starttls"               # starttls | tls | none
    user = "biso"
    secret = "smtp"                     # the NAME of the password
    on = ["failure"]                    # default: failure and success
    [[plugins.notify.webhook]]          # POST of a JSON document; chats show its "text"
    url = "https://chat.example.ch/hooks/biso"
    secret = "chat"                     # the name of a bearer token
    [[plugins.notify.healthchecks]]     # url/start, url, url/fail
    url_secret = "healthchecks"         # the name of the whole URL, instead of `url`
    tasks = ["refresh-test"]            # as for mail and webhook; default: all tasks
    [[plugins.notify.apprise]]          # Matrix, Teams, Signal, ...: with `biso-tasks[notify]`
    url_secret = "matrix"               # the name of an Apprise URL: it holds a password

Where a secret of that name is looked for: docs/plugins.md. Each target has `timeout` (10 s) in
total, looking for its secret included, and all are told at once.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import re
import smtplib
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from typing import Any, Final, Literal

from biso_tasks.api import (
    BisoError,
    Check,
    ConfigError,
    PlanView,
    Report,
    SecretFinder,
    Site,
    StepFailed,
    hookimpl,
)

Outcome = Literal["failure", "success"]
BOTH: Final[tuple[Outcome, ...]] = ("failure", "success")
PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
LONGEST: Final = 500  # characters of an error's text


# -- settings --


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What every kind of target has; `timeout` is in seconds, for all that telling it takes."""

    on: tuple[Outcome, ...] = BOTH
    tasks: tuple[str, ...] = ()
    timeout: float = 10.0
    secret: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= 300:
            raise ValueError(f"timeout is between 0 and 300 seconds, got {self.timeout:g}")

    @property
    def place(self) -> str:
        """What messages call it."""
        raise NotImplementedError

    def wants(self, report: Report) -> bool:
        return self.for_task(report.task) and ("success" if report.ok else "failure") in self.on

    def for_task(self, task: str) -> bool:
        return not self.tasks or task in self.tasks

    def secrets(self) -> Iterator[str]:
        if self.secret:
            yield self.secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail(Target):
    to: tuple[str, ...]
    sender: str
    host: str = "localhost"
    port: int = 0
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: str = ""  # a file with the certificates to trust, for a server with one of its own
    user: str = ""

    def __post_init__(self) -> None:
        Target.__post_init__(self)
        if not self.to:
            raise ValueError("`to` needs at least one address")
        if bool(self.user) != bool(self.secret):
            raise ValueError("`user` and `secret` (the name of its password) belong together")
        if self.user and self.security == "none" and not _near(self.host):
            raise ValueError('a password does not travel in the open: security = "starttls"')

    @property
    def place(self) -> str:
        return f"mail by {self.host}:{self.port or PORTS[self.security]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web(Target):
    url: str = ""
    url_secret: str = ""

    def __post_init__(self) -> None:
        Target.__post_init__(self)
        if bool(self.url) == bool(self.url_secret):
            raise ValueError("give `url`, or `url_secret` (its name), and not both")
        if self.url:
            _require_safe(self.url)

    @property
    def place(self) -> str:
        # Never all of it: the path of such a URL is often its password.
        return urllib.parse.urlsplit(self.url).hostname or self.url_secret

    def address(self, secret: SecretFinder) -> str:
        """Raises BisoError, without the URL in its text."""
        if self.url:
            return self.url
        url = secret(self.url_secret).reveal()
        try:
            _require_safe(url)
        except ValueError as error:
            raise ConfigError(
                f"the secret {self.url_secret!r}: {error}", hint="correct what the secret holds"
            ) from None
        return url

    def secrets(self) -> Iterator[str]:
        yield from Target.secrets(self)
        if self.url_secret:
            yield self.url_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Target):
    url_secret: str

    @property
    def place(self) -> str:
        return f"apprise {self.url_secret}"

    def secrets(self) -> Iterator[str]:
        yield self.url_secret


Job = tuple[Target, Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Settings:
    mail: tuple[Mail, ...] = ()
    webhook: tuple[Web, ...] = ()
    healthchecks: tuple[Web, ...] = ()
    apprise: tuple[Service, ...] = ()
    messages: bool = True


@hookimpl
def biso_config() -> type[Settings]:
    return Settings


# -- hooks --


@hookimpl
def biso_checks(site: Site, config: Settings, secret: SecretFinder) -> Iterator[Check]:
    """Secrets are looked for before a run needs them; no server is asked."""
    for target in (*config.mail, *config.webhook, *config.healthchecks):
        for name in target.secrets():
            try:
                secret(name)
            except BisoError as error:
                yield Check("", f"notify: {target.place}", False, error.message, error.hint)
            else:
                yield Check("", f"notify: {target.place}", True, f"the secret {name!r} is there")
    for service in config.apprise:
        try:
            _service(service, secret)
        except BisoError as error:
            yield Check("", f"notify: {service.place}", False, error.message, error.hint)
        else:
            yield Check("", f"notify: {service.place}", True, "Apprise knows its URL")


@hookimpl
def biso_run_started(plan: PlanView, config: Settings, secret: SecretFinder) -> None:
    targets = [one for one in config.healthchecks if one.for_task(plan.name)]
    _tell([(one, partial(_ping, one, "/start", "", secret)) for one in targets])


@hookimpl
def biso_run_finished(report: Report, config: Settings, secret: SecretFinder) -> None:
    text = "\n".join(_lines(report, config.messages)) + "\n"
    document = _document(report, config.messages)
    end = "" if report.ok else "/fail"
    jobs: list[Job] = []
    jobs += [(one, partial(_mail, one, _subject(report), text, secret)) for one in config.mail]
    jobs += [(one, partial(_post, one, document, secret)) for one in config.webhook]
    jobs += [(one, partial(_ping, one, end, text, secret)) for one in config.healthchecks]
    jobs += [(one, partial(_apprise, one, report, text, secret)) for one in config.apprise]
    _tell([(target, send) for target, send in jobs if target.wants(report)])


# -- what is said: no secrets, no personal data --


def _subject(report: Report) -> str:
    ended = "done" if report.ok else f"FAILED (exit {report.exit_code})"
    return f"biso {report.task}: {ended}"


def _lines(report: Report, messages: bool) -> Iterator[str]:
    yield _subject(report)
    yield ""
    yield f"task: {report.task}"
    yield f"run: {report.run}"
    yield f"environments: {', '.join(report.environments) or 'none'}"
    yield f"exit code: {report.exit_code}"
    yield f"seconds: {report.seconds:.1f}"
    for step in report.steps:
        if step.status == "failed":
            yield f"failed step: {step.name}"
    if report.error is not None:
        yield f"error: {report.error.kind}" + (f": {_plain(report.error.message)}" * messages)
    if report.html is not None:
        yield f"report: {report.html}"


def _document(report: Report, messages: bool) -> dict[str, Any]:
    error = report.error
    return {
        "text": _subject(report),
        "task": report.task,
        "run": report.run,
        "environments": list(report.environments),
        "ok": report.ok,
        "exit_code": report.exit_code,
        "seconds": round(report.seconds, 3),
        "error": None
        if error is None
        else {"kind": error.kind, "message": _plain(error.message) if messages else ""},
        "report": None if report.html is None else str(report.html),
    }


def _plain(text: str) -> str:
    """An error's text, on one line, cut. A database quotes rows in its details, as in `Key
    (name)=(Anna) already exists`, and details come last: from there on nothing is told."""
    text = re.sub(r"(=\s*|contains )\(.*", r"\1(…)", " ".join(text.split()))
    text = re.sub(r"(for type [\w ]+: ).*", r"\1…", text)
    text = re.sub(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+", "…@…", text)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


# -- telling --


def _tell(jobs: Sequence[Job]) -> None:
    """All at once, each within its limit. Raises StepFailed naming those that failed."""
    began = time.monotonic()
    problems = []
    for target, future in [(target, _start(send)) for target, send in jobs]:
        try:
            # A server that sends a byte now and then never runs into a socket's timeout.
            future.result(max(0.0, began + target.timeout - time.monotonic()))
        except TimeoutError:
            problems.append(f"{target.place}: no answer within {target.timeout:g} s")
        except _ERRORS as error:
            problems.append(f"{target.place}: {_why(error)}")
    if problems:
        raise StepFailed(
            f"not told: {'; '.join(problems)}", hint="see [plugins.notify] in biso.toml"
        )


def _start(send: Callable[[], None]) -> Future[None]:
    future: Future[None] = Future()

    def run() -> None:
        try:
            send()
        except _ERRORS as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    # A daemon: a thread that hangs must not keep the program from ending.
    threading.Thread(target=run, daemon=True).start()
    return future


def _mail(mail: Mail, subject: str, text: str, secret: SecretFinder) -> None:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = mail.sender
    message["To"] = ", ".join(mail.to)
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid(domain=mail.sender.rpartition("@")[2].strip("> ") or None)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    password = secret(mail.secret) if mail.user else None
    trust = ssl.create_default_context(cafile=mail.ca or None)
    port = mail.port or PORTS[mail.security]
    with (
        smtplib.SMTP_SSL(mail.host, port, timeout=mail.timeout, context=trust)
        if mail.security == "tls"
        else smtplib.SMTP(mail.host, port, timeout=mail.timeout)
    ) as server:
        if mail.security == "starttls":
            # Raises where the server does not offer it: nothing is sent in the open instead.
            server.starttls(context=trust)
        if password is not None:
            server.login(mail.user, password.reveal())
        refused = server.send_message(message)
    if refused:
        raise smtplib.SMTPRecipientsRefused(refused)


def _post(web: Web, document: dict[str, Any], secret: SecretFinder) -> None:
    body = json.dumps(document).encode()
    _http(web, web.address(secret), body, "application/json", secret)


def _ping(web: Web, end: str, text: str, secret: SecretFinder) -> None:
    body = text.encode("utf-8", "replace")
    _http(web, web.address(secret).rstrip("/") + end, body, "text/plain", secret)


def _service(service: Service, secret: SecretFinder) -> Any:
    """Apprise with that service in it. Raises BisoError where it is not installed, or does not know
    the URL, which is in no text."""
    try:
        import apprise
    except ImportError:
        raise ConfigError(
            f"{service.place}: Apprise is not installed",
            hint="install biso-tasks with its extra: `uv tool install 'biso-tasks[notify]'`, or "
            "`.venv/bin/pip install apprise` in a checkout",
        ) from None
    # What it logs quotes addresses; where nobody asked for it, it would come out on stderr.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    found = apprise.Apprise()
    if not found.add(secret(service.url_secret).reveal()):
        raise ConfigError(
            f"the secret {service.url_secret!r} is no URL that Apprise knows",
            hint="its list of services says how one is written: scheme://...",
        )
    return found


def _apprise(service: Service, report: Report, text: str, secret: SecretFinder) -> None:
    kind = "success" if report.ok else "failure"
    if not _service(service, secret).notify(body=text, title=_subject(report), notify_type=kind):
        raise StepFailed(
            f"the service behind {service.url_secret!r} did not take it",
            hint="try its URL with Apprise's own command",
        )


def _http(web: Web, url: str, body: bytes, kind: str, secret: SecretFinder) -> None:
    headers = {"Content-Type": f"{kind}; charset=utf-8", "User-Agent": "biso-tasks"}
    if web.secret:
        headers["Authorization"] = f"Bearer {secret(web.secret).reveal()}"
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if _near(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        urllib.request.build_opener(*handlers).open(request, timeout=web.timeout).close()
    except urllib.error.HTTPError as error:
        error.close()
        raise


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET without its body, and its token may go to another host."""

    def redirect_request(self, *given: Any) -> None:
        return None


_ERRORS: Final = (
    OSError,
    smtplib.SMTPException,
    http.client.HTTPException,
    ValueError,
    BisoError,
)


def _why(error: BaseException) -> str:
    """In words, without what servers and libraries quote: recipients, whole URLs, passwords."""
    if isinstance(error, BisoError):
        return error.message
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the server answered {error.smtp_code} ({type(error).__name__})"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"the server refused {len(error.recipients)} recipient(s)"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the server does not offer what is asked for (STARTTLS, or logging in)"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {reason.verify_message}"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__


def _require_safe(url: str) -> None:
    """Raises ValueError without the URL in its text."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
        raise ValueError("a URL is https://host/path, without a user in it")
    if parts.scheme == "http" and not _near(parts.hostname):
        raise ValueError("http is for this machine and private addresses; use https")


def _near(host: str) -> bool:
    if host.lower() in ("localhost", "ip6-localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private
