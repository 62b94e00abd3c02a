"""Web workers, scheduler and queue runner: what ran before is stopped in the site's order and
started in reverse; what did not run before does not run afterwards.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Literal

from biso_tasks.config.model import Environment
from biso_tasks.errors import StepFailed
from biso_tasks.host.command import Command, Result
from biso_tasks.host.protocol import CommandFailed, Host
from biso_tasks.instance.app import compose, running_containers

__all__ = ["control", "running", "start", "stop"]


def running(
    host: Host, environment: Environment, names: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Which of the configured services (or of `names`) run now, in this order."""
    services = environment.services
    asked = services.stop if names is None else tuple(names)
    if services.kind == "none" or not asked:
        return ()
    if services.kind == "compose":
        up = running_containers(host, environment)
        return tuple(name for name in asked if name in up)
    return tuple(name for name in asked if _is_running(host, environment, name))


def stop(host: Host, environment: Environment, names: Sequence[str]) -> None:
    """Stop `names` in order; raises StepFailed naming the one that would not."""
    for name in names:
        _control(host, environment, "stop", name)


def start(host: Host, environment: Environment, names: Sequence[str]) -> None:
    """Start `names` in reverse order. All are tried; then raises StepFailed naming the first that
    would not start, so that one broken service does not keep the others down."""
    failures = []
    for name in reversed(names):
        try:
            _control(host, environment, "start", name)
        except StepFailed as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _is_running(host: Host, environment: Environment, name: str) -> bool:
    services = environment.services
    if services.kind == "systemd":
        # is-active: 0 active, 3 inactive, 4 no such unit. Asking needs no sudo.
        result = host.run(Command(("systemctl", "is-active", "--", name)), ok=None)
        if result.code == 4 or result.text == "unknown":
            near = _near(host, name)
            raise StepFailed(
                f"{environment.name}: there is no service {name!r} on this host"
                + (f" (did you mean {near!r}?)" if near else ""),
                hint=f"correct environments.{environment.name}.services.stop in biso.toml",
            )
        return result.text in {"active", "activating", "reloading"}
    if not services.status_command:
        return True
    return host.run(_command(environment, _fill(services.status_command, name)), ok=None).code == 0


def _near(host: Host, name: str) -> str:
    """The running service whose name resembles `name` most, "" for none."""
    words = ("systemctl", "list-units", "--type=service", "--plain", "--no-legend", "--no-pager")
    lines = host.run(Command(words), ok=None).text.splitlines()
    known = [line.split()[0].removesuffix(".service") for line in lines if line.strip()]
    return next(iter(difflib.get_close_matches(name, known, n=1)), "")


def control(environment: Environment, verb: Literal["start", "stop"], name: str) -> Command:
    """What starts or stops the service."""
    services = environment.services
    if services.kind == "systemd":
        return _command(environment, ("systemctl", verb, "--", name))
    if services.kind == "compose":
        return _command(environment, compose(environment, verb, name))
    template = services.stop_command if verb == "stop" else services.start_command
    return _command(environment, _fill(template, name))


def _control(
    host: Host, environment: Environment, verb: Literal["start", "stop"], name: str
) -> None:
    command = control(environment, verb, name)
    _checked(
        lambda: host.run(command, timeout=300),
        f"{environment.name}: could not {verb} service {name!r}",
        f"run it there by hand: {' '.join(command.argv)}",
    )


def _checked(run: Callable[[], Result], message: str, hint: str) -> None:
    try:
        run()
    except CommandFailed as error:
        detail = error.result.error.splitlines()[-1:] or [f"exit {error.result.code}"]
        raise StepFailed(f"{message}: {detail[0]}", hint=error.hint or hint) from error


def _command(environment: Environment, words: tuple[str, ...]) -> Command:
    return Command(words).as_root(environment.sudo)


def _fill(words: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(word.replace("{service}", name) for word in words)
