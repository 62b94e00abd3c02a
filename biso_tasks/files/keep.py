"""Files that stay the test instance's own, whatever production has."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from biso_tasks.files.access import Access
from biso_tasks.files.listing import FilesError
from biso_tasks.host.command import Command, command
from biso_tasks.host.protocol import CommandFailed

__all__ = ["keep_files"]


def keep_files(access: Access, live: str, stage: str, names: Sequence[str]) -> tuple[str, ...]:
    """Copy `names` (relative to the data dir) from the live tree into the stage, over what came;
    returns those that the live tree has. Copies, never links. Raises FilesError."""
    kept = []
    for name in names:
        at = f"{live}/{name}"
        if access.host.run(access.reader(command("test", "-f", at)), ok=(0, 1)).code != 0:
            continue
        folder = posixpath.dirname(f"{stage}/{name}")
        install = Command(("rsync", "-a", "--", at, f"{folder}/"))
        if not access.root:
            # rsync may be missing here; cp is not on the list of what root may run.
            install = Command(("cp", "-a", "--remove-destination", "--", at, f"{folder}/"))
        try:
            access.host.run(access.writer(command("mkdir", "-p", "--", folder)))
            access.host.run(access.writer(install))
        except CommandFailed as error:
            raise FilesError(
                f"{access.host.name}: {at} could not be kept: {error.result.error}", hint=error.hint
            ) from error
        kept.append(name)
    return tuple(kept)
