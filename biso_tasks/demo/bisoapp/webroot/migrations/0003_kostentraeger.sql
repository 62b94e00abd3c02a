CREATE TABLE "Kostenträger" (
    "Id" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Kürzel" text NOT NULL UNIQUE, "Name" text
);
CREATE TABLE kunde_logo (kunde text PRIMARY KEY, bild oid NOT NULL);
CREATE VIEW v_offene_faelle AS
    SELECT f.id, f.fallnummer, f.eroeffnet, u.login AS berater
    FROM beratungsfall f LEFT JOIN users u ON u.id = f.berater_id WHERE f.status = 'offen';
CREATE FUNCTION person_geaendert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.geaendert := now();
    RETURN NEW;
END $$;
CREATE TRIGGER person_geaendert BEFORE UPDATE ON person
    FOR EACH ROW EXECUTE FUNCTION person_geaendert();
