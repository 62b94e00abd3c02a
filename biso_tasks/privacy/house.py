"""What belongs to the house and not to a client: the office's own mail address and number, phrases
that it writes to everybody, the names of its staff in its settings. Only these are left out of the
search, and each by who bears it: standing in a settings table proves nothing by itself."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import compress
from typing import Final, final

__all__ = ["Held", "Phrases", "Settings"]

_PHRASE: Final = 9  # people whose texts have the same seven words: nobody's own
_SETTINGS_PHRASE: Final = 3  # as many are enough where it stands in settings or a template too
_MOST: Final = 4_000_000  # phrases; above, half of them are passed over, then three quarters ...
_FAMILIES: Final = 3  # family names beside one number: the office's, given for want of another

# Before the "@": an office, nobody in person.
_OFFICE: Final = """
    info kontakt contact office sekretariat secretariat empfang zentrale admin administration mail
    post support buchhaltung noreply no-reply donotreply postmaster webmaster beratung
    beratungsstelle fachstelle stelle sozialberatung verwaltung service dienst hilfe anmeldung
    termine team leitung geschaeftsstelle
"""
_ROLES: Final = frozenset(_OFFICE.split())


@final
class Settings:
    """What of the originals stands in settings, look-up tables and templates of the source."""

    __slots__ = ("_domains", "_mails", "contacts", "names", "phrases")

    def __init__(self) -> None:
        self.contacts: set[int] = set()
        self.names: set[int] = set()
        self.phrases: set[int] = set()
        self._mails: dict[int, str] = {}
        self._domains: set[str] = set()

    def see_mail(self, hashed: int, mail: str) -> None:
        """A mail address that stands there, an original or not."""
        local, _, domain = mail.rpartition("@")
        self._mails[hashed] = mail
        if local in _ROLES:
            # Nobody is given "info@" by a provider for everybody: the domain is the house's.
            self._domains.add(domain)

    def office(self, hashed: int) -> bool:
        """Whether it is a mail address of the house by the look of it."""
        mail = self._mails.get(hashed)
        return mail is not None and mail.rpartition("@")[2] in self._domains


@final
class Held:
    """Who holds each mail address, number and account of the originals. Hashes only."""

    __slots__ = ("_cells", "_families", "_mentions", "_named", "_owners")

    def __init__(self) -> None:
        self._cells: set[int] = set()  # in a column of contacts, in a row without a name
        self._named = array("q")  # in such a column, beside a name ...
        self._families = array("q")  # ... of this family
        self._mentions = array("q")  # within a text ...
        self._owners = array("q")  # ... of this person or case

    def cell(self, hashed: int, family: int | None) -> None:
        """It is the whole of a cell, in a row of that family name."""
        if family is None:
            self._cells.add(hashed)
        else:
            self._named.append(hashed)
            self._families.append(family)

    def mention(self, hashed: int, owner: int) -> None:
        """It stands within a text about that person or case."""
        self._mentions.append(hashed)
        self._owners.append(owner)

    def house(self, settings: Settings) -> set[int]:
        """Those that are the house's. An AHV number, which is never held here, is nobody else's."""
        often = {one for one, count in Counter(self._mentions).items() if count >= _PHRASE}
        standing = settings.contacts
        asked = often | standing
        families = _of(self._named, self._families, asked)
        owners = _of(self._mentions, self._owners, asked)
        found = set()
        for one in asked:
            if one in standing and settings.office(one):
                found.add(one)
            elif one in families:
                if one in standing and len(families[one]) >= _FAMILIES:
                    found.add(one)
            elif one not in self._cells:
                people = len(owners.get(one, ()))
                if people >= (_SETTINGS_PHRASE if one in standing else _PHRASE):
                    found.add(one)
        return found


def _of(keys: Iterable[int], values: Iterable[int], asked: Collection[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for key, value in zip(keys, values, strict=True):
        if key in asked:
            found.setdefault(key, set()).add(value)
    return found


@final
class Phrases:
    """How many people's texts hold each phrase. Hashes only."""

    __slots__ = ("_counts", "_marks", "_owners", "sparse")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._marks = array("q")  # each phrase as often as it came ...
        self._owners = array("q")  # ... and of whom
        self.sparse = 0  # phrases that have one of these bits are passed over

    def add(self, phrases: Sequence[int], owners: Sequence[int]) -> None:
        """Phrases of texts, and the number of the person or case that each is about."""
        if self.sparse:
            kept = [not one & self.sparse for one in phrases]
            phrases, owners = list(compress(phrases, kept)), list(compress(owners, kept))
        self._counts.update(phrases)
        self._marks.extend(phrases)
        self._owners.extend(owners)
        if len(self._counts) > _MOST:
            self.sparse = self.sparse * 2 + 1
            for one in [one for one in self._counts if one & self.sparse]:
                del self._counts[one]

    def add_copies(self, phrases: Sequence[int]) -> None:
        """Phrases of texts that stand in a table already."""
        self._counts.update(dict.fromkeys(phrases, 0))

    def within(self, phrases: Iterable[int]) -> set[int]:
        """Those of `phrases` that were added."""
        return {one for one in phrases if one in self._counts}

    def of_few(self, settings: Collection[int]) -> set[int]:
        """The phrases that are somebody's own; `settings`: those that stand in settings too."""
        often = {one for one, count in self._counts.items() if count >= _PHRASE}
        often |= {one for one in settings if self._counts[one] >= _SETTINGS_PHRASE}
        # Somebody's own words come again and again in an exchange of mails.
        people: dict[int, set[int]] = {}
        house: set[int] = set()
        for one, owner in zip(self._marks, self._owners, strict=True):
            if one in often:
                held = people.setdefault(one, set())
                held.add(owner)
                if len(held) >= (_SETTINGS_PHRASE if one in settings else _PHRASE):
                    house.add(one)
                    often.discard(one)
        return set(self._counts) - house
