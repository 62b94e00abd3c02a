"""Made-up people of a Swiss counselling centre as COPY text for PostgreSQL, the same at every run.

`PLANTED` are strings of the first person: they surely stand in the database, mail queue and
sessions included, in attachments and in file names. Tests of the anonymisation look for them.
"""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib import resources

__all__ = ["HARMLESS", "PLANTED", "Attachment", "Records", "log_database_sql", "records"]

PLANTED = (
    "Großkopf-Zürcher",
    "aenne.grosskopf@posteo.example",
    "756.9217.0769.85",
    "+41 79 555 01 42",
    "Lindenhofgässli 17b",
)

HARMLESS = ("Muster", "petra@test.example", "756.0000.0000.00", "+41 31 555 00 00", "Testweg 1")

_Row = Sequence[object]

_SCANS = ("Zeugnis", "Mietvertrag", "Foto")
_USERS = ("admin", "b.keller", "s.hofer", "m.rüegg", "l.favre", "empfang")


@dataclass(frozen=True, slots=True)
class _Words:
    first: list[str]
    last: list[str]
    places: list[list[str]]
    streets: list[str]
    topics: list[str]
    sentences: list[str]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a case: `path` below the data dir, `original` as the person had called it."""

    path: str
    original: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Records:
    """`sql` fills an empty schema (psql text with COPY); `attachments` belong to its rows."""

    sql: str
    persons: int
    cases: int
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class _Person:
    id: int
    first: str
    last: str
    mail: str
    phone: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"


def records(
    customer: str, *, persons: int, first: Sequence[str] = PLANTED, seed: int = 1
) -> Records:
    """The rows of one instance. About 1.5 cases a person, 6 rows a case; an attachment for every
    eighth case. `first` is the first person: surname, mail, social number, phone, street."""
    if persons < 1:
        raise ValueError("persons must be at least 1")
    rng = random.Random(seed)
    words = _words()
    people, person_rows = _people(rng, words, persons, first)
    cases: list[_Row] = []
    meetings: list[_Row] = []
    protocols: list[_Row] = []
    notes: list[_Row] = []
    logs: list[_Row] = []
    files: list[_Row] = []
    attachments: list[Attachment] = []
    for person in people:
        for _ in range(1 + (rng.random() < 0.5)):
            case = len(cases) + 1
            opened = date(2023, 1, 9) + timedelta(days=rng.randrange(900))
            closed = opened + timedelta(days=rng.randrange(20, 300)) if rng.random() < 0.6 else None
            topic = rng.choice(words.topics)
            number = f"{opened.year}-{case:05d}"
            state = "abgeschlossen" if closed else "offen"
            adviser = rng.randrange(2, len(_USERS) + 1)
            text = _say(rng, words, person)
            title = f"{topic} {person.last}"
            cases.append((case, person.id, number, title, text, state, opened, closed, adviser))
            for _ in range(rng.randrange(1, 4)):
                meeting = len(meetings) + 1
                day = opened + timedelta(days=rng.randrange(1, 120))
                begins = datetime(day.year, day.month, day.day, rng.randrange(8, 18), 30)
                about = f"Gespräch {person.name}"
                present = f"{person.name}, {_USERS[adviser - 1]}"
                meetings.append((meeting, case, begins, 60, "Zimmer 2", about, present))
                if rng.random() < 0.8:
                    protocols.append(
                        (len(protocols) + 1, meeting, _say(rng, words, person), begins)
                    )
            for _ in range(rng.randrange(0, 3)):
                notes.append((len(notes) + 1, case, _say(rng, words, person), opened))
            for action in ("angelegt", "geöffnet", "geändert"):
                detail = {"person": person.name, "e-mail": person.mail, "aktion": action}
                moment = datetime(opened.year, opened.month, opened.day, 9, rng.randrange(60))
                logs.append((len(logs) + 1, case, f"{action}: {person.name}", detail, moment))
            if case % 8 == 1:
                kind = ("pdf", "docx", "jpg", "txt")[len(attachments) % 4]
                attachment = Attachment(
                    path=f"dateien/{case % 10}/{case}/{len(files) + 1}.{kind}",
                    original=f"{rng.choice(_SCANS)} {person.name}.{kind}",
                    kind=kind,
                    text=f"{person.name}, {person.mail}\n{_say(rng, words, person)}",
                )
                attachments.append(attachment)
                files.append(
                    (len(files) + 1, case, attachment.original, attachment.path, len(text))
                )
    tables: tuple[tuple[str, str, list[_Row]], ...] = (
        ("users", "id, login, name, email, passwort_hash, rolle", _users()),
        (
            "person",
            "id, anrede, vorname, nachname, geburtsdatum, strasse, plz, ort, telefon, email, "
            "ahv_nr, bemerkung, angaben, geaendert",
            person_rows,
        ),
        (
            "beratungsfall",
            "id, person_id, fallnummer, titel, anliegen, status, eroeffnet, abgeschlossen, "
            "berater_id",
            cases,
        ),
        ("bf_termin", "id, fall_id, beginn, dauer, ort, betreff, teilnehmer", meetings),
        ("bf_termin_protokoll", "id, termin_id, text, verfasst", protocols),
        ("bf_notiz", "id, fall_id, text, erstellt", notes),
        ("bf_log", "id, fall_id, aktion, details, zeit", logs),
        ("bf_datei", "id, fall_id, originalname, pfad, groesse", files),
        ("sessions", "id, user_id, daten, ablauf", _sessions(rng, people)),
        (
            "mailqueue",
            "id, empfaenger, betreff, text, status, erstellt",
            _mails(rng, words, people),
        ),
        ("params", "kunde, name, wert", _params(customer)),
        ('"Kostenträger"', '"Kürzel", "Name"', [("AHV", "AHV/IV"), ("KK", "Krankenkasse Süd")]),
    )
    parts = ["SET client_encoding = 'UTF8';\nSET synchronous_commit = off;\n"]
    parts += [part for table, columns, rows in tables for part in _copy(table, columns, rows)]
    for table, columns, rows in tables:
        if columns.startswith("id, ") and table != "sessions":
            parts.append(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {len(rows) + 1});\n"
            )
    parts.append(
        "INSERT INTO kunde_logo VALUES"
        f" ('{customer}', lo_from_bytea(0, decode(repeat('89504e470d0a1a0a', 4000), 'hex')));\n"
        "ANALYZE;\n"
    )
    return Records("".join(parts), len(people), len(cases), tuple(attachments))


def log_database_sql(*, entries: int, seed: int = 1) -> str:
    """Schema and rows of the optional log database `biso_log`."""
    rng = random.Random(seed)
    people, _ = _people(rng, _words(), max(1, entries // 10), PLANTED)
    rows: list[_Row] = []
    for number in range(entries):
        person = people[number % len(people)]
        moment = datetime(2025, 1, 1) + timedelta(minutes=number)
        told = {"person": person.name, "telefon": person.phone}
        message = f"Dossier {person.name} geöffnet"
        rows.append((number + 1, moment, rng.choice(_USERS), message, told))
    schema = (
        "CREATE TABLE log_eintrag (id bigserial PRIMARY KEY, zeit timestamptz NOT NULL,"
        " benutzer text, nachricht text, kontext jsonb);\n"
    )
    copied = "".join(_copy("log_eintrag", "id, zeit, benutzer, nachricht, kontext", rows))
    return f"{schema}{copied}SELECT setval('log_eintrag_id_seq', {entries + 1});\n"


def _words() -> _Words:
    text = resources.files("biso_tasks.demo").joinpath("words.toml").read_text("utf-8")
    return _Words(**tomllib.loads(text))


def _people(
    rng: random.Random, words: _Words, count: int, planted: Sequence[str]
) -> tuple[list[_Person], list[_Row]]:
    last, mail, social, phone, street = planted
    people = [_Person(1, "Änne", last, mail, phone)]
    born = date(1961, 5, 17)
    remark = f"Erreichbar unter {phone} oder {mail}"
    told = {"notfallkontakt": {"name": f"Kurt {last}", "telefon": phone}, "sprachen": ["de", "fr"]}
    changed = datetime(2025, 2, 3, 10, 15)
    rows: list[_Row] = [
        (
            *(1, "Frau", "Änne", last, born, street, "3011", "Bern", phone, mail, social),
            *(remark, told, changed),
        )
    ]
    for number in range(2, count + 1):
        name, last = rng.choice(words.first), rng.choice(words.last)
        if rng.random() < 0.15:
            last = f"{last}-{rng.choice(words.last)}"
        plain = f"{name}.{last}".lower().replace("\N{NO-BREAK SPACE}", "").replace("'", "")
        person = _Person(
            number,
            name,
            last,
            f"{plain}{number}@post.example",
            f"+41 7{rng.randrange(6, 10)} 555 {rng.randrange(100):02d} {rng.randrange(100):02d}",
        )
        people.append(person)
        plz, place = rng.choice(words.places)
        rows.append(
            (
                number,
                rng.choice(("Frau", "Herr", "")),
                name,
                last,
                date(1935, 1, 1) + timedelta(days=rng.randrange(25000)),
                f"{rng.choice(words.streets)} {rng.randrange(1, 200)}",
                plz,
                place,
                person.phone,
                person.mail,
                f"756.{rng.randrange(10**4):04d}.{rng.randrange(10**4):04d}.{rng.randrange(100):02d}",
                _say(rng, words, person) if rng.random() < 0.3 else None,
                {"sprachen": ["de"], "kinder": rng.randrange(4), "vertretung": person.name},
                changed,
            )
        )
    return people, rows


def _say(rng: random.Random, words: _Words, person: _Person) -> str:
    text = rng.choice(words.sentences)
    return text.format(name=person.name, phone=person.phone, mail=person.mail)


def _users() -> list[_Row]:
    return [
        (
            number,
            login,
            login.replace(".", " ").title(),
            f"{login}@beratungsstelle.example",
            f"$2y$10$demo{number:02d}",
            "admin" if number == 1 else "beratung",
        )
        for number, login in enumerate(_USERS, 1)
    ]


def _sessions(rng: random.Random, people: Sequence[_Person]) -> list[_Row]:
    return [
        (
            f"{rng.getrandbits(128):032x}",
            number,
            json.dumps({"zuletzt": people[(number - 1) % len(people)].name}, ensure_ascii=False),
            datetime(2030, 1, 1),
        )
        for number in range(1, len(_USERS))
    ]


def _mails(rng: random.Random, words: _Words, people: Sequence[_Person]) -> list[_Row]:
    return [
        (
            number,
            person.mail,
            f"Termin {person.last}",
            _say(rng, words, person),
            "offen" if number < 4 else "versandt",
            datetime(2025, 3, 1, 7, 0),
        )
        for number, person in enumerate(people[:20], 1)
    ]


def _params(customer: str) -> list[_Row]:
    return [
        (customer, "bezeichnung", f"Beratungsstelle {customer.title()}"),
        (customer, "briefkopf", "Beratungsstelle\nMünstergasse 1\n3011 Bern"),
        (customer, "erinnerung.tage", "2"),
        (customer, "mail.absender", f"info@{customer}.example"),
    ]


def _copy(table: str, columns: str, rows: Iterable[_Row]) -> Iterator[str]:
    yield f"COPY {table} ({columns}) FROM stdin;\n"
    for row in rows:
        yield "\t".join(map(_field, row)) + "\n"
    yield "\\.\n"


def _field(value: object) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
