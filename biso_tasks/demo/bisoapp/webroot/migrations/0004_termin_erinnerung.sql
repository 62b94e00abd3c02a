ALTER TABLE bf_termin ADD COLUMN erinnerung timestamptz;
UPDATE bf_termin SET erinnerung = beginn - interval '1 day';
