<?php
// BISO: Einstellungen der Testinstanz.

// Config::set('env', 'PROD');
Config::set('env', 'dev');

$daten = 'data';
Config::set('datadir', __DIR__ . "/$daten");          // im Webroot

$db = array('host' => '127.0.0.1', 'port' => @PORT@);
$db['dbname'] = @DBNAME@;
$db['user'] = @USER@;
$db['password'] = @PASSWORD@;
Config::set('gaia.db', $db);
@LOGDB@
Config::set('upload.max', 5 << 20);
/* Config::set('mail.versand', true); */
Config::set('mail.versand', false);

return [];
