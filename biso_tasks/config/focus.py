"""A site with many installations, as it is seen from one of them: what its tasks mean where nothing
else is named."""

from __future__ import annotations

from dataclasses import replace

from biso_tasks.config.model import Site

__all__ = ["focus"]


def focus(site: Site, name: str) -> Site:
    """The site with `name` as what a refresh copies, where it is production, and else as what is
    refreshed; at the other end its pair, by `copy_of`. Sets are those of the pair's source.
    Releases of it are made in its copy, unless biso.toml names an environment for them that is
    nobody's copy: a host that is protected. Without a pair the rest stays as biso.toml says it.
    Raises UnknownEnvironment."""
    environment = site.environment(name)
    if environment.role == "production":
        copies = [each.name for each in site.environments if each.copy_of == name]
        source, target = name, copies[0] if copies else ""
    else:
        source, target = environment.copy_of or "", name
    backup, refresh, release = site.backup, site.refresh, site.release
    if source:
        backup = replace(backup, environment=source)
        refresh = replace(refresh, from_=source)
    if target:
        refresh = replace(refresh, to=target)
    apart = [each.name for each in site.environments if each.copy_of is None]
    if source and target and release.environment not in apart:
        release = replace(release, environment=target)
    return replace(site, backup=backup, refresh=refresh, release=release)
