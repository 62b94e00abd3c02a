"""What `migration list` means, whatever its words are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.instance.migration_list import is_name, is_text, read_list

NONE = (
    "", "\n\n", "Keine offenen Migrationen", "No pending migrations.", "Pending migrations: 0",
    "0 migrations pending", "Nothing to do", "Nichts zu tun", "Already up to date", "none", "ok",
    "Ausstehende Migrationen: 0", "keine", "Keine Migrationen", "0 pending", "nothing to do",
    "Pending migrations:", "Offene Migrationen\n==================\n", "Pending migrations:\n\n",
    "Pending migrations:\n  none\n", "Pending migrations:\n  (keine)\n", "Alles aktuell.",
    "Alles aktuell. Stand: 2026-01-01", "Alles aktuell. Stand: 20260101",
    "Stand: 01.01.2026 12:30:00", "Letzte Migration: 0003_kostentraeger. Alles aktuell.",
    "Current version: Version20240101", "BISO 8.3.1\nKeine offenen Migrationen.", "[]", "{}",
    '{"pending": []}', "Es gibt keine offenen Migrationen.", "There are no pending migrations",
    "\x1b[32mNo pending migrations\x1b[0m", "OK 20240101_a\nOK 20240202_b", "[ok] db",
    "| Migration | Status  |\n|---|---|\n", "3 Migrationen ausgeführt", "--------\n",
    "Applied migrations:\n  0001_a\n  0002_b\nPending migrations:\n",
    "PHP Deprecated:  strftime() in /var/www/biso/lib/Datum.php on line 12\nkeine",
    "Datenbank: biso_test auf localhost:5432\nNichts zu tun.\nDauer: 0.01s",
    "| 0003_kostentraeger | applied |\n| 0004_mail | applied |", "Done.", "fertig",
    "  2014_10_12_000000_create_users_table ........ [1] Ran", "[x] 0004_mail",
    "0001_a  ausgeführt\n0002_b  ausgeführt", "Offene Migrationen: keine",
    "Es stehen keine Migrationen aus.", "Alle Migrationen sind ausgeführt.",
    "Pending migrations (0):", "5 migrations, 0 pending", "Migrationen: 12 (davon 0 offen)",
    "Schema-Version: 20240101\nNo pending migrations.",
    "Migrationen: 0002_x, 0003_y (alle angewendet)", "Migration 0003_y already applied.",
    "0003_y wurde ausgeführt", "All migrations applied (latest: 0003_y)",
    "Keine neuen Migrationen in /var/www/biso/migrations/*.sql",
)  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_it_knows_when_there_is_none(text: str) -> None:
    assert read_list(text).pending == ()


PENDING = (
    ("0099_v2.0-migration-x", ("0099_v2.0-migration-x",)),
    ("OK 20240101_a\nPENDING 20240202_b", ("20240202_b",)),
    ("[ok] db\n0004_mail", ("0004_mail",)),
    ("Pending migrations:\n  0003_kostentraeger\n", ("0003_kostentraeger",)),
    ("Pending migrations:\n - 2024_01_02_add_x.php\n - Migration20240101\n",
     ("2024_01_02_add_x.php", "Migration20240101")),
    ("Offene Migrationen\n  0004_mail.sql\n - Version20240101 neue Spalte\n\nadd_column\n",
     ("0004_mail.sql", "Version20240101", "add_column")),
    ("db/migrations/0003_kostentraeger.sql", ("db/migrations/0003_kostentraeger.sql",)),
    ("| Migration | Status |\n|---|---|\n| 0003_x | applied |\n| 0004_y | pending |", ("0004_y",)),
    ("+----+\n| Nr | Name |\n+----+\n|  1 | 0004_y |\n+----+", ("0004_y",)),
    ("Keine Angst, es ist nur eine:\n0004_mail", ("0004_mail",)),
    ("No. 1: 0004_mail", ("0004_mail",)),
    ("0 migrations applied\n0004_mail pending", ("0004_mail",)),
    ("ok\n0004_mail\nok", ("0004_mail",)),
    ("up to date: nein\n0004_mail", ("0004_mail",)),
    ("\x1b[33mPENDING\x1b[0m \x1b[1m0004_mail\x1b[0m", ("0004_mail",)),
    ("Pending migrations:\n  * Kostenträger einführen\n", ("Kostenträger einführen",)),
    ("3 Migrationen sind offen", ("3 Migrationen sind offen",)),
    ("Pending migrations: 2", ("Pending migrations: 2",)),
    ("Pending: 0004_mail, 0005_sms", ("0004_mail", "0005_sms")),
    ('{"pending":["0004_mail","0005_sms"]}', ("0004_mail", "0005_sms")),
    ("Folgende Migrationen werden ausgeführt:\n0004_mail", ("0004_mail",)),
    ("0005_letzte_anmeldung Spalte für die letzte Anmeldung, erledigt",
     ("0005_letzte_anmeldung",)),
    ("0004 Mailspalte", ("0004 Mailspalte",)),
    ("1. 0004_mail\n2. 0005_sms", ("0004_mail", "0005_sms")),
    ("App\\Migrations\\Version20240101", ("App\\Migrations\\Version20240101",)),
    ("[x] 0003_x\n[ ] 0004_mail", ("0004_mail",)),
    ("  2014_10_12_000000_create_users .... [1] Ran\n  2024_01_02_000000_add_x .... Pending",
     ("2024_01_02_000000_add_x",)),
    ("     up  20240101000000  CreateUsers\n   down  20240202000000  AddColumn",
     ("20240202000000",)),
    ("Applied migrations:\n  0001_a\nPending migrations:\n  0002_b", ("0002_b",)),
    ("add_column", ("add_column",)),
    ("AddColumn", ("AddColumn",)),
    ("V2__mail", ("V2__mail",)),
    ("m240101_000000_mail", ("m240101_000000_mail",)),
    ("PENDING db", ("db",)),
    ("2024-01-02-add-x", ("2024-01-02-add-x",)),
    ("0003\n0004", ("0003", "0004")),
    ("0003_y wurde noch nicht ausgeführt", ("0003_y",)),
    ("0003_y (neu, wird ausgeführt)", ("0003_y",)),
    ("Pending migrations: 2\n  3\n  4", ("3", "4")),
    ("[2026-01-01 12:00:00] INFO: 0004_mail", ("0004_mail",)),
    ("Es ist 1 Migration offen.", ("Es ist 1 Migration offen.",)),
    ("0004_mail nicht ausgeführt", ("0004_mail",)),
    ("Würde ausführen: migrations/0004_mail.sql", ("migrations/0004_mail.sql",)),
)  # fmt: skip


@pytest.mark.parametrize(("text", "names"), PENDING)
def test_it_finds_every_one_whatever_else_is_said(text: str, names: tuple[str, ...]) -> None:
    assert read_list(text).pending == names


def test_a_sites_own_words_for_none_do_not_hide_a_name_in_another_line() -> None:
    assert read_list("Stand 0003_x: so weit gut", "so weit gut").pending == ()
    assert read_list("Stand 0003_x: so weit gut\n0004_y", "so weit gut").pending == ("0004_y",)


def test_what_is_marked_as_applied_is_known_all_the_same() -> None:
    assert read_list("OK 0001_a\nPENDING 0002_b").known == ("0001_a", "0002_b")


@pytest.mark.parametrize(
    "word",
    ["2026-01-01", "2026-01-01T12:00:00", "01.02.2026", "12:30:00", "8.3.1", "v2.0", "0.01s",
     "15.3-1.pgdg", "1.0.0-rc1", "12ms", "3.4MB"],
)  # fmt: skip
def test_a_date_a_version_or_an_amount_is_no_name(word: str) -> None:
    assert not is_name(word)
    assert read_list(f"Stand: {word}").pending == ()
    assert read_list(word).pending == ()


WORD = st.from_regex(r"[a-zäöü]{3,12}", fullmatch=True)
DAY = st.integers(20100101, 20301231)
NAMES = st.one_of(
    st.builds("{:04}_{}".format, st.integers(0, 9999), WORD),
    st.builds("{:04}_v{}.{}-migration-x".format, st.integers(0, 9999), st.integers(0, 9),
              st.integers(0, 9)),
    st.builds("2024_{:02}_{:02}_{}.php".format, st.integers(1, 12), st.integers(1, 28), WORD),
    st.builds("Migration{}{:06}".format, DAY, st.integers(0, 235959)),
    st.builds("Version{}".format, DAY),
    st.builds("{}_{}".format, DAY, WORD),
)  # fmt: skip
HEADS = st.sampled_from(
    ["", "Pending migrations:\n", "Offene Migrationen:\n\n", "BISO 8.3.1\n", "ok\n", "[ok] db\n",
     "Keine Angst.\n", "0 Fehler\n", "Alles aktuell bis auf:\n", "No errors. Pending:\n",
     "\x1b[1mMigration list\x1b[0m\n==============\n", "Nothing to worry about\n"]
)  # fmt: skip
ROWS = st.sampled_from(
    ["{}", "  {}", " - {}", " * {}", "PENDING {}", "[ ] {}", "{} (pending)", "| {} | offen |",
     "\x1b[33m{}\x1b[0m", "db/migrations/{}", "\t{}", "{}  Beschreibung mit ok und keine"]
)  # fmt: skip
TAILS = st.sampled_from(
    ["", "\n", "\nok\n", "\nup to date\n", "\nkeine weiteren\n", "\n\nStand: 2026-01-01", "\r\n",
     "\n0 applied\n"]
)  # fmt: skip


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True), HEADS, ROWS, TAILS)
def test_no_form_of_a_list_hides_a_pending_migration(
    names: list[str], head: str, row: str, tail: str
) -> None:
    found = read_list(head + "\n".join(row.format(name) for name in names) + tail).pending
    for name in names:
        assert any(one.endswith(name) for one in found), (name, found)
    assert len(found) == len(names), found


@given(
    st.lists(NAMES, max_size=4, unique=True),
    st.sampled_from(
        ["OK {}", "[ok] {}", "{} (applied)", "{} .... Ran", "| {} | applied |", "[x] {}"]
    ),
    st.sampled_from(["Keine offenen Migrationen", "0 pending", "", "Nichts. Stand: 2026-01-01"]),
)  # fmt: skip
def test_a_list_of_applied_ones_is_no_list_of_pending_ones(
    names: list[str], row: str, tail: str
) -> None:
    assert read_list("\n".join([*(row.format(name) for name in names), tail])).pending == ()


@given(st.text())
def test_whatever_is_printed_it_neither_fails_nor_shows_a_control_character(text: str) -> None:
    for name in (*read_list(text).pending, *read_list(text).known):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", name)


def test_what_is_no_text_is_told_from_what_is() -> None:
    for text in (b"", b"keine\r\n", "Größe\n".encode(), b"\x1b[32mok\x1b[0m\n", b"a\tb",
                 "Es ging ü nicht".encode("latin-1")):  # fmt: skip
        assert is_text(text), text
    for rubbish in (b"\x00\x01\x02", b"ab\x00cd", b"\x1b]0;Titel\x07", bytes(range(128, 256)),
                    "keine".encode("utf-16"), b"\x7fELF\x02\x01"):  # fmt: skip
        assert not is_text(rubbish), rubbish
