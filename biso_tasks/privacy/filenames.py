"""Names of files and directories that hold an original (a full name, a mail address, a phone
number), and what stands for each: the same name gets the same pseudonym wherever it is."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import count
from typing import Final, final

from biso_tasks.files.listing import Entry
from biso_tasks.privacy.documents import spelled_names
from biso_tasks.privacy.words import FAMILY_NAMES, GIVEN_NAMES

__all__ = ["Names", "Tree"]

# The kinds of originals within a text: `Distinctive.find`.
Find = Callable[[str], frozenset[str]]

_SEPARATORS: Final = re.compile(r"[_.-]+")
_HUMP: Final = re.compile(r"(?<=[^\W\d_A-ZÄÖÜ])(?=[A-ZÄÖÜ])")
_SPLIT: Final = re.compile(r"(?s)(.+?)((?:\.tar)?\.([A-Za-z0-9]{1,10}))")
_KNOWN: Final = """
    pdf doc docx docm dot dotx rtf txt md odt ott xls xlsx xlsm csv ods ppt pptx odp msg eml mbox
    jpg jpeg png gif tif tiff bmp webp heic svg mp3 mp4 m4a wav mov avi mkv ogg zip 7z gz tgz rar
    xml json html htm ics vcf bak tmp log ini xconf ttf otf
"""
_KINDS: Final = frozenset(_KNOWN.split())
_NOTHING: Final = ("", ".", "..")


def _decoded(name: str) -> str:
    """A name that is not UTF-8, as old Windows shares leave them, in readable letters."""
    if name.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in name):
        return name
    return name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _storable(name: str) -> bool:
    """Whether a database in UTF-8 could hold it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


@final
class Tree:
    """The names below a data dir, as they are before anything is renamed, and how rows spell
    them: composed or decomposed umlauts, UTF-8 where the file system has an older encoding."""

    __slots__ = ("_spelled", "directories", "files", "paths")

    def __init__(self, entries: Iterable[Entry]) -> None:
        paths: set[str] = set()
        files: set[str] = set()
        directories: set[str] = set()
        for entry in entries:
            paths.add(entry.path)
            name = entry.path.rsplit("/", 1)[-1]
            (directories if entry.kind == "dir" else files).add(name)
        self.paths, self.files, self.directories = map(frozenset, (paths, files, directories))
        # A name that is spelled just so comes first: both forms of "ü" may stand side by side.
        self._spelled: dict[str, str] = {}
        for name in sorted(files | directories):
            for other in self.spellings(name):
                if other != name and other not in files and other not in directories:
                    self._spelled.setdefault(other, name)

    @staticmethod
    def spellings(name: str) -> list[str]:
        """How a row may spell `name`; nothing that a database cannot hold."""
        text = _decoded(name)
        forms = (name, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))
        return [form for form in dict.fromkeys(forms) if _storable(form)]

    def spelled(self, value: str) -> list[str]:
        """The parts of a path, each as the file system spells it."""
        return [self._spelled.get(part, part) for part in value.split("/")]

    def knows(self, part: str) -> bool:
        return part in self.files or part in self.directories

    def leads_to(self, value: str, *, loosely: bool = False) -> bool:
        """Whether `value` is a path here, or the name of a file, or a longer path that ends in
        one. Where `loosely` is off, a name without an ending ("12") proves nothing by itself."""
        parts = self.spelled(value.rstrip("/"))
        base, above = parts[-1], parts[:-1]
        if not any(above):
            plainly = loosely or _SPLIT.fullmatch(base) is not None
            return plainly and (base in self.files or (loosely and base in self.directories))
        inner = "/".join(part for part in parts if part not in _NOTHING)
        if inner in self.paths:
            return True
        # "Frau Keller, siehe auch/Brief.pdf" is no path.
        clean = all(self.knows(part) or not any(c.isspace() for c in part) for part in above)
        return base in self.files and clean


