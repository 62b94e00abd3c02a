from __future__ import annotations

import email
import email.policy
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.errors import ConfigError
from biso_tasks.hooks.manager import ObserverFailure, PluginManager
from biso_tasks.hooks.types import ErrorReport, Report, StepReport

Load = Callable[..., PluginManager]
Keep = Callable[..., Path]

GOOD = Report(
    task="refresh-test",
    run="20250101_120000-ab",
    ok=True,
    exit_code=0,
    seconds=12.3456,
    environments=("prod", "test"),
    html=Path("/srv/biso/.biso/runs/x/report.html"),
)
BAD = replace(
    GOOD,
    ok=False,
    exit_code=4,
    steps=(StepReport("stage-data", "test", "ok", 1.0), StepReport("prove", "test", "failed", 2.0)),
    error=ErrorReport("proof", "personal data\nof production survived", "look at the report"),
)


def mail(sink: Any, **more: Any) -> dict[str, Any]:
    return {
        "to": ["it@example.invalid", "büro@example.invalid"][: more.pop("count", 1)],
        "sender": "biso@example.invalid",
        "host": "127.0.0.1",
        "port": sink.port,
        "security": "none",
        **more,
    }


def finished(manager: PluginManager, report: Report) -> list[ObserverFailure]:
    return manager.observe("biso_run_finished", report=report)


def received(sink: Any) -> list[Any]:
    return [email.message_from_bytes(one, policy=email.policy.default) for one in sink.mails]


def test_nothing_is_told_where_nothing_is_configured(load: Load) -> None:
    manager = load()
    assert "notify" in manager.implementers("biso_run_finished")
    assert finished(manager, BAD) == []
    assert manager.observe("biso_run_started", plan=SimpleNamespace(name="refresh-test")) == []


@pytest.mark.real
def test_a_mail_says_what_ran_how_it_ended_and_where_the_report_is(
    load: Load, mail_sink: Any
) -> None:
    assert finished(load(notify={"mail": [mail(mail_sink)]}), BAD) == []
    (message,) = received(mail_sink)
    assert message["Subject"] == "biso refresh-test: FAILED (exit 4)"
    assert message["To"] == "it@example.invalid"
    assert message["Message-ID"].endswith("@example.invalid>")
    assert message.get_content().splitlines() == [
        "biso refresh-test: FAILED (exit 4)",
        "",
        "task: refresh-test",
        "run: 20250101_120000-ab",
        "environments: prod, test",
        "exit code: 4",
        "seconds: 12.3",
        "failed step: prove",
        "error: proof: personal data of production survived",
        "report: /srv/biso/.biso/runs/x/report.html",
    ]


@pytest.mark.real
@pytest.mark.parametrize(
    ("on", "told"),
    [(["failure"], [BAD]), (["success"], [GOOD]), (["failure", "success"], [GOOD, BAD])],
)
def test_a_target_is_told_of_the_outcomes_and_tasks_that_it_names(
    load: Load, http_sink: Any, on: list[str], told: list[Report]
) -> None:
    hook = {"url": f"{http_sink.url}/hook", "on": on, "tasks": ["refresh-test"]}
    manager = load(notify={"webhook": [hook]})
    for report in (GOOD, BAD, replace(BAD, task="backup")):
        assert finished(manager, report) == []
    assert [json.loads(one.body)["ok"] for one in http_sink.asked] == [one.ok for one in told]


