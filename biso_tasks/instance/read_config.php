<?php
// Runs a config.php with a stub Config class and prints every value that was set, as tagged JSON.
// Strings are base64: a password may hold bytes that are not UTF-8. The answer goes to the descriptor
// itself, past every output buffer, between two lines with a word of chance: what the file prints
// (before its start tag, in shutdown functions, as warnings) comes before or after it.
// argv: config file, that word, the keys of data dir, env and databases (the data dir's first).

class BisoTasksConfig
{
    public static array $values = [];
    public static function set($key, $value = null) { self::$values[$key] = $value; return $value; }
    public static function get($key, $default = null) { return self::$values[$key] ?? $default; }
    public static function has($key) { return array_key_exists($key, self::$values); }
    public static function __callStatic($name, $arguments) { return null; }
}

final class BisoTasksReader
{
    public static string $file = '';
    public static bool $done = false;
    private static string $word = '';
    private static $out;
    private static array $keys = [];

    public static function begin(array $arguments): void
    {
        [, self::$file, self::$word] = $arguments;
        self::$keys = array_slice($arguments, 3);
        // At first use, not now: a config.php may require a Config of its own. In a namespace as well.
        spl_autoload_register(static function ($name) {
            if (preg_match('/(^|\\\\)Config$/D', $name)) { class_alias('BisoTasksConfig', $name); }
        });
        register_shutdown_function([self::class, 'answer']);
        if (!is_readable(self::$file)) {
            file_put_contents('php://stderr', "biso-unreadable\n");
            exit(66);
        }
    }

    public static function answer(): void
    {
        $values = self::values();
        $datadir = $values[self::$keys[0]] ?? null;
        $text = json_encode([
            'error' => self::$done ? '' : self::error(),
            'php' => PHP_VERSION,
            'pgsql' => extension_loaded('pgsql') || extension_loaded('pdo_pgsql'),
            'values' => self::tag($values),
            'realpath' => self::tag(is_string($datadir) ? realpath($datadir) : false),
            'unset' => self::notInEnvironment(),
        ], JSON_PARTIAL_OUTPUT_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
        $word = self::$word;
        // Left open: it is descriptor 1 itself, and buffered output comes after this.
        self::$out = fopen('php://stdout', 'wb');
        fwrite(self::$out, "\n@biso-facts $word\n$text\n@biso-facts-end $word\n");
    }

    private static function error(): string
    {
        $error = error_get_last();
        $fatal = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR;
        if ($error === null || !($error['type'] & $fatal)) { return 'exit'; }
        $place = $error['file'] === self::$file ? '' : ' of ' . $error['file'];
        return preg_replace('/\n.*/s', '', $error['message']) . ' in line ' . $error['line'] . $place;
    }

    private static function values(): array
    {
        if (!class_exists('Config', false)) { return BisoTasksConfig::$values; }
        $class = new ReflectionClass('Config');
        if ($class->getName() === 'BisoTasksConfig') { return BisoTasksConfig::$values; }
        // Another Config came with the file. What it holds is in its static properties, somewhere.
        $found = [];
        foreach ($class->getStaticProperties() as $name => $held) {
            if (!self::collect($held, $found)) { $found["Config::\$$name"] = $held; }
        }
        foreach (self::$keys as $key) {
            if (!is_callable(['Config', 'get'])) { break; }
            try { $found[$key] = Config::get($key) ?? $found[$key] ?? null; } catch (Throwable $e) {}
        }
        return $found;
    }

    private static function collect($held, array &$found, int $depth = 0): bool
    {
        if (is_object($held)) { $held = (array) $held; }
        if (!is_array($held) || $depth > 6) { return false; }
        foreach (self::$keys as $key) {
            if (array_key_exists($key, $held)) { $found = $held + $found; return true; }
        }
        foreach ($held as $item) {
            if (self::collect($item, $found, $depth + 1)) { return true; }
        }
        return false;
    }

    private static function tag($value, int $depth = 0): array
    {
        if (is_string($value)) { return ['s', base64_encode($value)]; }
        if (is_int($value)) { return ['i', $value]; }
        if (is_float($value) && is_finite($value)) { return ['f', $value]; }
        if (is_bool($value)) { return ['b', $value]; }
        if (!is_array($value) || $depth > 40) { return ['n', null]; }
        $items = [];
        foreach ($value as $key => $item) {
            $items[] = [base64_encode((string) $key), self::tag($item, $depth + 1)];
        }
        return ['a', $items];
    }

    // What the file asks the environment for and does not get: a web server's is another one.
    private static function notInEnvironment(): array
    {
        $ask = '/\bgetenv\s*\(\s*[\'"](\w+)[\'"]|\$_(?:ENV|SERVER)\s*\[\s*[\'"](\w+)[\'"]/';
        preg_match_all($ask, (string) @file_get_contents(self::$file), $found);
        $names = array_filter(array_unique(array_merge($found[1], $found[2])));
        $lacks = static function ($name) { return getenv($name) === false && !isset($_SERVER[$name]); };
        return array_values(array_filter($names, $lacks));
    }
}

BisoTasksReader::begin($argv);
$argv = $_SERVER['argv'] = ['biso-cli'];
$argc = $_SERVER['argc'] = 1;
require BisoTasksReader::$file;
BisoTasksReader::$done = true;
