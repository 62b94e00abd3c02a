"""Placeholders of kinds that are text."""

from __future__ import annotations

from typing import Final

__all__ = [
    "TEXT",
    "css",
    "eml",
    "html",
    "ics",
    "json",
    "mbox",
    "rtf",
    "sql",
    "svg",
    "text",
    "vcf",
    "xml",
]

TEXT: Final = "Placeholder"
_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def text() -> bytes:
    return f"{TEXT}\n".encode()


def html() -> bytes:
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{TEXT}</title></head>'
        f"<body><p>{TEXT}</p></body></html>\n"
    ).encode()


def xml() -> bytes:
    return f"{_XML}<placeholder>{TEXT}</placeholder>\n".encode()


def json() -> bytes:
    return f'{{"placeholder": "{TEXT}"}}\n'.encode()


def eml() -> bytes:
    return (
        "From: placeholder@example.invalid\r\nTo: placeholder@example.invalid\r\n"
        f"Subject: {TEXT}\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{TEXT}\r\n"
    ).encode()


def svg() -> bytes:
    return (
        f'{_XML}<svg xmlns="http://www.w3.org/2000/svg" width="120" height="24">'
        f'<text x="4" y="16">{TEXT}</text></svg>\n'
    ).encode()


def rtf() -> bytes:
    return rf"{{\rtf1\ansi {TEXT}\par}}".encode()


def css() -> bytes:
    return f"/* {TEXT} */\n".encode()


def ics() -> bytes:
    return (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//placeholder//EN\r\nBEGIN:VEVENT\r\n"
        "UID:placeholder@example.invalid\r\nDTSTAMP:19700101T000000Z\r\nDTSTART:19700101T000000Z\r\n"
        f"SUMMARY:{TEXT}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    ).encode()


def vcf() -> bytes:
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\nN:{TEXT};;;;\r\nFN:{TEXT}\r\nEND:VCARD\r\n".encode()


def sql() -> bytes:
    return f"-- {TEXT}\n".encode()


def mbox() -> bytes:
    return b"From placeholder@example.invalid Thu Jan  1 00:00:00 1970\n" + eml() + b"\n"
