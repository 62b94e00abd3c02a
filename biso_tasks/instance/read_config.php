<?php
// Runs a config.php with a stub Config class and prints every value that was set, as tagged JSON
// after a marker line. Strings are base64: a password may hold bytes that are not UTF-8.
// argv: config file. What the file prints (HTML after its end tag, warnings) is thrown away.
class Config
{
    public static array $values = [];
    public static function set($key, $value = null) { self::$values[$key] = $value; return $value; }
    public static function get($key, $default = null) { return self::$values[$key] ?? $default; }
    public static function has($key) { return array_key_exists($key, self::$values); }
    public static function __callStatic($name, $arguments) { return null; }
}
function biso_tag($value)
{
    if (is_string($value)) { return ['s', base64_encode($value)]; }
    if (is_int($value)) { return ['i', $value]; }
    if (is_float($value)) { return ['f', $value]; }
    if (is_bool($value)) { return ['b', $value]; }
    if (is_array($value)) {
        $items = [];
        foreach ($value as $key => $item) { $items[] = [base64_encode((string) $key), biso_tag($item)]; }
        return ['a', $items];
    }
    return ['n', null];
}
$biso_done = false;
$biso_file = $argv[1];
register_shutdown_function(function () use (&$biso_done) {
    while (ob_get_level() > 0) { ob_end_clean(); }
    $error = error_get_last();
    $fatal = $error !== null && ($error['type'] & (E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR));
    $datadir = Config::$values[$GLOBALS['argv'][2]] ?? null;
    echo "\n@biso-facts ", json_encode([
        'complete' => $biso_done || !$fatal,
        'exits' => !$biso_done && !$fatal,
        'error' => $fatal ? preg_replace('/\n.*/s', '', $error['message']) . ' in line ' . $error['line'] : '',
        'php' => PHP_VERSION,
        'pgsql' => extension_loaded('pgsql') || extension_loaded('pdo_pgsql'),
        'values' => biso_tag(Config::$values),
        'realpath' => biso_tag(is_string($datadir) ? realpath($datadir) : false),
    ]), "\n";
});
if (!is_readable($biso_file)) { fwrite(STDERR, "biso-unreadable\n"); exit(66); }
ob_start();
(function () use ($biso_file) { require $biso_file; })();
$biso_done = true;
