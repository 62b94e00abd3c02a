"""Bulk data from one process to another, possibly on two hosts: an OS pipe joins them, and no byte
passes through Python.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass

from biso_tasks.errors import BisoError, Interrupted
from biso_tasks.host.command import Command, Result
from biso_tasks.host.explain import command_failed, ssh_failure, title, without_code
from biso_tasks.host.process import Tail, end_group
from biso_tasks.host.protocol import CommandFailed, Host, HostError
from biso_tasks.host.words import direct_words

__all__ = ["PREFIX_LIMIT", "Leg", "PipeResult", "pipe", "remote_words"]

PREFIX_LIMIT = 4096  # bytes; a pipe holds at least these before anybody reads
_GRACE = 3.0  # seconds in which the other leg ends by itself after one has failed
_UNREAD = 60.0  # seconds for a source to end after its target has ended well
_CLOSE = 0.5  # seconds in which the end of a target that failed first is still on its way


@dataclass(frozen=True, slots=True)
class Leg:
    """One process of a pipe. `prefix` is written to its stdin before anything else: secrets, each
    ended by NUL, which the command reads with `read -r -d ''`. Codes in `ok` are no failure."""

    host: Host
    command: Command
    prefix: bytes = b""
    ok: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class PipeResult:
    """Exit codes, the last 64 KiB of each stderr, and the wall time in seconds."""

    source_code: int
    target_code: int
    source_err: bytes
    target_err: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class _End:
    who: str
    code: int
    at: float


def remote_words(source: Host) -> tuple[str, ...]:
    """The `ssh … user@host --` words by which another host reaches `source` (direct route), strict
    host keys included; the next word is shell text, `Command.shell(source.login)`. Raises
    HostError for this machine, which nobody can pull from."""
    if source.address == "":
        raise HostError(
            f"{source.name}: the direct route needs a source that is reached by ssh",
            hint='set route = "relay" or "auto" under [refresh]',
        )
    return direct_words(source.address)


def pipe(
    source: Leg, target: Leg, *, cancel: threading.Event, timeout: float | None = None
) -> PipeResult:
    """Run `source | target` to the end.

    The target is given its end of file only after the source has ended well: a source that dies
    half-way does not look like a complete one. (A target behind SSH does see an end of file when
    it is stopped; what must not be half done there needs its end in the stream itself.)

    Raises CommandFailed, Refused or Unreachable for the leg that failed first, CommandFailed after
    `timeout` seconds, Interrupted when `cancel` is set. Nothing runs on afterwards, whatever
    happened."""
    for leg in (source, target):
        if len(leg.prefix) >= PREFIX_LIMIT:
            raise ValueError(f"a prefix has fewer than {PREFIX_LIMIT} bytes")
    if cancel.is_set():
        raise _interrupted(source, target)
    started = time.monotonic()
    children: dict[str, subprocess.Popen[bytes]] = {}
    tails: dict[str, Tail] = {}
    read_end, write_end = os.pipe()
    with contextlib.ExitStack() as stack:
        closer = stack.enter_context(_Descriptors(read_end, write_end))
        stack.callback(lambda: [end_group(child) for child in children.values()])
        os.write(write_end, target.prefix)
        children["target"] = target.host.start(
            target.command, stdin=read_end, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        closer.close(read_end)  # only the target reads, so the source notices its end
        tails["target"] = Tail(children["target"].stderr)
        stdin = subprocess.PIPE if source.prefix else subprocess.DEVNULL
        children["source"] = source.host.start(
            source.command, stdin=stdin, stdout=write_end, stderr=subprocess.PIPE
        )
        tails["source"] = Tail(children["source"].stderr)
        _give(children["source"], source.prefix)

        ends: queue.SimpleQueue[_End] = queue.SimpleQueue()
        for who, child in children.items():
            threading.Thread(target=_watch, args=(who, child, ends), daemon=True).start()
        legs = {"source": source, "target": target}
        seen: dict[str, _End] = {}
        give_up: float | None = None
        while len(seen) < 2:
            now = time.monotonic()
            if cancel.is_set():
                raise _interrupted(source, target)
            if timeout is not None and now - started > timeout:
                raise CommandFailed(
                    f"{source.host.name} → {target.host.name}: `{title(source.command)} | "
                    f"{title(target.command)}` did not end within {timeout:g} s and was stopped",
                    result=Result(-1, b"", tails["source"].bytes(0) + tails["target"].bytes(0)),
                )
            if give_up is not None and now > give_up:
                break
            try:
                end = ends.get(timeout=0.1)
            except queue.Empty:
                continue
            seen[end.who] = end
            if end.code not in legs[end.who].ok:
                if end.who == "source":
                    break  # the target must not see an end of file: stop it
                give_up = now + _GRACE
            elif end.who == "source":
                closer.close(write_end)
            elif give_up is None:
                # the target has ended well; a source that still writes gets SIGPIPE, one that
                # hangs is not waited for
                give_up = now + _UNREAD
        return _judge(legs, seen, children, tails, started)


def _judge(
    legs: dict[str, Leg],
    seen: dict[str, _End],
    children: dict[str, subprocess.Popen[bytes]],
    tails: dict[str, Tail],
    started: float,
) -> PipeResult:
    """The result, or the error of the leg that is to blame. The other leg is often a mere victim:
    its pipe broke, or it was stopped by us."""
    for who, child in children.items():
        if who not in seen:
            if who == "target":
                # if it failed before the source did, its own end is on its way
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_CLOSE)
                    seen[who] = _End(who, child.returncode, time.monotonic())
                    continue
            end_group(child)
    said = {who: tails[who].bytes() for who in ("source", "target")}
    failed = {who: end for who, end in seen.items() if end.code not in legs[who].ok}
    source, target = failed.get("source"), failed.get("target")
    if source is not None and target is not None:
        # the target was given no end of file, so its failure is its own
        victim = _broken_pipe(source.code, said["source"]) or target.at < source.at
        to_blame = "target" if victim else "source"
    elif target is not None:
        to_blame = "target"
    elif source is not None:
        to_blame = "source"
    elif len(seen) == 2:
        return PipeResult(
            seen["source"].code,
            seen["target"].code,
            said["source"],
            said["target"],
            time.monotonic() - started,
        )
    else:
        raise _unread(legs["target"])
    leg, end = legs[to_blame], failed[to_blame]
    if source is end and "target" in seen and _broken_pipe(end.code, said["source"]):
        raise _unread(legs["target"])
    raise _failure(leg, end.code, said[to_blame])


def _failure(leg: Leg, code: int, said: bytes) -> BisoError:
    host = leg.host
    if code == 255 and host.address:
        text = said.decode("utf-8", "replace")
        failure = ssh_failure(host.name, host.address, text)
        if failure is not None or not text.strip():
            return failure or without_code(host.name, leg.command)
    return command_failed(host.name, host.login, leg.command, Result(code, b"", said))


def _unread(leg: Leg) -> HostError:
    """The target ended well, and the source was not done: what arrived is not what was sent."""
    return HostError(f"{leg.host.name}: `{title(leg.command)}` ended before it had read everything")


def _broken_pipe(code: int, said: bytes) -> bool:
    # OpenSSH says 255, and no word, for a remote process that was ended by a signal
    return (
        code in (-signal.SIGPIPE, 128 + signal.SIGPIPE)
        or (code == 255 and not said.strip())
        or b"broken pipe" in said.lower()
    )


def _interrupted(source: Leg, target: Leg) -> Interrupted:
    return Interrupted(
        f"the transfer from {source.host.name} to {target.host.name} was cancelled and stopped"
    )


def _give(child: subprocess.Popen[bytes], prefix: bytes) -> None:
    if child.stdin is not None:
        with contextlib.suppress(OSError):  # if it has ended already, its exit code says so
            child.stdin.write(prefix)
        with contextlib.suppress(OSError):
            child.stdin.close()


def _watch(who: str, child: subprocess.Popen[bytes], ends: queue.SimpleQueue[_End]) -> None:
    code = child.wait()
    ends.put(_End(who, code, time.monotonic()))


class _Descriptors:
    """Closes each descriptor once: a number closed twice may be somebody else's by then."""

    def __init__(self, *numbers: int) -> None:
        self._open = set(numbers)

    def __enter__(self) -> _Descriptors:
        return self

    def __exit__(self, *_: object) -> None:
        for number in tuple(self._open):
            self.close(number)

    def close(self, number: int) -> None:
        if number in self._open:
            self._open.discard(number)
            os.close(number)
