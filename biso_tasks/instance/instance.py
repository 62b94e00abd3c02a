"""One installation of BISO as it is found: configuration, host, config.php, places."""

from __future__ import annotations

from dataclasses import dataclass

from biso_tasks.config.model import Environment
from biso_tasks.host.command import Command
from biso_tasks.host.protocol import Host
from biso_tasks.instance.app import App
from biso_tasks.instance.config_php import Facts, read_facts
from biso_tasks.instance.layout import Layout, read_layout
from biso_tasks.instance.mounts import Mount, read_mounts, real_path, to_host, to_inside
from biso_tasks.instance.state import State

__all__ = ["Instance", "read_instance"]


@dataclass(frozen=True, slots=True)
class Instance:
    """What every action works on. `app` is the live one."""

    environment: Environment
    host: Host
    facts: Facts
    layout: Layout
    app: App
    mounts: tuple[Mount, ...]

    @property
    def name(self) -> str:
        return self.environment.name

    @property
    def state(self) -> State:
        return State(self.host, self.environment, self.layout)

    def in_maintenance(self) -> bool:
        """Whether the flag file is in the live data dir."""
        return self.flagged(self.layout.datadir)

    def flagged(self, datadir: str) -> bool:
        """Whether maintenance is on in the data dir at this path of the host."""
        from_app = Command(("test", "-e", f"{datadir}/maintenance.on"))
        return self.host.run(from_app.as_user(self.environment.host_user), ok=(0, 1)).code == 0


def read_instance(host: Host, environment: Environment) -> Instance:
    """Look at an environment; nothing is changed. Raises BisoError with the remedy."""
    mounts = read_mounts(host, environment)
    webroot = real_path(host, environment.webroot) if mounts else environment.webroot
    app = App(host, environment, environment.webroot, to_inside(webroot, mounts, environment))
    facts = read_facts(app, environment)
    datadir = environment.datadir or to_host(facts.datadir, mounts, environment)
    layout = read_layout(host, environment, datadir)
    return Instance(environment, host, facts, layout, app, mounts)
