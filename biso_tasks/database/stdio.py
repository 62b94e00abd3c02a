"""A way to a PostgreSQL server that publishes no port: through stdin and stdout of a process that
stands beside it (`docker compose exec -T db …`), without the bytes passing through Python.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from biso_tasks.database.server import Server
from biso_tasks.errors import StepFailed
from biso_tasks.host.command import Command, script
from biso_tasks.host.protocol import Endpoint

__all__ = ["socket_dir", "stdio_tunnel"]

# Either end closing must end both cats: a half-open pair would keep psycopg waiting for ever.
# `<&4`: a background job's stdin is /dev/null unless it is given one.
_BRIDGE = r"""
if command -v bash >/dev/null 2>&1; then
    exec bash -c '
        exec 3<>"/dev/tcp/$1/$2" 4<&0 || exit 69
        cat <&3 3>&- & a=$!
        cat <&4 >&3 & b=$!
        wait -n
        kill "$a" "$b" 2>/dev/null
        wait' biso "$1" "$2"
else
    exec nc "$1" "$2"
fi
"""


@contextmanager
def stdio_tunnel(server: Server) -> Iterator[Endpoint]:
    """A private socket directory on this machine; each connection to it becomes the stdin and
    stdout of one bridge process behind `server.prefix`. Ends them all on leaving."""
    inside = server.dsn.host
    if not inside or inside.startswith("/"):
        inside = "127.0.0.1"  # bash cannot open a unix socket
    bridge = Command((*server.prefix, "sh", "-c", _BRIDGE, "biso", inside, str(server.dsn.port)))
    with tempfile.TemporaryDirectory(prefix="biso-", ignore_cleanup_errors=True) as directory:
        path = Path(directory) / f".s.PGSQL.{server.dsn.port}"  # mkdtemp made it 0700
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(8)
        children: list[subprocess.Popen[bytes]] = []

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return  # closed: the tunnel ends
                with client:
                    descriptor = client.fileno()
                    children.append(
                        server.host.start(
                            bridge,
                            stdin=descriptor,
                            stdout=descriptor,
                            stderr=subprocess.DEVNULL,
                        )
                    )

        thread = threading.Thread(target=serve, name="biso-stdio-tunnel", daemon=True)
        thread.start()
        try:
            yield Endpoint(directory, server.dsn.port)
        finally:
            # shutdown wakes accept(); close alone would leave the thread in it
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(5)
            for child in children:
                _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(2)  # psycopg closed its end: the bridge is ending by itself
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def socket_dir(server: Server) -> str:
    """The host's default socket directory: config.php without a host means "the client's default",
    and the libpq inside psycopg has another default than Debian's. Raises StepFailed."""
    found = server.host.run(
        script(
            "for d in /var/run/postgresql /run/postgresql /tmp; do "
            'if [ -S "$d/.s.PGSQL.$1" ]; then printf %s "$d"; exit 0; fi; done; exit 1',
            str(server.dsn.port),
        ),
        ok=None,
    )
    if found.code != 0:
        raise StepFailed(
            f"no PostgreSQL socket for port {server.dsn.port} on {server.host.name}",
            hint="is PostgreSQL running there? Name its host in config.php or in the config",
        )
    return found.text
