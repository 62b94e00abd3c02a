"""Mails and mailboxes: headers, parts in any transfer encoding, attachments."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from email.errors import MessageError
from email.message import Message
from email.policy import compat32
from typing import Final

from biso_tasks.privacy.documents.letters import decoded
from biso_tasks.privacy.documents.parts import BROKEN, Inner, Part, Room
from biso_tasks.privacy.documents.spellings import encoded_words

__all__ = ["begins_mail", "read_mail"]

_HEADER: Final = re.compile(
    rb"(?i)(?:From |(?:from|to|cc|bcc|subject|date|received|return-path|delivered-to|message-id"
    rb"|mime-version|content-[a-z-]+|x-[a-z-]+|reply-to|dkim-signature|authentication-results"
    rb"|thread-[a-z]+|user-agent|importance): ?)"
)
# What a file of these endings begins with; Apple Mail puts the number of bytes in front.
_FIELD: Final = re.compile(rb"(?:\d+\s*\n)?[!-9;-~]{1,76}:[ \t\r\n]")
_ENDINGS: Final = (".eml", ".emlx", ".mht", ".mhtml", ".mbox")
_NEXT: Final = re.compile(rb"(?m)^From [^\n]*\d\d:\d\d[^\n]*\n")


def begins_mail(name: str, data: bytes) -> bool:
    head = data.lstrip()[:200]
    if name.lower().endswith(_ENDINGS):
        return _FIELD.match(head) is not None or head.startswith(b"From ")
    return _HEADER.match(head) is not None


def read_mail(name: str, data: bytes, room: Room) -> Iterator[Part]:
    yield from decoded(data)
    for one in _NEXT.split(data):
        if not one.strip():
            continue
        lines = one.lstrip().split(b"\n", 1)
        if lines[0].strip().isdigit() and len(lines) == 2:
            one = lines[1]
        try:
            yield from _message(email.message_from_bytes(one.lstrip(), policy=compat32), room)
        except (MessageError, *BROKEN):
            continue  # as text it was read above


def _message(message: Message, room: Room) -> Iterator[Part]:
    for part in message.walk():
        for key, value in part.items():
            yield f"{key}: {_header(str(value))}"
        if part.is_multipart():
            continue
        filename = part.get_filename() or ""
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes) and payload:
            yield Inner(_header(filename), room.take(payload))
            charset = str(part.get_content_charset() or "")
            if charset and charset not in ("utf-8", "us-ascii"):
                try:
                    yield payload.decode(charset, "replace")
                except LookupError:
                    continue


def _header(value: str) -> str:
    # Bytes that are not ASCII were kept by the parser as halves of letters.
    raw = value.encode("utf-8", "surrogateescape")
    return encoded_words(re.sub(r"\r?\n[ \t]", " ", next(decoded(raw))))
