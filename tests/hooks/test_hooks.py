"""One test a hook: what it gives, and its failure policy."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import BisoError, Locked, Refused
from biso_tasks.hooks.manager import PluginError, PluginManager
from biso_tasks.hooks.specs import POLICY, Hooks, arguments, sentence, signature
from biso_tasks.hooks.types import Check, Finding, Report
from biso_tasks.values import Secret

Load = Callable[..., PluginManager]


def implementation(hook: str, body: str) -> str:
    needed = ", ".join(name for name in arguments(hook) if name not in ("config", "secret"))
    return f"@hookimpl\ndef {hook}({needed}):\n    {body}\n"


def given(hook: str) -> dict[str, Any]:
    return {name: None for name in arguments(hook) if name not in ("config", "secret")}


def aborts(hook: str, write: Any, load: Load, good: str) -> list[tuple[str, Any]]:
    """A collecting hook whose failure ends the task, naming the plugin, its file and its line.
    Gives what a good implementation gave."""
    write("a_good", implementation(hook, f"return {good}"))
    write("b_none", implementation(hook, "return None"))
    manager = load()
    found = manager.collect(hook, **given(hook))
    assert [plugin for plugin, _ in found] == ["a_good"]
    path = write("c_bad", implementation(hook, "raise KeyError('x')"))
    with pytest.raises(PluginError) as raised:
        load().collect(hook, **given(hook))
    assert f'plugin "c_bad" ({path}:8): {hook}: KeyError' in raised.value.message
    assert raised.value.exit_code == 1
    write("c_bad", implementation(hook, "raise Locked('held by another run', hint='wait')"))
    with pytest.raises(Locked, match='plugin "c_bad": held by another run') as kept:
        load().collect(hook, **given(hook))
    assert (kept.value.exit_code, kept.value.hint) == (5, "wait")
    write("c_bad", implementation(hook, "return 7"))
    with pytest.raises(PluginError, match="not a int"):
        load().collect(hook, **given(hook))
    if POLICY[hook].many:
        # a generator raises late: still within the isolation
        write("c_bad", implementation(hook, f"yield from {good}; 1 / 0"))
        with pytest.raises(PluginError, match="ZeroDivisionError"):
            load().collect(hook, **given(hook))
        write("c_bad", implementation(hook, f"yield from {good}"))
        assert [plugin for plugin, _ in load().collect(hook, **given(hook))] == ["a_good", "c_bad"]
    return found


def isolated(hook: str, write: Any, load: Load) -> None:
    """An observing hook: each is told by itself, and what failed comes back."""
    write("a", implementation(hook, "print('a was told')"))
    path = write("b", implementation(hook, "raise StepFailed('no network')"))
    write("c", implementation(hook, "1 / 0"))
    write("d", implementation(hook, "print('d was told')"))
    failures = load().observe(hook, **given(hook))
    assert [(one.plugin, one.hook) for one in failures] == [("b", hook), ("c", hook)]
    assert failures[0].message == f'plugin "b" ({path}:8): {hook}: no network'
    write("c", implementation(hook, "raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        load().observe(hook, **given(hook))


def test_biso_actions(write: Any, load: Load) -> None:
    found = aborts("biso_actions", write, load, "[Action('drop', run=lambda context: None)]")
    assert found[0][1][0].name == "drop"


def test_biso_recipes(write: Any, load: Load) -> None:
    aborts("biso_recipes", write, load, "[RecipeText('name = \"x\"', 'x.toml')]")


def test_biso_steps(write: Any, load: Load) -> None:
    aborts("biso_steps", write, load, "[Insert('x', after='swap', run=('true',))]")


def test_biso_databases(write: Any, load: Load) -> None:
    aborts("biso_databases", write, load, "[ExtraDatabase('log.db', 'log database')]")


def test_biso_inventory(write: Any, load: Load) -> None:
    aborts(
        "biso_inventory",
        write,
        load,
        "[PersonalColumn('person', 'name', 'name'), HarmlessFiles('*.xsl', 'layout')]",
    )


def test_biso_checks(write: Any, load: Load) -> None:
    write("a", implementation("biso_checks", "return [Check('', 'mail', True)]"))
    write("b", implementation("biso_checks", "raise RuntimeError('no route')"))
    found = dict(load().collect("biso_checks", site=None))
    assert found["a"] == (Check("", "mail", True),)
    (failed,) = found["b"]
    assert (failed.ok, failed.name) == (False, "plugin b")
    assert "no route" in failed.detail
    assert failed.remedy


def test_biso_verify(write: Any, load: Load) -> None:
    write("a", implementation("biso_verify", "raise StepFailed('cannot look')"))
    write("b", implementation("biso_verify", "return ['text']"))
    write("c", implementation("biso_verify", "return [Finding(True, 'rows')]"))
    found = dict(load().collect("biso_verify", stage=None))
    assert [one.ok for result in found.values() for one in result] == [False, False, True]
    assert "cannot look" in found["a"][0].detail
    assert isinstance(found["a"][0], Finding)


def test_biso_scrub(write: Any, load: Load) -> None:
    # one that fails must never look like one that had nothing to scrub
    aborts("biso_scrub", write, load, "[Change('attachments', 3)]")


def test_biso_neutralize(write: Any, load: Load) -> None:
    aborts("biso_neutralize", write, load, "[Change('mail server')]")


def test_biso_file_policy(write: Any, load: Load) -> None:
    hook = "biso_file_policy"
    write("a", implementation(hook, "return 'skip' if path.endswith('.tmp') else None"))
    write("b", implementation(hook, "return 'copy'"))
    write("c", implementation(hook, "1 / 0"))
    manager = load()
    assert manager.first(hook, path="x.tmp", site=None) == "skip"
    assert manager.first(hook, path="x.pdf", site=None) == "copy"
    write("b", implementation(hook, "return None"))
    with pytest.raises(PluginError, match='plugin "c"'):
        load().first(hook, path="x.pdf", site=None)
    write("c", implementation(hook, "return 'move'"))
    with pytest.raises(PluginError, match="copy or placeholder or skip, not 'move'"):
        load().first(hook, path="x.pdf", site=None)
    write("c", implementation(hook, "return None"))
    assert load().first(hook, path="x.pdf", site=None) is None


def test_biso_secret(write: Any, load: Load, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("BISO_TRACE", "hooks")
    write("a", implementation("biso_secret", "return None"))
    write("b", implementation("biso_secret", "return Secret('hunter2')"))
    manager = load()
    assert manager.first("biso_secret", name="smtp") == Secret("hunter2")
    write("b", implementation("biso_secret", "return 'hunter2'"))
    with pytest.raises(PluginError, match="gives Secret, not a str") as raised:
        load().first("biso_secret", name="smtp")
    out, err = capsys.readouterr()
    assert "hooks: biso_secret ← b gave Secret after" in err
    assert "hunter2" not in out + err + str(raised.value)


def test_biso_confirm(write: Any, load: Load) -> None:
    write("a", implementation("biso_confirm", "return None"))
    write("b", implementation("biso_confirm", "return Veto('not on a Friday')"))
    ((plugin, veto),) = load().collect("biso_confirm", plan=None)
    assert (plugin, veto.reason) == ("b", "not on a Friday")
    for body in ("1 / 0", "raise StepFailed('no calendar')", "return 'no'"):
        write("b", implementation("biso_confirm", body))
        with pytest.raises(Refused, match='plugin "b"') as raised:
            load().collect("biso_confirm", plan=None)
        assert raised.value.exit_code == 3


def test_biso_before_step(write: Any, load: Load) -> None:
    isolated("biso_before_step", write, load)


def test_biso_after_step(write: Any, load: Load) -> None:
    isolated("biso_after_step", write, load)


def test_biso_run_started(write: Any, load: Load) -> None:
    isolated("biso_run_started", write, load)


def test_biso_run_finished(write: Any, load: Load) -> None:
    isolated("biso_run_finished", write, load)
    report = Report("backup", "id", True, 0, 1.5)
    assert load(disable=["b", "c"]).observe("biso_run_finished", report=report) == []


def test_biso_config(write: Any, load: Load) -> None:
    write("one", "1\n@hookimpl\ndef biso_config():\n    raise RuntimeError('no')\n")
    with pytest.raises(PluginError, match=r'plugin "one".*biso_config: RuntimeError: no'):
        load()


def test_every_hook_of_the_contract_has_a_policy_a_sentence_and_a_test() -> None:
    hooks = {name for name in dir(Hooks) if name.startswith("biso_")}
    assert hooks == set(POLICY)
    tests = set(globals())
    for hook in hooks:
        assert f"test_{hook}" in tests
        assert sentence(hook).endswith(".")
        assert signature(hook).startswith(f"{hook}(")
        assert "config" not in signature(hook).removeprefix("biso_config")
        assert "secret" not in signature(hook).removeprefix("biso_secret")
        assert ("secret" in arguments(hook)) == (hook not in ("biso_config", "biso_secret"))


def test_a_hook_is_called_by_its_kind_only(load: Load) -> None:
    with pytest.raises(ValueError, match="is called by collect, not by observe"):
        load().observe("biso_scrub", stage=None)
    with pytest.raises(KeyError):
        load().collect("biso_nothing")


def test_what_a_plugin_prints_goes_to_stderr_and_what_others_print_does_not(
    write: Any, load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.stdout
    write(
        "loud",
        "import threading\ninside = threading.Event()\nleave = threading.Event()\n"
        + implementation("biso_run_started", "print('noise'); inside.set(); leave.wait(5)"),
    )
    manager = load()
    module = manager._calls["biso_run_started"][0].function.__globals__
    threads = [
        threading.Thread(target=manager.observe, args=["biso_run_started"], kwargs={"plan": None})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert module["inside"].wait(5)
    print('{"ok": true}')  # another thread, meanwhile
    module["leave"].set()
    for thread in threads:
        thread.join()
    out, err = capsys.readouterr()
    assert out == '{"ok": true}\n'
    assert err == "noise\n" * 3
    assert sys.stdout is before  # overlapping redirect_stdout calls would leave stderr here


def test_the_plain_redirection_would_stay_after_overlapping_calls(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from contextlib import redirect_stdout

    before = sys.stdout
    first, second = redirect_stdout(sys.stderr), redirect_stdout(sys.stderr)
    try:
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert sys.stdout is sys.stderr  # the trap that Diversion is for
    finally:
        sys.stdout = before


def test_the_trace_names_calls_and_nothing_that_was_passed(
    write: Any, load: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BISO_TRACE", "sql,hooks")
    write("one", implementation("biso_file_policy", "return 'copy'"))
    write("two", implementation("biso_run_started", "raise ValueError('Müller')"))
    columns = "PersonalColumn('person', 'Müller', 'name')"
    given = f"return [{columns}, {columns}, HarmlessFiles('Müller/**', 'none')]"
    write("three", implementation("biso_inventory", given))
    write("four", implementation("biso_inventory", "return []"))
    manager = load()
    manager.first("biso_file_policy", path="Müller.pdf", site=None)
    manager.observe("biso_run_started", plan=None)
    manager.collect("biso_inventory", site=None)
    err = capsys.readouterr().err
    assert re.search(r"hooks: biso_file_policy ← one gave str after \d+\.\d ms\n", err)
    assert "hooks: biso_run_started ← two raised ValueError" in err
    assert "biso_inventory ← three gave 2 PersonalColumn, 1 HarmlessFiles after" in err
    assert "biso_inventory ← four gave nothing after" in err
    assert "Müller" not in err


def test_the_reference_in_docs_is_what_the_specifications_say() -> None:
    from biso_tasks.hooks.reference import markdown, page

    text = (Path(__file__).parents[2] / "docs/plugins.md").read_text()
    assert page(text) == text, "run: python -m biso_tasks.hooks.reference docs/plugins.md"
    for hook, policy in POLICY.items():
        for told in (text, markdown()):
            assert f"### {hook}\n" in told
            assert sentence(hook) in told
            assert f"Kind: {policy.kind}. When it raises: {policy.failure}." in told
    assert issubclass(PluginError, BisoError)


def test_the_reference_is_written_anew_around_the_examples() -> None:
    from biso_tasks.hooks.reference import page

    text = (Path(__file__).parents[2] / "docs/plugins.md").read_text()
    worse = text.replace(sentence("biso_scrub"), "Nonsense.").replace("stage: Stage", "stage: Any")
    worse = worse.replace("### biso_actions\n", "### biso_deeds\n")
    again = page(worse)
    assert again.count("### biso_actions\n") == 1, "a hook that the page lacks is put there"
    assert "biso_deeds" not in again, "one that does not exist is taken out"
    assert sentence("biso_scrub") in again
    assert "UPDATE bf_termin SET ort" in again, "examples are kept"
