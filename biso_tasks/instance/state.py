"""What a host remembers of its environment: small JSON documents in the stage directory, written
whole or not at all, as the application's user. Colleagues on other machines read the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from biso_tasks.config.model import Environment
from biso_tasks.errors import NeedsPerson
from biso_tasks.host.command import Command, script
from biso_tasks.host.protocol import Host
from biso_tasks.instance.layout import Layout

__all__ = ["State"]

# The rename makes it whole or not there; both syncs make it survive a power cut.
_WRITE = r"""
cd -- "$1"; umask 077; file=$2
trap 'rm -f -- ".$file.new"' EXIT  # a full disk takes half of it
cat > ".$2.new"
sync -- ".$2.new"; mv -f -- ".$2.new" "$2"; sync -- .
"""
_READ = r"""
cd -- "$1" 2>/dev/null || exit 0
[ -e "$2" ] || exit 0
[ -f "$2" ] && [ ! -L "$2" ] && [ -O "$2" ] || exit 65
cat -- "$2"
"""


class State:
    """Documents by name (`intent`, `instance`) in the stage directory of one environment."""

    __slots__ = ("_directory", "_environment", "_host")

    def __init__(self, host: Host, environment: Environment, layout: Layout) -> None:
        self._host = host
        self._environment = environment
        self._directory = layout.stage_dir

    def prepare(self) -> None:
        """Make the stage directory: 0700, owned by the application's user. Idempotent."""
        owner = self._environment.host_user or self._host.login
        make = Command(("install", "-d", "-m", "0700", "-o", owner, "--", self._directory))
        if not self._environment.sudo:
            make = Command(("install", "-d", "-m", "0700", "--", self._directory)).as_user(
                self._environment.host_user
            )
        self._host.run(make.as_root() if self._environment.sudo else make)

    def exists(self) -> bool:
        test = Command(("test", "-d", self._directory)).as_user(self._environment.host_user)
        return self._host.run(test, ok=(0, 1)).code == 0

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n"
        write = script(_WRITE, self._directory, f"{name}.json").as_user(self._environment.host_user)
        self._host.run(write, stdin=text.encode())

    def read(self, name: str) -> dict[str, Any] | None:
        """The document, or None. Raises NeedsPerson where it is not one that this tool wrote."""
        read = script(_READ, self._directory, f"{name}.json").as_user(self._environment.host_user)
        result = self._host.run(read, ok=(0, 65))
        if result.code == 0 and not result.out:
            return None
        try:
            document = json.loads(result.out)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise NeedsPerson(
                f"{self._environment.name}: {self._directory}/{name}.json is not readable as a "
                "record of this tool",
                hint="look at it on the host; where it is damaged, see docs/recover.md",
            )
        return document

    def remove(self, name: str) -> None:
        remove = script('cd -- "$1" 2>/dev/null || exit 0; rm -f -- "$2"; sync -- .',
                        self._directory, f"{name}.json")  # fmt: skip
        self._host.run(remove.as_user(self._environment.host_user))

    def sweep(self) -> None:
        """Remove what a killed run left: half a document, a canary. The caller holds the lock."""
        remove = 'cd -- "$1" 2>/dev/null || exit 0; rm -f -- .*.json.new canary-*.txt'
        sweep = script(remove, self._directory)
        self._host.run(sweep.as_user(self._environment.host_user))

    def tidy(self) -> None:
        """Remove the stage directory where nothing is kept in it any more."""
        own = 'cd -- "$1" 2>/dev/null || exit 0; [ "$(ls -A)" != .htaccess ] || rm -f .htaccess'
        self._host.run(script(own, self._directory).as_user(self._environment.host_user), ok=None)
        # `rm -d` takes empty directories only, and rm is on the list of what root may run.
        tidy = Command(("rm", "-d", "--", self._directory))
        if self._environment.sudo:
            tidy = tidy.as_root()
        else:
            tidy = tidy.as_user(self._environment.host_user)
        self._host.run(tidy, ok=None)
