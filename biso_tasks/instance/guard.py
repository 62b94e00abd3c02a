"""The guard of a maintenance: a process on the instance's host, in a session of its own, that
switches maintenance on and off for us, and off by itself when we are gone.

It runs as the login and is handed whole argv lists: what needs another user has its sudo in front.
It reads lines (a heartbeat is an empty one; `on`, `off`) and prints some of these:

    lock TEXT           it is not the only one, or could not make sure of that; it ends
    ready               services are held; nothing else was touched
    failed WHAT TEXT    `stop N` (a service) or `on`: everything is put back, then it ends
    on                  maintenance is on
    ended WHY           by itself: gone, silent, longest, told; what follows is said as well
    off N, gap N        maintenance is off, N hundredths of a second after `on` was begun; `gap`:
                        somebody else had switched it off before
    still TEXT          `maintenance off` failed; it is tried again
    down N              a service would not start; it is tried again
    done                all is as it was, and the record is gone
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from biso_tasks.host.command import Command, script
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.services import control

__all__ = ["Patience", "forget", "guard"]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `silence`: without a heartbeat (one comes every 5 s) the guard ends maintenance;
    `pause` before the first repetition of what failed, doubled each time up to `longest_pause`,
    until `give_up`; `program`: for one run of biso-cli; `answer`: how long we wait for "off"."""

    silence: float = 40.0
    pause: float = 1.0
    longest_pause: float = 30.0
    give_up: float = 86400.0
    program: float = 120.0
    answer: float = 60.0


# Times are hundredths of a second of /proc/uptime: no clock that is set while we wait, no process.
# A handler, not '': what this shell ignores, the services that it starts would ignore as well.
# read -t and not sleep: a line is answered at once. One that came while the whole machine stood
# still counts, however late it is read.
_GUARD: Final = r"""# the guard of a maintenance
cd /
told=0
trap : HUP INT QUIT PIPE
trap told=1 TERM
longest=$1 silence=$2 pause=$3 most=$4 patience=$5
shift 5
at=() many=() words=()
while [ $# -gt 0 ]; do
  at+=("${#words[@]}"); many+=("$1"); words+=("${@:2:$1}"); shift $(($1 + 1))
done

act() { "${words[@]:${at[$1]}:${many[$1]}}" </dev/null; }
say() { printf '%s\n' "$1" || :; }
now() { local up; read -r up _ </proc/uptime; clock=$((10#${up/./})); }
last() { said=${said##*$'\n'}; said=${said:0:300}; }

turn_on() {
  now; since=$clock ends=$((clock + longest)) switched=1
  if said=$(act 1 2>&1); then say on; else reason=failed; last; say "failed on $said"; fi
  now; heard=$clock
}

coproc KEEP { exec "${words[@]:${at[0]}:${many[0]}}" 2>&1; }
exec 7<&"${KEEP[0]}" 8>&"${KEEP[1]}"
answer=''
while [ "$answer" != held ]; do # sudo may have something to say first
  said=$answer; IFS= read -r -t 60 answer <&7 || { say "lock $said"; exit 75; }
done

reason='' held=() switched=0
for ((i = 4; i < ${#at[@]}; i += 2)); do
  held=("$i" "${held[@]}")
  act "$i" >/dev/null 2>&1 || { reason=failed; say "failed stop $((i / 2 - 2))"; break; }
done
[ "$reason" ] || say ready

now; heard=$clock ends=$((clock + longest))
while [ -z "$reason" ]; do
  now
  if [ "$told" = 1 ]; then reason=told; break; fi
  if [ "$clock" -ge "$ends" ]; then reason=longest; break; fi
  left=$((heard + silence - clock))
  [ "$left" -le $((ends - clock)) ] || left=$((ends - clock))
  [ "$left" -gt 0 ] || left=1
  printf -v wait %d.%02d $((left / 100)) $((left % 100))
  code=0; IFS= read -r -t "$wait" line || code=$?
  now
  if [ "$code" = 0 ]; then
    heard=$clock
    case $line in on) turn_on ;; off) reason=off ;; esac
  elif [ "$code" -le 128 ]; then reason=gone
  elif [ "$clock" -ge $((heard + silence)) ] && ! read -t 0; then reason=silent
  fi
done

case $reason in
  off | failed) ;;
  *) say "ended $reason" ;;
esac
now; began=$clock
while :; do
  open=0
  if [ "$switched" = 1 ]; then
    code=0; said=$(act 2 2>&1) || code=$?
    now
    case $code in
      0) switched=0; say "off $((clock - since))" ;;
      10) switched=0; say "gap $((clock - since))" ;;
      *) open=1; last; say "still $said" ;;
    esac
  fi
  down=()
  for i in "${held[@]}"; do
    act $((i + 1)) >/dev/null 2>&1 || { down+=("$i"); open=1; say "down $((i / 2 - 2))"; }
  done
  held=("${down[@]}")
  [ "$open" = 1 ] || break
  now; [ $((clock - began)) -lt "$patience" ] || exit 1 # the record stays, for recover
  printf -v wait %d.%02d $((pause / 100)) $((pause % 100)); sleep "$wait" || :
  pause=$((2 * pause)); [ "$pause" -le "$most" ] || pause=$most
done
act 3 >/dev/null 2>&1 || :
say done
"""

