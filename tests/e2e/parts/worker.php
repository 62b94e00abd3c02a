<?php
// A queue runner as BISO has one: sends what is queued, and calls the webhook, again and again.
$webroot = $argv[1];
require $webroot . '/lib/Config.php';
require $webroot . '/lib/Datenbank.php';
require $webroot . '/config.php';

function sende(string $ziel, string $text): void
{
    [$host, $port] = explode(':', $ziel) + [1 => '25'];
    $leitung = @fsockopen($host, (int) $port, $nummer, $fehler, 2);
    if ($leitung !== false) {
        fwrite($leitung, $text . "\n");
        fclose($leitung);
    }
}

while (true) {
    usleep(100000);
    if (file_exists(Config::get('datadir') . '/maintenance.on')) {
        continue;
    }
    try {
        $datenbank = new Datenbank(Config::get('gaia.db'));
        $wert = fn ($name) => $datenbank->fuehreAus(
            "SELECT wert FROM params WHERE name = :'name'", ['name' => $name])[0][0] ?? '';
        $offen = $datenbank->fuehreAus(
            "UPDATE postausgang SET status = 'gesendet' WHERE status = 'offen' RETURNING an");
        foreach ($offen as [$an]) {
            sende($wert('mail.server'), "RCPT TO:<$an>");
        }
        if ($wert('webhook') !== '') {
            sende($wert('webhook'), 'POST / HTTP/1.0');
        }
        touch(Config::get('datadir') . '/queue.lebt');
    } catch (Datenbankfehler) {
        // the database is being exchanged
    }
}
