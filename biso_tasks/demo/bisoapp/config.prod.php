<?php
/*
 * BISO: Einstellungen der Produktion.
 * Config::set('env', 'dev');            // früher, während der Einrichtung
 */
Config::set('env', 'PROD');
Config::set("bezeichnung", 'Beratungsstelle' . ' ' . "Demo");

# Config::set('datadir', '/srv/alt/biso-data');
Config::set('datadir', dirname(__DIR__) . '/data');   // neben dem Webroot

$port = @PORT@;
Config::set('gaia.db', [
    'host'     => '127.0.0.1',   // 'host' => 'db.alt.example',
    'port'     => (int) $port,
    'dbname'   => @DBNAME@,
    "user"     => @USER@,
    'password' => @PASSWORD@,
]);
@LOGDB@
if (false) {
    Config::set('gaia.db', ['host' => 'nirgends', 'dbname' => 'falsch']);
}
Config::set('upload.max', 20 * 1024 * 1024);
Config::set('sitzung.minuten', 30);
?>
