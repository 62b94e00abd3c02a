"""A stage holds data that is not anonymised yet: no web server may hand it out.

The stage directory is 0700, but a web server often runs as the very user that owns it, so only its
place protects it. Document roots are read from the server's configuration, and where the site has a
`url`, a canary is put into the directory and asked for, before anything else is.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Iterator
from urllib.parse import quote, urlsplit, urlunsplit

from biso_tasks.errors import Refused
from biso_tasks.host.command import script
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import inside
from biso_tasks.instance.serving import ask

__all__ = ["addresses", "require_unserved", "require_unserved_by_config"]

_ROOTS = r"""
for folder in /etc/apache2/sites-enabled /etc/apache2/conf-enabled /etc/httpd/conf.d \
              /etc/nginx/sites-enabled /etc/nginx/conf.d; do
  [ -d "$folder" ] || continue
  cat -- "$folder"/* 2>/dev/null || true
done | sed -nE 's/^[[:space:]]*(DocumentRoot|root)[[:space:]]+"?([^";]+)"?;?[[:space:]]*$/\2/p'
"""
# .htaccess for a server that reads it; the canary is readable by all, as a careless upload is.
_PLANT = r"""
cd -- "$1"; umask 022
printf 'Require all denied\n' > .htaccess
printf '%s\n' "$3" > "$2"
"""
_REMOVE = 'cd -- "$1" && rm -f -- "$2"'


def require_unserved_by_config(instance: Instance) -> None:
    """Raises Refused where the stage directory lies in a document root that the web server's
    configuration names."""
    stage_dir = instance.layout.stage_dir
    for root in instance.host.run(script(_ROOTS), ok=None).text.splitlines():
        folder = posixpath.normpath(root.strip())
        if folder.startswith("/") and (stage_dir == folder or inside(stage_dir, folder)):
            raise _served(instance, f"the web server's configuration serves {folder}")


def require_unserved(instance: Instance) -> None:
    """Raises Refused where a file put into the stage directory can be had by HTTP. The directory
    must exist; nothing stays in it but an .htaccess."""
    url = instance.environment.url
    name, content = f"canary-{secrets.token_hex(8)}.txt", secrets.token_hex(16)
    stage_dir, user = instance.layout.stage_dir, instance.environment.host_user
    try:
        # on a full disk it stands there, empty
        instance.host.run(script(_PLANT, stage_dir, name, content).as_user(user))
        for address in addresses(url, f"{stage_dir}/{name}") if url else ():
            if content.encode() in ask(address, instance.app).body:
                raise _served(instance, f"{address.rpartition('/')[0]}/ hands out its files")
    finally:
        instance.host.run(script(_REMOVE, stage_dir, name).as_user(user), ok=None)


def addresses(url: str, path: str) -> Iterator[str]:
    """Under which addresses of the site's server a file could be had: each end of its path, below
    each folder of the site's own address."""
    parts = urlsplit(url)
    folders = [part for part in parts.path.split("/") if part]
    words = [part for part in path.split("/") if part]
    for depth in range(len(folders) + 1):
        for start in range(len(words) - 2, -1, -1):
            there = "/".join(quote(word) for word in (*folders[:depth], *words[start:]))
            yield urlunsplit((parts.scheme, parts.netloc, f"/{there}", "", ""))


def _served(instance: Instance, how: str) -> Refused:
    return Refused(
        f"{instance.name}: {how}, and the stage directory {instance.layout.stage_dir} lies there: "
        "data that is not anonymised yet would be public",
        hint=f"set environments.{instance.name}.stage_dir to a directory on the same filesystem "
        "that no web server serves, such as one beside the document root",
    )