@pytest.mark.real
def test_a_webhook_gets_one_json_document(
    load: Load, http_sink: Any, monkeypatch: pytest.MonkeyPatch, keep_secret: Keep
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # must not be asked for what is near
    keep_secret("chat", "token-1")
    hook = {"url": f"{http_sink.url}/hook", "secret": "chat"}
    assert finished(load(notify={"webhook": [hook]}), BAD) == []
    (asked,) = http_sink.asked
    assert (asked.method, asked.path) == ("POST", "/hook")
    assert asked.headers["Authorization"] == "Bearer token-1"
    assert json.loads(asked.body) == {
        "text": "biso refresh-test: FAILED (exit 4)",
        "task": "refresh-test",
        "run": "20250101_120000-ab",
        "environments": ["prod", "test"],
        "ok": False,
        "exit_code": 4,
        "seconds": 12.346,
        "error": {"kind": "proof", "message": "personal data of production survived"},
        "report": "/srv/biso/.biso/runs/x/report.html",
    }


@pytest.mark.real
def test_healthchecks_are_pinged_at_the_start_and_by_the_end_that_it_took(
    load: Load, http_sink: Any, keep_secret: Keep
) -> None:
    keep_secret("hc-url", f"{http_sink.url}/uuid/")
    section = {"healthchecks": [{"url_secret": "hc-url", "tasks": ["refresh-test"]}]}
    manager = load(notify=section)
    for name in ("refresh-test", "backup"):
        assert manager.observe("biso_run_started", plan=SimpleNamespace(name=name)) == []
    assert finished(manager, GOOD) == []
    assert finished(manager, BAD) == []
    assert [one.path for one in http_sink.asked] == ["/uuid/start", "/uuid", "/uuid/fail"]


@pytest.mark.real
@pytest.mark.parametrize("kind", ["mail", "webhook", "healthchecks"])
def test_a_server_that_hangs_costs_its_limit_and_no_more(
    load: Load, hanging: int, http_sink: Any, kind: str
) -> None:
    url = f"http://127.0.0.1:{hanging}/secret-path"
    target: dict[str, Any] = {"timeout": 0.5}
    target |= mail(SimpleNamespace(port=hanging)) if kind == "mail" else {"url": url}
    good = {"url": http_sink.url}
    both = [good, target] if kind == "webhook" else [good]
    section = {"webhook": both} if kind == "webhook" else {"webhook": both, kind: [target] * 3}
    began = time.monotonic()
    failures = finished(load(notify=section), BAD)
    took = time.monotonic() - began
    assert len(failures) == 1
    assert "no answer within 0.5 s" in failures[0].message
    assert "secret-path" not in failures[0].message
    assert 0.4 < took < 1.5
    assert len(http_sink.asked) == 1  # the others are told all the same


@pytest.mark.real
def test_every_target_that_failed_is_named_without_its_secret(
    load: Load, http_sink: Any, mail_sink: Any, keep_secret: Keep
) -> None:
    keep_secret("smtp", "p4ssw0rd")
    http_sink.code = 500
    mail_sink.login = ("biso", "another")
    section = {
        "mail": [
            mail(mail_sink, user="biso", secret="smtp"),
            mail(SimpleNamespace(port=1)),
            mail(mail_sink, user="biso", secret="nowhere"),
        ],
        "webhook": [{"url": f"{http_sink.url}/T0K3N"}],
    }
    (failure,) = finished(load(notify=section), GOOD)
    assert mail_sink.logins == [("biso", "p4ssw0rd")]
    text = failure.message
    assert "the server answered 535" in text
    assert "mail by 127.0.0.1:1: Connection refused" in text
    assert "the secret 'nowhere' is not there" in text
    assert "127.0.0.1: it answered 500" in text
    assert not [word for word in ("p4ssw0rd", "T0K3N", "not you") if word in text]


@pytest.mark.real
def test_a_recipient_that_is_refused_is_a_failure_although_others_got_the_mail(
    load: Load, mail_sink: Any
) -> None:
    mail_sink.refuse = ("gone@example.invalid",)
    target = mail(mail_sink) | {"to": ["it@example.invalid", "gone@example.invalid"]}
    (failure,) = finished(load(notify={"mail": [target]}), GOOD)
    assert "refused 1 recipient" in failure.message
    assert "gone" not in failure.message
    assert mail_sink.recipients == ["it@example.invalid"]


@pytest.mark.real
def test_a_redirect_is_not_followed(load: Load, http_sink: Any) -> None:
    http_sink.code, http_sink.location = 302, f"{http_sink.url}/elsewhere"
    (failure,) = finished(load(notify={"webhook": [{"url": http_sink.url}]}), GOOD)
    assert "it answered 302" in failure.message
    assert [one.path for one in http_sink.asked] == ["/"]


@pytest.mark.real
@pytest.mark.parametrize("kind", ["tls", "starttls"])
def test_a_mail_travels_encrypted_to_a_server_whose_certificate_is_trusted(
    load: Load, request: pytest.FixtureRequest, keep_secret: Keep, kind: str
) -> None:
    keep_secret("smtp", "pa$$")
    sink = request.getfixturevalue(f"{kind}_mail_sink")
    sink.login = ("biso", "pa$$")
    target = mail(sink, security=kind, user="biso", secret="smtp")
    (failure,) = finished(load(notify={"mail": [target]}), GOOD)
    assert "its certificate is not trusted" in failure.message
    assert sink.logins == []
    assert finished(load(notify={"mail": [target | {"ca": sink.ca}]}), GOOD) == []
    assert sink.secure == [True]
    assert sink.logins == [("biso", "pa$$")]


@pytest.mark.real
def test_a_server_without_starttls_gets_neither_password_nor_mail(
    load: Load, mail_sink: Any, keep_secret: Keep
) -> None:
    keep_secret("smtp", "x")
    target = mail(mail_sink, security="starttls", user="biso", secret="smtp")
    (failure,) = finished(load(notify={"mail": [target]}), GOOD)
    assert "does not offer" in failure.message
    assert (mail_sink.mails, mail_sink.logins) == ([], [])


@pytest.mark.real
@pytest.mark.parametrize(
    "message",
    [
        'duplicate key\nvalue "k" (Key (name)=(Hans (Sen.) Muster, hans@muster.ch) already exists)',
        'null value in "ort" (Failing row contains (17, Hans, Muster, null).)',
        'invalid input syntax for type double precision: "Hans Muster"',
        "no mail to hans.muster@example.ch",
    ],
)
def test_what_a_database_quotes_in_an_error_is_not_told(
    load: Load, http_sink: Any, message: str
) -> None:
    report = replace(BAD, error=ErrorReport("failed", message))
    assert finished(load(notify={"webhook": [{"url": http_sink.url}]}), report) == []
    told = json.loads(http_sink.asked[0].body)["error"]["message"]
    assert told.split()[0] == message.split()[0]
    assert "…" in told
    assert not [word for word in ("Hans", "hans", "Muster", "muster", "\n") if word in told]


@pytest.mark.real
def test_a_long_error_is_cut_or_left_to_the_report(load: Load, http_sink: Any) -> None:
    report = replace(BAD, error=ErrorReport("failed", "x" * 2000))
    hook = {"url": http_sink.url}
    assert finished(load(notify={"webhook": [hook]}), report) == []
    assert finished(load(notify={"webhook": [hook], "messages": False}), report) == []
    told, kept = [json.loads(one.body)["error"]["message"] for one in http_sink.asked]
    assert (len(told), kept) == (500, "")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"webhook": [{"url": "http://chat.example.ch/geheim"}]}, "use https"),
        ({"webhook": [{"url": "ftp://chat.example.ch/geheim"}]}, "a URL is https"),
        ({"webhook": [{"url": "https://u:geheim@chat.example.ch/"}]}, "without a user"),
        ({"webhook": [{}]}, "give `url`"),
        ({"healthchecks": [{"url": "https://x.ch", "url_secret": "x"}]}, "give `url`"),
        ({"webhook": [{"url": "https://x.ch", "timeout": 0}]}, "timeout is between"),
        ({"mail": [{"to": [], "sender": "a@b.ch"}]}, "at least one address"),
        ({"mail": [{"to": ["a@b.ch"]}]}, "mail[0].sender: is missing"),
        ({"mail": [{"to": ["a@b.ch"], "sender": "a@b.ch", "user": "x"}]}, "belong together"),
        (
            {
                "mail": [
                    {
                        "to": ["a@b.ch"],
                        "sender": "a@b.ch",
                        "host": "mail.example.ch",
                        "security": "none",
                        "user": "x",
                        "secret": "y",
                    }
                ]
            },
            "in the open",
        ),
        ({"webhook": [{"url": "https://x.ch", "on": ["never"]}]}, "expected 'failure'"),
    ],
)
def test_a_section_that_cannot_be_is_refused_without_showing_the_url(
    load: Load, section: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(notify=section)
    assert message in raised.value.message
    if "use https" in message or "a URL" in message or "without a user" in message:
        assert "geheim" not in raised.value.message


def test_http_is_taken_for_this_machine_and_private_addresses(load: Load) -> None:
    urls = ["http://localhost:1/", "http://[::1]/x", "http://10.1.2.3/x", "https://x.ch/y"]
    manager = load(notify={"webhook": [{"url": url} for url in urls]})
    assert [one.url for one in manager.config("notify").webhook] == urls


def test_doctor_learns_which_secrets_are_there(
    load: Load, monkeypatch: pytest.MonkeyPatch, keep_secret: Keep, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "systemd"))
    monkeypatch.setenv("BISO_SECRET_NONE", "in the environment, where a listing shows it")
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/given").write_text("a\n")
    keep_secret("mine", "b\n")
    keep_secret("open", "b\n", 0o644)
    names = ["given", "mine", "open", "none"]
    hooks = [{"url": "https://x.ch", "secret": name} for name in names]
    manager = load(notify={"webhook": hooks})
    checks = dict(manager.collect("biso_checks", site=None))["notify"]
    assert [one.ok for one in checks] == [True, True, False, False]
    assert "others than its owner may read it" in checks[2].detail
    assert checks[2].remedy.startswith("chmod 600")
    assert "'none' is not there" in checks[3].detail