@final
class Names:
    """Judges names and remembers what stands for each; keyed, the key is drawn here and never
    shown. `judge` everything first, then ask."""

    __slots__ = ("_find", "_judged", "_key", "_new", "_taken", "_tree", "_wide")

    def __init__(
        self, find: Find, tree: Tree, *, wide: Callable[[str], bool] = lambda name: False
    ) -> None:
        self._find = find
        self._wide = wide
        self._tree = tree
        self._key = secrets.token_bytes(32)
        self._new: dict[str, str] = {}
        self._judged: set[tuple[str, bool]] = set()
        self._taken: set[str] = set(tree.files | tree.directories)

    @property
    def mapping(self) -> Mapping[str, str]:
        """Old name → new name."""
        return self._new

    def judge(self, path: str, *, widely: bool = False) -> None:
        """Looks at each part of `path`, and at the whole: "Müller/Anna/1.pdf" names a person,
        though none of its parts does. `widely`: a family name alone is enough (`wide`)."""
        parts = [part for part in self._tree.spelled(path) if part not in _NOTHING]
        for part in parts:
            if (part, widely) not in self._judged:
                self._judged.add((part, widely))
                if self._holds(part) or (widely and self._wide(_spaced(part))):
                    self.replace(part)
        while kinds := self._within(parts):
            if not self._break(parts, kinds):
                return  # nothing is left to rename: the proof will say so

    def replace(self, name: str) -> str:
        """What stands for `name` from now on."""
        known = self._new.get(name)
        if known is None:
            known = self._new[name] = self._pseudonym(name)
        return known

    def of(self, parts: Sequence[str]) -> str:
        """The path of these parts with every judged name replaced."""
        return "/".join(self._new.get(part, part) for part in parts)

    def _holds(self, name: str) -> bool:
        return any(self._find(form) for form in dict.fromkeys(spelled_names(name)))

    def _within(self, parts: Sequence[str]) -> frozenset[str]:
        # as the proof reads the path of a file, and as it stands in a row
        path = self.of(parts)
        forms = dict.fromkeys((_decoded(path), *spelled_names(path)))
        return frozenset().union(*map(self._find, forms))

    def _break(self, parts: Sequence[str], kinds: Collection[str]) -> bool:
        """Renames what makes the shortest run of parts an original: of a person's name all of it,
        of anything else the part with the most words."""
        for size in range(1, len(parts) + 1):
            for start in range(len(parts) - size + 1):
                run = parts[start : start + size]
                kinds = self._within(run)
                left = [part for part in dict.fromkeys(run) if part not in self._new]
                if not kinds or not left:
                    continue
                if "name" not in kinds:
                    left = [max(reversed(left), key=lambda part: len(re.findall(r"\w+", part)))]
                for part in left:
                    self.replace(part)
                return True
        return False

    def _pseudonym(self, name: str) -> str:
        directory = name in self._tree.directories and name not in self._tree.files
        stem, ending = (name, "") if directory else _parts(name)
        if ending and not self._keeps(stem, ending):
            stem, ending = name, ""
        word = "ordner" if directory else "datei"
        hidden = "." if name.startswith(".") else ""
        for attempt in count():
            text = f"{attempt}\0{stem}".encode("utf-8", "surrogatepass")
            hashed = blake2b(text, key=self._key, digest_size=16).hexdigest()
            # Never longer than the old one, or a row's column might not hold it.
            room = max(len(stem) - len(hidden), 4) + attempt // 16
            made = f"{word}-{hashed[:8]}" if room > len(word) + 8 else f"{word[0]}{hashed}"[:room]
            made = f"{hidden}{made}{ending}"
            if made not in self._taken and not self._find(made):
                self._taken.add(made)
                return made
        raise AssertionError("unreachable")

    def _keeps(self, stem: str, ending: str) -> bool:
        """Whether what follows the last dot is a kind of file, not the end of a name."""
        kind = ending.rsplit(".", 1)[-1].casefold()
        if kind in _KINDS:
            return True
        named = kind in GIVEN_NAMES or kind in FAMILY_NAMES
        return not named and len(kind) <= 5 and self._holds(stem)


def _spaced(name: str) -> str:
    """The words of a file's name, without what is its kind."""
    stem = _parts(unicodedata.normalize("NFC", _decoded(name)))[0]
    return _HUMP.sub(" ", _SEPARATORS.sub(" ", stem))


def _parts(name: str) -> tuple[str, str]:
    """Stem and ending of a file's name, the dot with the ending; "" for none."""
    match = _SPLIT.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")