# It ends with the guard, whose end of the pipe closes: the lock tells a live lease from a dead
# record. Whoever gets a lock on a file that was removed meanwhile tries again.
_KEEP: Final = r"""# the lock of a maintenance
trap : HUP INT TERM
cd -- "$1"; umask 077
while :; do
  exec 9>>maintenance.lock
  flock -w 2 9 || { echo 'another run holds it'; exit 0; }
  [ ! maintenance.lock -ef /proc/self/fd/9 ] || break
done
[ -e maintenance.json ] || { echo 'its record is gone'; exit 0; }
echo held
while read -r _; do :; done
"""
# A biso-cli that ends well and does nothing is a failure.
_ON: Final = r"""# maintenance on
flag=$1 limit=$2 was_on=$3; shift 3
[ "$was_on" = 0 ] || exit 0
said=$(timeout -k 5 "$limit" "$@" 2>&1) ||
  { code=$?; said=${said##*$'\n'}; echo "${said:-it printed nothing} (exit $code)"; exit 1; }
[ -e "$flag" ] || { echo "it ended well, but there is no $flag"; exit 1; }
"""
_OFF: Final = r"""# maintenance off
flag=$1 limit=$2 was_on=$3; shift 3
[ -e "$flag" ] || exit 10
[ "$was_on" = 0 ] || exit 0
code=0; said=$(timeout -k 5 "$limit" "$@" 2>&1) || code=$?
[ -e "$flag" ] || exit 0
said=${said##*$'\n'}
[ "$code" = 0 ] || { echo "${said:-it printed nothing} (exit $code)"; exit 1; }
echo "it ended well, but $flag is still there"; exit 1
"""
_FORGET: Final = r"""# the record of a maintenance
cd -- "$1" 2>/dev/null || exit 0
rm -f -- maintenance.json maintenance.lock; sync -- .
"""


def guard(
    instance: Instance,
    *,
    was_on: bool,
    services: Sequence[str],
    longest: float,
    patience: Patience,
) -> Command:
    """The guard, to be started with `lease.hold`. `services` are stopped, in this order, before it
    says `ready`, and started in reverse; `longest` is in seconds from `on`."""
    environment, layout = instance.environment, instance.layout
    user = environment.host_user
    login = instance.host.login

    def helper(text: str, *args: str) -> tuple[str, ...]:
        return script(text, *args).as_user(user).words(login)

    def switch(text: str, verb: str) -> tuple[str, ...]:
        # The limit stands inside of sudo: outside, the login may not signal what runs behind it.
        given = (f"{layout.datadir}/maintenance.on", f"{patience.program:g}", str(int(was_on)))
        cli = instance.app.cli_command("maintenance", verb).words(user or login)
        return helper(text, *given, *cli)

    groups = [
        helper(_KEEP, layout.stage_dir),
        switch(_ON, "on"),
        switch(_OFF, "off"),
        helper(_FORGET, layout.stage_dir),
    ]
    for name in services:
        for verb in ("stop", "start"):
            words = control(environment, verb, name).words(login)
            groups.append(("timeout", "-k", "5", "300", *words))
    times = (
        longest, patience.silence, patience.pause, patience.longest_pause, patience.give_up
    )  # fmt: skip
    numbers = [str(max(1, round(seconds * 100))) for seconds in times]
    handed = [word for words in groups for word in (str(len(words)), *words)]
    # A session of its own: what ends ours, on this machine or on that one, does not reach it.
    return Command(("setsid", "--wait", *script(_GUARD, *numbers, *handed).argv))


def forget(instance: Instance) -> None:
    """Remove the record, and the file of the lock."""
    remove = script(_FORGET, instance.layout.stage_dir)
    instance.host.run(remove.as_user(instance.environment.host_user))