VAULT = """
from biso_tasks.api import Secret, hookimpl

KNOWN = {"smtp": "hunter2-smtp", "chat": "hunter2-chat", "hc": "%s/hunter2-uuid"}

@hookimpl
def biso_secret(name):
    return Secret(KNOWN[name]) if name in KNOWN else None
"""


@pytest.fixture
def vault(tmp_path: Path, http_sink: Any) -> Callable[..., Path]:
    """A site's folder with a plugin that knows secrets."""

    def write(text: str = "") -> Path:
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        (folder / "vault.py").write_text(text or VAULT % http_sink.url)
        return folder

    return write


def everywhere(mail_sink: Any, http_sink: Any, **more: Any) -> dict[str, Any]:
    return {
        "mail": [mail(mail_sink, user="biso", secret="smtp", **more)],
        "webhook": [{"url": f"{http_sink.url}/hook", "secret": "chat", **more}],
        "healthchecks": [{"url_secret": "hc", **more}],
    }


@pytest.mark.real
def test_a_plugin_of_the_site_knows_the_secrets_before_any_file_does(
    load: Load,
    vault: Callable[..., Path],
    keep_secret: Keep,
    mail_sink: Any,
    http_sink: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BISO_TRACE", "hooks")
    mail_sink.login = ("biso", "hunter2-smtp")
    keep_secret("smtp", "another")
    manager = load(vault(), notify=everywhere(mail_sink, http_sink))
    assert finished(manager, GOOD) == []
    assert mail_sink.logins == [mail_sink.login]
    asked = {one.path: one.headers.get("Authorization") for one in http_sink.asked}
    assert asked == {"/hook": "Bearer hunter2-chat", "/hunter2-uuid": None}
    mail_sink.login, http_sink.code = ("biso", "changed"), 500
    (failure,) = finished(manager, GOOD)
    assert failure.message.count(": ") > 3
    out, err = capfd.readouterr()
    assert "biso_secret ← vault gave Secret" in err
    assert "hunter2" not in out + err + failure.message


@pytest.mark.real
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise StepFailed('the store is locked')", "the store is locked"),
        ("raise ValueError('not base64: hunter2')", "ValueError, whose text is not shown"),
        ("return 'hunter2'", "biso_secret gives Secret, not a str"),
    ],
)
def test_a_plugin_that_cannot_say_a_secret_is_named_at_once_and_nothing_is_sent(
    load: Load,
    vault: Callable[..., Path],
    mail_sink: Any,
    http_sink: Any,
    capfd: pytest.CaptureFixture[str],
    body: str,
    told: str,
) -> None:
    folder = vault(
        "from biso_tasks.api import *\n\n@hookimpl\ndef biso_secret(name):\n    " + body + "\n"
    )
    manager = load(folder, notify=everywhere(mail_sink, http_sink, timeout=30))
    began = time.monotonic()
    (failure,) = finished(manager, GOOD)
    assert time.monotonic() - began < 5  # an error of that kind does not die in its thread
    assert (failure.plugin, failure.message.count('plugin "vault"')) == ("notify", 3)
    assert told in failure.message
    assert (mail_sink.logins, mail_sink.mails, http_sink.asked) == ([], [], [])
    checks = dict(manager.collect("biso_checks", site=None))["notify"]
    assert [one.ok for one in checks] == [False] * 3
    assert all('plugin "vault"' in one.detail for one in checks)
    out, err = capfd.readouterr()
    assert "hunter2" not in out + err + failure.message + repr(checks)


