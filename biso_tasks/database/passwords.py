"""Passwords as a server keeps them: made here by libpq, so that no password travels in SQL and none
is in any server's log, whatever that logs.
"""

from __future__ import annotations

import secrets
from typing import Literal

from biso_tasks.values import Secret

__all__ = ["generate", "verifier"]


def generate() -> Secret:
    """A new random password, of letters and digits: it passes through PHP, pgpass and URIs."""
    return Secret(secrets.token_hex(32))


def verifier(
    user: str, password: Secret, method: Literal["md5", "scram-sha-256"] = "scram-sha-256"
) -> str:
    """What a server keeps of `user`'s password, "" where there is none. Of "scram-sha-256" nobody
    who reads it can log in; of "md5" whoever does."""
    from psycopg import pq

    word = password.reveal()
    if not word:
        return ""
    # libpq needs a connection object to do this, not a connection.
    nowhere = pq.PGconn.connect_start(b"host=/nonexistent")
    try:
        given = word.encode("utf-8", "surrogateescape")
        return nowhere.encrypt_password(given, user.encode(), method.encode()).decode()
    finally:
        nowhere.finish()
