"""A target that is bare, all of it or a part: there is no config.php, or no data dir. What is made
there first is a shell: an instance that is valid and empty where something was missing, and in
maintenance, so that the ordinary restore has something to stand beside and to take the place of.

Only what is empty is taken for bare, and only what is empty is taken away again.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from biso_tasks.config.model import Environment
from biso_tasks.errors import Refused, StepFailed
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry
from biso_tasks.files.owners import owners_for
from biso_tasks.host.answer import answered, fields
from biso_tasks.host.command import Command, script
from biso_tasks.host.protocol import Host
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import inside
from biso_tasks.stage.model import access

__all__ = [
    "Laid",
    "holds_data",
    "is_bare",
    "lacks_code",
    "lay",
    "lift",
    "missing_folders",
    "remove_folders",
    "require_makeable",
]

_PROGRAM = "biso-cli"
_CONFIG = '[ -e "$1" ] || [ -L "$1" ]'
# What stands in the way in each of the folders, "" where nothing does. $1 what does not count.
_LOOK = r"""
own=$1
shift
for folder; do
  if [ -L "$folder" ] || { [ -e "$folder" ] && [ ! -d "$folder" ]; }; then
    printf '%s\0' "$folder is no folder"
  elif [ ! -d "$folder" ]; then
    printf '\0'
  elif [ ! -r "$folder" ] || [ ! -w "$folder" ] || [ ! -x "$folder" ]; then
    printf '%s\0' "$folder is there, and closed to $(id -un)"
  else
    found=
    while IFS= read -r -d '' entry; do
      case /$entry/ in "/lost+found/" | "$own") continue ;; esac
      found="$folder holds $entry"
      break
    done < <(find "$folder" -mindepth 1 -maxdepth 1 -printf '%f\0')
    printf '%s\0' "$found"
  fi
done
"""
_NAMES = r"""find "$1" -mindepth 1 -maxdepth 1 -printf '%f\0'"""
# Folders above each path that are not there, the uppermost first; then the one that is: whether it
# can be written to (y), entered (x), or neither, so that nobody knows what is in it.
_ABOVE = r"""
for path; do
  at=$path
  while [ ! -e "$at" ]; do printf '%s\0' "$at"; at=$(dirname -- "$at"); done
  may=n
  if [ -d "$at" ] && [ -x "$at" ]; then may=x; [ ! -w "$at" ] || may=y; fi
  printf '%s%s\0\0' "$may" "$at"
