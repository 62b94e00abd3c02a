"""The migrations that the code in a webroot brings along, where it has a folder of them."""

from __future__ import annotations

import re

from biso_tasks.host.command import script
from biso_tasks.instance.app import App
from biso_tasks.instance.migration_list import is_name

__all__ = ["migration_files"]

# What comes with a library is not BISO's.
_FIND = r"""
cd -- "$1"
find . -maxdepth 6 \( -name vendor -o -name node_modules -o -name '.?*' \) -prune -o \
  -type f -ipath '*migration*/*' -printf '%f\0' 2>/dev/null | head -c 1000000 || true
"""


def migration_files(app: App) -> frozenset[str]:
    """The names of the files in folders that are called migrations, as far as they are names of
    migrations; empty where there are none."""
    look = script(_FIND, app.webroot).as_user(app.environment.host_user)
    names = app.host.run(look, timeout=300).out.decode("utf-8", "surrogateescape").split("\0")
    return frozenset(one for one in names if is_name(one) and re.search(r"\d", one))
