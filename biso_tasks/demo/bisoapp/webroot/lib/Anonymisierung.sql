-- Was Personen erkennbar macht, wird ersetzt; die Dateien im Datenverzeichnis bleiben unberührt.
UPDATE person SET
    anrede = '', vorname = 'Vorname ' || id, nachname = 'Nachname ' || id,
    geburtsdatum = date_trunc('year', geburtsdatum)::date,
    strasse = 'Musterweg ' || (id % 99 + 1), plz = '0000', ort = 'Musterstadt',
    telefon = NULL, email = 'person' || id || '@beispiel.invalid', ahv_nr = NULL,
    bemerkung = 'Anonymisiert.', angaben = '{}';
UPDATE beratungsfall SET titel = 'Fall ' || id, anliegen = 'Anonymisiert.';
UPDATE bf_termin SET betreff = 'Termin ' || id, teilnehmer = 'Anonymisiert.';
UPDATE bf_termin_protokoll SET text = 'Anonymisiert.';
UPDATE bf_notiz SET text = 'Anonymisiert.';
UPDATE bf_log SET aktion = 'Eintrag', details = '{}';
UPDATE bf_datei SET originalname = 'Datei ' || id;
