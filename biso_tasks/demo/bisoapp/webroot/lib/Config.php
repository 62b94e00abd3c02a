<?php
// Die Einstellungen der Anwendung: config.php setzt sie, der letzte Wert gilt.
final class Config
{
    private static array $werte = [];

    public static function set(string $name, mixed $wert): void
    {
        self::$werte[$name] = $wert;
    }

    public static function get(string $name, mixed $sonst = null): mixed
    {
        return self::$werte[$name] ?? $sonst;
    }
}
