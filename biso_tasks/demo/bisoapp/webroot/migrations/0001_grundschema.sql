CREATE TABLE migrations (name text PRIMARY KEY, angewendet timestamptz NOT NULL DEFAULT now());

CREATE TABLE users (
    id serial PRIMARY KEY, login text NOT NULL UNIQUE, name text NOT NULL, email text,
    passwort_hash text NOT NULL, rolle text NOT NULL DEFAULT 'beratung', aktiv boolean NOT NULL DEFAULT true
);
CREATE TABLE sessions (
    id text PRIMARY KEY, user_id integer REFERENCES users, daten text, ablauf timestamptz NOT NULL
);
CREATE TABLE mailqueue (
    id serial PRIMARY KEY, empfaenger text NOT NULL, betreff text, text text,
    status text NOT NULL DEFAULT 'offen', erstellt timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE params (kunde text NOT NULL, name text NOT NULL, wert text, PRIMARY KEY (kunde, name));
COMMENT ON TABLE params IS 'Einstellungen des Kunden';

CREATE TABLE person (
    id serial PRIMARY KEY, anrede text, vorname text NOT NULL, nachname text NOT NULL,
    geburtsdatum date, strasse text, plz text, ort text, telefon text, email text, ahv_nr text,
    bemerkung text, angaben jsonb NOT NULL DEFAULT '{}', geaendert timestamptz NOT NULL DEFAULT now(),
    suchname text GENERATED ALWAYS AS (lower(nachname || ' ' || vorname)) STORED
);
CREATE INDEX person_suchname ON person (suchname);
CREATE TABLE beratungsfall (
    id serial PRIMARY KEY, person_id integer NOT NULL REFERENCES person, fallnummer text NOT NULL UNIQUE,
    titel text, anliegen text, status text NOT NULL DEFAULT 'offen', eroeffnet date NOT NULL,
    abgeschlossen date, berater_id integer REFERENCES users
);
CREATE INDEX beratungsfall_person ON beratungsfall (person_id);
CREATE SEQUENCE fallnummer_seq START 5000;
CREATE TABLE bf_termin (
    id serial PRIMARY KEY, fall_id integer NOT NULL REFERENCES beratungsfall, beginn timestamptz NOT NULL,
    dauer integer NOT NULL DEFAULT 60, ort text, betreff text, teilnehmer text
);
CREATE INDEX bf_termin_fall ON bf_termin (fall_id);
CREATE TABLE bf_termin_protokoll (
    id serial PRIMARY KEY, termin_id integer NOT NULL REFERENCES bf_termin, text text,
    verfasst timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bf_notiz (
    id serial PRIMARY KEY, fall_id integer NOT NULL REFERENCES beratungsfall, text text,
    erstellt timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bf_datei (
    id serial PRIMARY KEY, fall_id integer NOT NULL REFERENCES beratungsfall, originalname text NOT NULL,
    pfad text NOT NULL, groesse integer NOT NULL
);
