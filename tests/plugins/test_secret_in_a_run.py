"""A whole run in a process of its own: a secret is used, and is to be found nowhere afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

SITE = """
[site]
name = "secrets"
plugins = ["{root}/plugins", "site"]
[environments.test]
role = "test"
webroot = "/nowhere/webroot"
[recipes.night]
help = "uses a secret"
[[recipes.night.step]]
name = "ask"
on = "test"
uses = "ask"
[[plugins.notify.mail]]
to = ["it@example.invalid"]
sender = "biso@example.invalid"
host = "127.0.0.1"
port = {mail}
security = "none"
user = "biso"
secret = "smtp"
[[plugins.notify.webhook]]
url_secret = "hook"
secret = "chat"
"""

VAULT = """
from biso_tasks.api import Action, Secret, StepFailed, hookimpl

@hookimpl
def biso_secret(name):
    print("asked for", name)
    {first}
    return Secret({{"smtp": "hunter2-smtp", "chat": "hunter2-chat", "hook": "{url}/hunter2"}}[name])

@hookimpl
def biso_actions(site, secret):
    def run(context):
        context.note(f"the token has {{len(secret('chat').reveal())}} letters")
        {last}
    return [Action("ask", run)]
"""


@pytest.mark.real
@pytest.mark.parametrize(
    ("first", "last", "code", "said"),
    [
        ("", "return None", 0, ""),
        ("", "raise StepFailed('no answer')", 1, "no answer"),
        ("raise ValueError('bad store: hunter2-smtp')", "return None", 1, 'plugin "vault"'),
    ],
)
def test_a_secret_is_in_no_journal_no_report_and_no_line_of_the_screen(
    tmp_path: Path, mail_sink: Any, http_sink: Any, first: str, last: str, code: int, said: str
) -> None:
    (tmp_path / "site").mkdir()
    vault = VAULT.format(url=http_sink.url, first=first, last=last)
    (tmp_path / "site/vault.py").write_text(vault)
    (tmp_path / "biso.toml").write_text(SITE.format(root=ROOT, mail=mail_sink.port))
    mail_sink.login = ("biso", "hunter2-smtp")
    env = {**os.environ, "BISO_TRACE": "hooks", "HOME": str(tmp_path / "home")}
    env.pop("BISO_CONFIG", None)
    done = subprocess.run(
        [sys.executable, "-m", "biso_tasks.cli.main", "night", "--json", "--yes", "--verbose"],
        cwd=tmp_path, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    assert said in json.dumps(document["error"], ensure_ascii=False).replace('\\"', '"')
    if first:
        assert (mail_sink.mails, http_sink.asked) == ([], [])
    else:
        assert mail_sink.logins == [mail_sink.login]
        assert len(mail_sink.mails) == 1
        (asked,) = http_sink.asked
        assert (asked.path, asked.headers["Authorization"]) == ("/hunter2", "Bearer hunter2-chat")
        assert json.loads(asked.body)["ok"] == (code == 0)
    files = [one for one in (tmp_path / ".biso").rglob("*") if one.is_file()]
    assert {"journal.jsonl", "report.html", "report.md"} <= {one.name for one in files}
    written = "".join(one.read_text() for one in files)
    if not first:
        assert "the token has 12 letters" in written
    bodies = b"".join([*mail_sink.mails, *(one.body for one in http_sink.asked)]).decode()
    assert "hunter2" not in done.stdout + done.stderr + written + bodies
