"""Why PHP gave no answer about a config.php: before it, sudo, the shell and the file system had
their say, and each has a remedy of its own."""

from __future__ import annotations

from biso_tasks.config.model import Environment
from biso_tasks.errors import Refused
from biso_tasks.host.command import Result, script
from biso_tasks.host.explain import sudo_refusal
from biso_tasks.host.protocol import CommandFailed, Host
from biso_tasks.host.shell import require_shell
from biso_tasks.instance.app import App

__all__ = ["ANSWER", "closed_config", "closed_webroot", "require_ran"]

ANSWER = "@biso-facts"  # with which read_config.php's answer begins
_STAT = "stat -c '%U:%G, mode %a' -- \"$1\""


def require_ran(app: App, result: Result, *arguments: str) -> None:
    """Return where PHP ran with these arguments, whatever it said. Raises CommandFailed where sudo
    did not let it, or it is not there; Refused for a webroot that cannot be entered; HostError for
    a shell that runs nothing, or prints something of its own."""
    if result.out.lstrip(b"\n").startswith(ANSWER.encode()):
        return
    host, environment = app.host, app.environment
    command = app.php_command(*arguments)
    if refused := sudo_refusal(host.name, host.login, command, result):
        raise refused
    if not result.out and ": cd: " in result.error:
        raise closed_webroot(host, environment)
    if result.code == 127:
        php = environment.php[0]
        raise CommandFailed(
            f"{environment.name}: there is no `{php}` to evaluate config.php with",
            result=result,
            hint="`apt install php-cli` there, or name its program: "
            f'environments.{environment.name}.php = ["/path/to/php"] in biso.toml',
        )
    # Or it was config.php that printed something.
    require_shell(host)


def closed_webroot(host: Host, environment: Environment) -> Refused:
    """The refusal of a webroot that is not there, or not open."""
    who = environment.host_user or host.login
    return Refused(
        f"{environment.name}: {environment.webroot} is not there, or {who} may not enter it",
        hint=f"correct environments.{environment.name}.webroot, or open its folders to {who}",
    )


def closed_config(app: App) -> Refused:
    """The refusal of a config.php that PHP cannot read: absent, or somebody else's."""
    environment, host = app.environment, app.host
    path = f"{app.webroot}/{environment.config}"
    where, key = f"{environment.name}: {path}", f"environments.{environment.name}"
    user = environment.host_user
    found = host.run(script(_STAT, path).as_user(user), ok=None)
    if found.code != 0:
        return Refused(
            f"{where} is not there",
            hint=f"correct {key}.webroot (the folder that holds it), or {key}.config",
        )
    owner = found.text.partition(":")[0]
    who = environment.run_as or host.login
    return Refused(
        f"{where} cannot be read by {who}: it belongs to {found.text}",
        hint=f'set {key}.run_as to who may, such as "{owner}", or let {who} read it',
    )
