"""The tasks of this site, for `invoke`."""

from biso_tasks.cli.tasks import namespace

ns = namespace()
