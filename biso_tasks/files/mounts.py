"""Where filesystems begin, as the host's kernel tells it: df and st_dev do not see a bind mount."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from biso_tasks.files.access import Access
from biso_tasks.host.answer import answered
from biso_tasks.host.command import command

__all__ = ["Mounts", "read_mounts"]


@dataclass(frozen=True, slots=True)
class Mounts:
    """Mount points of a host."""

    points: frozenset[str]

    def is_point(self, path: str) -> bool:
        """Whether a filesystem is mounted exactly here. `path` is absolute and resolved."""
        return path in self.points

    def of(self, path: str) -> str:
        """The mount point that `path` lies on."""
        pure = PurePosixPath(path)
        for folder in (pure, *pure.parents):
            if str(folder) in self.points:
                return str(folder)
        return "/"

    def below(self, path: str) -> tuple[str, ...]:
        """Mount points strictly inside `path`."""
        inside = path.rstrip("/") + "/"
        return tuple(sorted(point for point in self.points if point.startswith(inside)))


def read_mounts(access: Access) -> Mounts:
    """The mounts that the reading user's processes see."""
    text = access.host.run(access.reader(command("cat", "/proc/self/mountinfo"))).out
    # Not splitlines: the kernel escapes newlines in a name, and nothing else that this splits at.
    lines = text.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
    with answered(access.host.name, "its mounts"):
        points = [line.split(" ")[4] for line in lines]
    return Mounts(frozenset(re.sub(r"\\([0-7]{3})", _octal, point) for point in points))


def _octal(found: re.Match[str]) -> str:
    return chr(int(found[1], 8))
