<?php
// Der Weg zur Datenbank: immer über psql, damit PHP ohne die Erweiterung pgsql genügt.
// Das Passwort steht in einer Datei mit Modus 0600, nie in Argumenten oder in der Umgebung.
final class Datenbankfehler extends RuntimeException
{
}

final class Datenbank
{
    private ?string $passwortdatei = null;

    public function __construct(private array $ziel)
    {
    }

    public function __destruct()
    {
        if ($this->passwortdatei !== null) {
            @unlink($this->passwortdatei);
        }
    }

    /** Führt SQL in einer Transaktion aus; :'name' steht für $werte['name'].
     *  Gibt die Zeilen als Listen von Texten zurück. */
    public function fuehreAus(string $sql, array $werte = []): array
    {
        $befehl = ['psql', '-X', '-q', '-1', '-A', '-t', '-F', "\x1f", '-v', 'ON_ERROR_STOP=1'];
        foreach ($werte as $name => $wert) {
            array_push($befehl, '-v', $name . '=' . $wert);
        }
        array_push($befehl, '-h', (string) $this->ziel['host'], '-p', (string) $this->ziel['port']);
        array_push($befehl, '-U', $this->ziel['user'], '-d', $this->verbindung(), '-f', '-');
        [$ein, $aus, $fehler] = [tmpfile(), tmpfile(), tmpfile()];
        fwrite($ein, $sql);
        rewind($ein);
        $umgebung = [
            'PATH' => getenv('PATH') ?: '/usr/local/bin:/usr/bin:/bin',
            'PGPASSFILE' => $this->passwortdatei(),
            'PGCLIENTENCODING' => 'UTF8',
            'PGCONNECT_TIMEOUT' => '5',
            'PGAPPNAME' => 'biso',
        ];
        $prozess = @proc_open($befehl, [$ein, $aus, $fehler], $rohre, null, $umgebung);
        if ($prozess === false) {
            throw new Datenbankfehler('psql konnte nicht gestartet werden');
        }
        $code = proc_close($prozess);
        if ($code !== 0) {
            rewind($fehler);
            $text = trim((string) stream_get_contents($fehler));
            throw new Datenbankfehler($text !== '' ? $text : "psql endete mit $code");
        }
        rewind($aus);
        $text = rtrim((string) stream_get_contents($aus), "\n");
        if ($text === '') {
            return [];
        }
        return array_map(fn ($zeile) => explode("\x1f", $zeile), explode("\n", $text));
    }

    /** Der Name der Datenbank als Verbindungszeile: ein Name mit "=" wäre sonst selbst eine. */
    private function verbindung(): string
    {
        $name = strtr($this->ziel['dbname'], ['\\' => '\\\\', "'" => "\\'"]);
        return "dbname='$name'";
    }

    private function passwortdatei(): string
    {
        if ($this->passwortdatei === null) {
            $datei = tempnam(sys_get_temp_dir(), 'biso');
            chmod($datei, 0600);
            $passwort = strtr($this->ziel['password'], ['\\' => '\\\\', ':' => '\\:']);
            file_put_contents($datei, "*:*:*:*:$passwort\n");
            $this->passwortdatei = $datei;
        }
        return $this->passwortdatei;
    }
}