# -- Apprise --

APPRISE = {"apprise": [{"url_secret": "matrix", "timeout": 20}]}


@pytest.mark.real
def test_a_service_of_apprise_is_told_how_it_ended(
    load: Load, http_sink: Any, keep_secret: Keep
) -> None:
    keep_secret("matrix", f"json://127.0.0.1:{http_sink.port}/room")
    manager = load(notify=APPRISE)
    assert [finished(manager, one) for one in (GOOD, BAD)] == [[], []]
    told = [json.loads(one.body) for one in http_sink.asked]
    assert [(one["title"], one["type"]) for one in told] == [
        ("biso refresh-test: done", "success"),
        ("biso refresh-test: FAILED (exit 4)", "failure"),
    ]
    assert "failed step: prove" in told[1]["message"]
    assert {one.path for one in http_sink.asked} == {"/room"}


@pytest.mark.real
def test_a_service_that_does_not_take_it_is_named_without_its_url(
    load: Load, http_sink: Any, keep_secret: Keep, capfd: pytest.CaptureFixture[str]
) -> None:
    http_sink.code = 403
    keep_secret("matrix", f"json://127.0.0.1:{http_sink.port}/geheim")
    (failure,) = finished(load(notify=APPRISE), BAD)
    assert "apprise matrix: the service behind 'matrix' did not take it" in failure.message
    said = capfd.readouterr()
    assert "geheim" not in failure.message + said.out + said.err
    assert said.err == ""


def test_doctor_learns_whether_apprise_can_be_used(
    load: Load, keep_secret: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_secret("matrix", "gibt-es-nicht://geheim")
    manager = load(notify=APPRISE)

    def bad() -> list[Any]:
        checks = manager.collect("biso_checks", site=SimpleNamespace())
        return [one for _, found in checks for one in found if not one.ok]

    (unknown,) = bad()
    assert "no URL that Apprise knows" in unknown.detail and "geheim" not in unknown.detail
    monkeypatch.setitem(sys.modules, "apprise", None)
    (missing,) = bad()
    assert "not installed" in missing.detail and "biso-tasks[notify]" in missing.remedy
