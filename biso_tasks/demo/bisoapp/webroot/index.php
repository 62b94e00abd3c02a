<?php
// Die Startseite: wer bedient wird und wie viele Fälle es gibt. Während der Wartung: 503.
require __DIR__ . '/lib/Config.php';
require __DIR__ . '/lib/Datenbank.php';
require __DIR__ . '/config.php';

function seite(int $status, string $titel, string $inhalt): never
{
    http_response_code($status);
    header('Content-Type: text/html; charset=utf-8');
    header('Cache-Control: no-store');
    echo "<!doctype html>\n<html lang=\"de\"><head><meta charset=\"utf-8\"><title>$titel</title>";
    echo "<link rel=\"stylesheet\" href=\"/css/stil.css\"></head>\n";
    echo "<body><h1>$titel</h1>\n$inhalt</body></html>\n";
    exit;
}

function text(mixed $wert): string
{
    return htmlspecialchars((string) $wert, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

clearstatcache();
if (file_exists(Config::get('datadir') . '/maintenance.on')) {
    header('Retry-After: 60');
    seite(503, 'Wartung', "<p>Die Anwendung wird gewartet. Bitte später wiederkommen.</p>\n");
}
try {
    $datenbank = new Datenbank(Config::get('gaia.db'));
    if (($_SERVER['REQUEST_METHOD'] ?? 'GET') === 'POST') {
        $datenbank->fuehreAus("INSERT INTO bf_log (aktion, details) VALUES ('Seite', '{}')");
    }
    [[$faelle, $kunde]] = $datenbank->fuehreAus(
        "SELECT (SELECT count(*) FROM beratungsfall),"
        . " (SELECT wert FROM params WHERE name = 'bezeichnung' ORDER BY kunde LIMIT 1)"
    );
    $termine = $datenbank->fuehreAus(
        "SELECT to_char(t.beginn, 'DD.MM.YYYY'), p.vorname || ' ' || p.nachname"
        . ' FROM bf_termin t JOIN beratungsfall f ON f.id = t.fall_id'
        . ' JOIN person p ON p.id = f.person_id ORDER BY t.beginn DESC, t.id LIMIT 3'
    );
} catch (Datenbankfehler $fehler) {
    error_log($fehler->getMessage());
    seite(500, 'Störung', "<p>Die Datenbank ist nicht erreichbar.</p>\n");
}
$inhalt = '<p>Umgebung: <b id="env">' . text(Config::get('env')) . "</b></p>\n";
$inhalt .= '<p>Beratungsfälle: <b id="faelle">' . text($faelle) . "</b></p>\n<ul>\n";
foreach ($termine as [$tag, $name]) {
    $inhalt .= '<li>' . text($tag) . ' ' . text($name) . "</li>\n";
}
seite(200, 'BISO ' . text($kunde), $inhalt . "</ul>\n");
