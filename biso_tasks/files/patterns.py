"""Patterns for paths of a tree, one meaning everywhere: excludes, file policy, site configuration.

A pattern is anchored at the tree's root, case-sensitive, and names the whole path: `*` and `?` stay
within one folder, `**` crosses folders, `[abc]` is one of these. `*.ttf` is therefore a file at
the top; `**/*.ttf` is one anywhere. A slash in front changes nothing; one at the end means: this
directory and all that it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Matcher", "compile_pattern", "is_literal"]


def is_literal(pattern: str) -> bool:
    """Whether the pattern names exactly one path."""
    return not any(mark in pattern for mark in "*?[")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression for `fullmatch` on a path relative to the root."""
    body = pattern.removeprefix("/")
    inside = body.endswith("/")
    body = body.rstrip("/")
    parts: list[str] = []
    at = 0
    while at < len(body):
        if body.startswith("**/", at) and (at == 0 or body[at - 1] == "/"):
            parts.append("(?:.*/)?")
            at += 3
        elif body.startswith("**", at):
            parts.append(".*")
            at += 2
        elif body[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif body[at] == "?":
            parts.append("[^/]")
            at += 1
        elif body[at] == "[" and (end := body.find("]", at + 2)) > 0:
            inner = body[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            negated = inner[0] in "!^"
            parts.append(f"(?!/)[{'^' if negated else ''}{inner[negated:]}]")
            at = end + 1
        else:
            parts.append(re.escape(body[at]))
            at += 1
    # DOTALL: a file name may hold a newline, and must not slip through a rule because of it
    return re.compile("".join(parts) + ("(?:/.*)?" if inside else ""), re.DOTALL)


class Matcher:
    """Answers whether a path, or a folder above it, matches one of some patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        # One expression of all: a site's million paths are asked one by one.
        parts = [f"(?:{compile_pattern(pattern).pattern})" for pattern in patterns]
        self._any = re.compile("|".join(parts) if parts else "(?!)", re.DOTALL)
        self._folders: dict[str, bool] = {"": False}

    def __call__(self, path: str) -> bool:
        return self._folder(path.rpartition("/")[0]) or self._one(path)

    def _one(self, path: str) -> bool:
        return self._any.fullmatch(path) is not None

    def _folder(self, folder: str) -> bool:
        known = self._folders.get(folder)
        if known is None:
            known = self._folder(folder.rpartition("/")[0]) or self._one(folder)
            self._folders[folder] = known
        return known
