"""Impossible combinations: what is wrong although each value by itself is right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from biso_tasks.config.findings import KeyPath, closest, one_of, shown
from biso_tasks.config.model import Document, Environment, RecipeChange
from biso_tasks.config.walk import Walk

__all__ = ["check", "settle"]


def settle(document: Document, walk: Walk) -> Document:
    """The defaults that depend on what environments there are: the only one of its role."""

    def default(name: str, role: str) -> str:
        only = [each.name for each in document.environments if each.role == role]
        taken = name in (each.name for each in document.environments)
        return only[0] if len(only) == 1 and not taken else name

    backup, refresh, release = document.backup, document.refresh, document.release
    if not walk.given("backup", "environment"):
        backup = replace(backup, environment=default(backup.environment, "production"))
    if not walk.given("refresh", "from"):
        refresh = replace(refresh, from_=default(refresh.from_, "production"))
    if not walk.given("refresh", "to"):
        refresh = replace(refresh, to=default(refresh.to, "test"))
    if not walk.given("release", "environment"):
        release = replace(release, environment=default(release.environment, "test"))
    return replace(document, backup=backup, refresh=refresh, release=release)


def check(document: Document, walk: Walk) -> None:
    """Report every impossible combination. Keys that are already reported are left alone."""
    if not document.environments and walk.fine("environments"):
        walk.report(
            ("environments",),
            "none is declared",
            "write [environments.test] and its webroot",
        )
    _references(document, walk)
    for environment in document.environments:
        _copy_of(environment, document, walk)
        _services(environment, walk)
        _places(environment, walk)
        _config_keys(environment, walk)
    _shared_places(document.environments, walk)
    _backup(document, walk)
    _refresh(document, walk)
    _release(document, walk)
    _neutralize(document, walk)
    for recipe in document.recipes:
        _recipe(recipe, document, walk)


def _references(document: Document, walk: Walk) -> None:
    names = [environment.name for environment in document.environments]
    roles = [str(environment.role) for environment in document.environments]
    wanted = (
        ("backup", "environment", document.backup.environment, "production"),
        ("refresh", "from", document.refresh.from_, "production"),
        ("refresh", "to", document.refresh.to, "test"),
        ("release", "environment", document.release.environment, "test"),
    )
    # Whoever takes releases alone has no production to name, nor the host where they are made.
    alone = document.refresh.sources_allowed == ("released",)
    for section, key, name, role in wanted:
        # Of many installations none need be the one that is meant where none is named.
        needed = walk.given(section) and not alone and roles.count(role) < 2
        said = walk.given(section, key) or needed
        if names and name not in names and said and walk.fine(section, key):
            meant = closest(name, names)
            walk.report(
                (section, key),
                f"no environment is called {shown(name)}",
                f'did you mean "{meant}"?' if meant else f"choose {one_of(names)}",
            )
    refresh = document.refresh
    fine = walk.fine("refresh", "from") and walk.fine("refresh", "to")
    if fine and refresh.from_ == refresh.to and walk.given("refresh"):
        walk.report(
            ("refresh", "to"),
            f"source and target are both {shown(refresh.to)}",
            "refresh.from is the source, refresh.to the target",
        )


def _copy_of(environment: Environment, document: Document, walk: Walk) -> None:
    path = ("environments", environment.name, "copy_of")
    source = environment.copy_of
    if source is None or not walk.fine(*path) or not walk.fine(*path[:2], "role"):
        return
    names = [each.name for each in document.environments if each.name != environment.name]
    if environment.role == "production":
        walk.report(path, "is never made of another one: it is production", "remove it")
    elif source == environment.name:
        walk.report(path, "is the environment itself", "name the one that is copied here")
    elif source not in names:
        meant = closest(source, names)
        walk.report(
            path,
            f"no environment is called {shown(source)}",
            f'did you mean "{meant}"?' if meant else f"choose {one_of(names)}",
        )


def _services(environment: Environment, walk: Walk) -> None:
    path = ("environments", environment.name, "services")
    services = environment.services
    if not walk.fine(*path, "kind"):
        return
    needed = {
        "systemd": ("stop",),
        "compose": ("directory", "web"),
        "command": ("stop", "stop_command", "start_command"),
        "none": (),
    }[services.kind]
    allowed = {
        "systemd": ("stop",),
        "compose": ("stop", "directory", "web", "database"),
        "command": ("stop", "stop_command", "start_command", "status_command"),
        "none": (),
    }
    for key in needed:
        if not getattr(services, key) and walk.fine(*path, key):
            what = "is empty" if walk.given(*path, key) else "is missing"
            walk.report(
                (*path, key),
                f'{what} with kind = "{services.kind}"',
                _SERVICE_REMEDIES[key],
            )
    for key in ("stop", "directory", "web", "database", *allowed["command"][1:]):
        if key not in allowed[services.kind] and walk.given(*path, key) and walk.fine(*path, key):
            kinds = [kind for kind, keys in allowed.items() if key in keys]
            walk.report(
                (*path, key),
                f'means nothing with kind = "{services.kind}"',
                f"write kind = {one_of(kinds)}, or remove it",
            )


_SERVICE_REMEDIES = {
    "stop": 'name the services, such as ["apache2", "php8.2-fpm"], or write kind = "none"',
    "directory": "the folder of its compose file on the host",
    "web": "the service in which PHP runs",
    "stop_command": 'such as ["svc", "-d", "{service}"]',
    "start_command": 'such as ["svc", "-u", "{service}"]',
}


def _places(environment: Environment, walk: Walk) -> None:
    path = ("environments", environment.name)
    webroot, datadir, stage = environment.webroot, environment.datadir, environment.stage_dir
    if not all(walk.fine(*path, key) for key in ("webroot", "datadir", "stage_dir")):
        return
    if datadir and _inside(webroot, datadir):
        walk.report(
            (*path, "datadir"),
            "the webroot lies inside it, so that neither can be exchanged by itself",
            "write the folder that config.php names as datadir",
        )
    if not stage:
        return
    if _inside(stage, webroot):
        walk.report(
            (*path, "stage_dir"),
            "lies inside the webroot, so that the web server would serve the stage",
            "choose a directory outside every document root, on the same filesystem",
        )
    elif _inside(webroot, stage):
        walk.report(
            (*path, "stage_dir"),
            "holds the webroot, and a stage directory is closed to the web server",
            "choose a directory of its own, on the same filesystem",
        )
    # A stage inside the data dir is right where that is a mount point: only the host knows.
    elif datadir and _inside(datadir, stage):
        walk.report(
            (*path, "stage_dir"),
            "is the data dir or holds it",
            "choose a directory of its own, on the same filesystem",
        )


def _config_keys(environment: Environment, walk: Walk) -> None:
    path = ("environments", environment.name, "config_keys")
    names = {key: environment.key(key) for key in ("env", "datadir", "database", "log_database")}
    for key, _ in environment.config_keys:
        twin = next((k for k, name in names.items() if name == names[key] and k != key), None)
        if twin and walk.fine(*path):
            walk.report(
                (*path, key),
                f"{shown(names[key])} is also the key for {twin}",
                "each has its own key in config.php",
            )


def _shared_places(environments: Sequence[Environment], walk: Walk) -> None:
    """Two environments on one host must not share what a refresh exchanges."""
    for number, second in enumerate(environments):
        for first in environments[:number]:
            known = all(walk.fine("environments", each.name, "ssh") for each in (first, second))
            if first.ssh != second.ssh or not known:
                continue
            for key in ("webroot", "datadir", "stage_dir"):
                path: KeyPath = ("environments", second.name, key)
                place = getattr(second, key)
                if place and place == getattr(first, key) and walk.fine(*path):
                    walk.report(
                        path,
                        f"{shown(place)} is the {key} of {shown(first.name)} too, on the same host",
                        "each environment has its own; check ssh as well",
                    )
    for one in environments:
        for other in environments:
            path = ("environments", one.name, "stage_dir")
            if one is other or one.ssh != other.ssh or not one.stage_dir or not other.webroot:
                continue
            if _inside(one.stage_dir, other.webroot) and walk.fine(*path):
                walk.report(
                    path,
                    f"lies inside the webroot of {shown(other.name)}, which would serve the stage",
                    "choose a directory outside every document root, on the same filesystem",
                )


def _backup(document: Document, walk: Walk) -> None:
    host = next(
        (e.ssh for e in document.environments if e.name == document.backup.environment), None
    )
    path = document.backup.path
    for environment in document.environments:
        if environment.ssh != host or not walk.fine("backup", "path"):
            continue
        if environment.webroot and _inside(path, environment.webroot):
            walk.report(
                ("backup", "path"),
                f"lies inside the webroot of {shown(environment.name)}, which would serve the sets",
                "choose a directory outside every document root",
            )
        elif environment.datadir and _inside(path, environment.datadir):
            walk.report(
                ("backup", "path"),
                f"lies inside the data dir of {shown(environment.name)}, so that sets hold sets",
                "choose a directory outside of it",
            )


def _refresh(document: Document, walk: Walk) -> None:
    refresh = document.refresh
    if walk.fine("refresh", "source") and walk.fine("refresh", "sources_allowed"):
        kinds = ("live", "latest", "released")
        kind = refresh.source if refresh.source in kinds else "set"
        meant = closest(refresh.source, kinds)
        if kind == "set" and (meant or not any(letter.isdigit() for letter in refresh.source)):
            walk.report(
                ("refresh", "source"),
                f"expected {one_of(kinds)} or the id of a backup set, got {shown(refresh.source)}",
                f'did you mean "{meant}"?' if meant else "ids are shown by the task `list`",
            )
        elif kind not in refresh.sources_allowed:
            walk.report(
                ("refresh", "source"),
                f"{shown(refresh.source)} is not among refresh.sources_allowed",
                f"add {shown(kind)} there, or choose another source",
            )
    below_all = False
    for pattern, _ in refresh.files:
        if below_all and walk.fine("refresh", "files", pattern):
            walk.report(
                ("refresh", "files", pattern),
                'is never reached, as "**" above it matches everything',
                'put it above "**": the first match counts',
            )
        below_all = below_all or pattern == "**"
    whole = {table.removeprefix("public.") for table in refresh.keep_tables}
    for table, _ in refresh.keep_rows:
        if not walk.fine("refresh", "keep_rows", table):
            continue
        if refresh.strategy == "in-place":
            walk.report(
                ("refresh", "keep_rows", table),
                'means nothing with strategy = "in-place", which keeps whole tables only',
                "name the table in keep_tables, or let the refresh swap",
            )
        elif table.removeprefix("public.") in whole:
            walk.report(
                ("refresh", "keep_rows", table),
                "is in keep_tables as well, which keeps all of its rows",
                "take it out of one of the two",
            )


def _release(document: Document, walk: Walk) -> None:
    release = document.release
    production = [each.name for each in document.environments if each.role == "production"]
    if release.environment in production and walk.fine("release", "environment"):
        walk.report(
            ("release", "environment"),
            f"{shown(release.environment)} is a production environment",
            "a release is made in the stage of a test environment, on a host that is protected",
        )
    if release.allowed_signers and walk.given("schedule", "release") and not release.sign:
        walk.report(
            ("release", "sign"),
            "is missing: allowed_signers refuses what is not signed",
            "write the path of the key, such as ~/.ssh/biso_release",
        )


def _neutralize(document: Document, walk: Walk) -> None:
    for environment in document.environments:
        for name in ("env", "datadir", "database", "log_database"):
            own = environment.key(name)
            for key, _ in document.neutralize.config:
                path = ("neutralize", "config", key)
                if (key == own or key.startswith(f"{own}.")) and walk.fine(*path):
                    walk.report(
                        path,
                        "says which instance this is, and is never overridden from here",
                        "remove it; the stage sets what it needs",
                    )


def _recipe(recipe: RecipeChange, document: Document, walk: Walk) -> None:
    path = ("recipes", recipe.name)
    raw = walk.raw["recipes"][recipe.name]
    for number, table in _tables(raw.get("insert")):
        where = (*path, "insert", number)
        _one_of_two(table, where, "run", "uses", walk)
        _one_of_two(table, where, "after", "before", walk)
        _on(table, where, document, walk)
    seen: set[str] = set()
    for number, table in _tables(raw.get("step")):
        where = (*path, "step", number)
        _one_of_two(table, where, "run", "uses", walk)
        _on(table, where, document, walk)
        name = table.get("name")
        if isinstance(name, str) and name in seen and walk.fine(*where, "name"):
            walk.report(
                (*where, "name"), f"there are two steps {shown(name)}", "give each its own name"
            )
        if isinstance(name, str):
            seen.add(name)


def _tables(raw: object) -> Iterable[tuple[int, dict[str, Any]]]:
    rows = raw if isinstance(raw, list) else []
    return ((number, row) for number, row in enumerate(rows) if isinstance(row, dict))


def _one_of_two(table: dict[str, Any], where: KeyPath, one: str, other: str, walk: Walk) -> None:
    if (one in table) != (other in table) or not walk.fine(*where, one):
        return
    if one in table:
        walk.report((*where, other), f'"{one}" is there as well', "keep one of the two")
    else:
        walk.report((*where, one), "is missing", f'write "{one}" or "{other}"')


def _on(table: dict[str, Any], where: KeyPath, document: Document, walk: Walk) -> None:
    """Recipes know further words than environments here; only what is nearly a name is refused."""
    names = [environment.name for environment in document.environments]
    on = str(table.get("on", ""))
    meant = closest(on, names)
    if on in names or on in _PLACES or not meant or not walk.fine(*where, "on"):
        return
    walk.report((*where, "on"), f"no environment is called {shown(on)}", f'did you mean "{meant}"?')


_PLACES = frozenset({"source", "target", "from", "to", "local", "here"})


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