done
"""
_WRITE = 'umask 077; cat > "$1"'
_FLAG = ': > "$1"'


@dataclass(slots=True)
class Laid:
    """What was made of a shell: `folders` and `files`, the first one first. Filled while it is
    made, so that half of it can be taken away as well."""

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def is_bare(host: Host, environment: Environment) -> bool:
    """Whether there is no config.php. What else is there, `holds_data` tells."""
    look = script(_CONFIG, f"{environment.webroot}/{environment.config}")
    return host.run(look.as_user(environment.host_user), ok=(0, 1)).code != 0


def lacks_code(instance: Instance) -> bool:
    """Whether the webroot has a config.php and no biso-cli: then nothing there can be asked."""
    environment = instance.environment
    words = [one for one in environment.biso_cli if posixpath.basename(one) == _PROGRAM]
    if not words:
        return False
    program = posixpath.join(environment.webroot, words[-1])
    there = Command(("test", "-e", program)).as_user(environment.host_user)
    return instance.host.run(there, ok=(0, 1)).code != 0


def holds_data(instance: Instance, known: Collection[str] | None) -> bool:
    """Of an instance without a config.php: whether its data dir holds something, one entry of which
    is called as one of `known` (None: whatever it is): the instance's own. Raises Refused where
    webroot or data dir holds anything else, naming it."""
    layout, environment = instance.layout, instance.environment
    within = layout.datadir_in_webroot.partition("/")[0]
    own = inside(layout.stage_dir, layout.datadir).partition("/")[0]
    for what, path, aside in (
        ("webroot", layout.webroot, within),
        ("data dir", layout.datadir, own),
    ):
        look = script(_LOOK, f"/{aside}/", path).as_user(environment.host_user)
        (found,) = fields(instance.host.name, f"the {what}", instance.host.run(look).out, 1)
        if not found:
            continue
        if what == "data dir" and found.startswith(f"{path} holds "):
            listed = script(_NAMES, path).as_user(environment.host_user)
            names = fields(instance.host.name, f"the {what}", instance.host.run(listed).out)
            if known is None or set(names) & set(known):
                return True
        raise Refused(
            f"{instance.name}: there is no config.php, but the {what} is not bare: {found}",
            hint="nothing of anybody's is overwritten: move it away, or put the instance's own "
            "config.php back into its webroot (an interrupted swap: `biso recover` first)",
        )
    return False


def require_makeable(instance: Instance) -> None:
    """Raises Refused where what is missing of webroot, data dir and stage directory may not be
    made, or where nobody knows whether it is."""
    layout, environment = instance.layout, instance.environment
    who = environment.host_user or instance.host.login
    for path in (layout.webroot, layout.datadir, layout.stage_dir):
        _, may, above = _above(instance, path)
        if may == "n" or (may == "x" and not access(instance).root):
            raise Refused(
                f"{instance.name}: {who} may not make {path}, since {above} is closed to it",
                hint="set `sudo = true` for this environment, or make the folder, empty, and give "
                f"it to {who}",
            )


def missing_folders(instance: Instance) -> tuple[str, ...]:
    """What of webroot, data dir, stage directory and the folders above them is not there, the
    uppermost first."""
    layout = instance.layout
    found: set[str] = set()
    for path in (layout.webroot, layout.datadir, layout.stage_dir):
        found |= set(_above(instance, path)[0])
    return tuple(sorted(found, key=lambda path: path.count("/")))


def remove_folders(instance: Instance, folders: Sequence[str]) -> None:
    """Remove those of `folders` (as `missing_folders` gave them) that are there and empty."""
    files = access(instance)
    for path in reversed(folders):
        instance.host.run(files.writer(Command(("rm", "-d", "--", path))), ok=None)


def lay(
    instance: Instance,
    texts: Mapping[str, bytes],
    like: Entry | None,
    laid: Laid,
    *,
    flag: bool = True,
) -> None:
    """Make what is missing of a shell: a webroot with `texts` (by paths below it) and nothing else,
    an empty data dir, and with `flag` its maintenance. Both folders are closed to all but the
    application's user. The files get owner, mode and time of `like`, what the set recorded of
    config.php."""
    layout = instance.layout
    host, user, files = instance.host, instance.environment.host_user, access(instance)
    _folder(instance, layout.webroot, laid)
    _folder(instance, layout.datadir, laid)
    for name, content in texts.items():
        path = f"{layout.webroot}/{name}"
        folder = posixpath.dirname(path)
        if folder != layout.webroot:
            _folder(instance, folder, laid)
        laid.files.append(path)
        host.run(script(_WRITE, path).as_user(user), stdin=content)
    if texts:
        _own(files, instance, [f"{layout.webroot}/{name}" for name in texts], like)
    if flag:
        # Last: from here on nobody who comes by sees anything but that it is closed.
        path = f"{layout.datadir}/maintenance.on"
        laid.files.append(path)
        host.run(script(_FLAG, path).as_user(user))


def lift(instance: Instance, laid: Laid) -> None:
    """Take away what `lay` made, as far as it is still as it was made. Raises StepFailed where a
    folder holds something else by now."""
    host = instance.host
    while laid.files:
        remove = Command(("rm", "-f", "--", laid.files[-1]))
        host.run(remove.as_user(instance.environment.host_user))
        laid.files.pop()
    while laid.folders:
        there = Command(("test", "-e", laid.folders[-1])).as_user(instance.environment.host_user)
        if host.run(there, ok=(0, 1)).code == 0:
            _remove(instance, laid.folders[-1])
        laid.folders.pop()


def _remove(instance: Instance, folder: str) -> None:
    remove = Command(("rm", "-d", "--", folder))
    done = instance.host.run(access(instance).writer(remove), ok=None)
    if done.code:
        raise StepFailed(
            f"{instance.name}: {folder} was made by this run, and is not empty any more: "
            f"{done.error}",
            hint="somebody, or the application, has written there: move that away and run `biso "
            "recover`",
        )


def _folder(instance: Instance, path: str, laid: Laid) -> None:
    """One that is there is left as it is."""
    for missing in _above(instance, path)[0]:
        laid.folders.append(missing)
        make = Command(("install", "-d", "-m", "0755" if missing != path else "0700"))
        if access(instance).root:
            owner = instance.environment.host_user or instance.host.login
            words = ("-o", owner) if missing == path else ()
            instance.host.run(Command((*make.argv, *words, "--", missing)).as_root())
        else:
            user = instance.environment.host_user
            instance.host.run(Command((*make.argv, "--", missing)).as_user(user))


def _own(files: Access, instance: Instance, paths: Sequence[str], like: Entry | None) -> None:
    if like is None or like.kind != "file":
        return
    # First: who has given a file away cannot set its time.
    when = f"@{like.mtime // 1_000_000_000}.{like.mtime % 1_000_000_000:09d}"
    instance.host.run(files.reader(Command(("touch", "-d", when, "--", *paths))))
    if files.gives_away:
        owner, group = owners_for(files, [like], instance.environment.owner).of(like)
        give = Command(("chown", f"{owner}:{group}", "--", *paths))
        instance.host.run(files.writer(give))
    mode = Command(("chmod", f"{like.mode & 0o777:04o}", "--", *paths))
    instance.host.run(files.writer(mode))


def _above(instance: Instance, path: str) -> tuple[list[str], str, str]:
    """The folders that are not there, the uppermost first; what may be done in the one that is, and
    which that is. Root looks as the application's user too: what that cannot enter is closed."""
    look = script(_ABOVE, path).as_user(instance.environment.host_user)
    found = fields(instance.host.name, f"the folders above {path}", instance.host.run(look).out)
    with answered(instance.host.name, f"the folders above {path}"):
        *missing, last, _ = found
        return list(reversed(missing)), last[0], last[1:]
