"""config.php as people have it: what PHP sees is what counts, whatever the file does besides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from biso_tasks.config.model import Environment
from biso_tasks.demo.php import install_php
from biso_tasks.errors import BisoError, Refused
from biso_tasks.host import LocalHost
from biso_tasks.instance.app import App
from biso_tasks.instance.config_php import Facts, read_facts, read_planned

pytestmark = [pytest.mark.real, pytest.mark.needs("php")]

PLAIN = """
Config::set('env', 'dev');
Config::set('datadir', __DIR__ . '/data');
Config::set('gaia.db', ['host' => 'h', 'dbname' => 'biso_test', 'user' => 'u',
    'password' => "geheim '\\"\\\\ \\xff"]);
"""
REAL_CLASS = """<?php
class Config {
    const ROOT = '/srv';
    private static $store = %s;
    public static function set($key, $value) { %s }
    public static function get($key) { %s }
}
"""


@pytest.fixture(scope="module")
def php(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("php")
    return str(install_php(place / "lib", place / "bin"))


@pytest.fixture(autouse=True)
def _php(php: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(php).parent), prepend=":")


@pytest.fixture
def webroot(tmp_path: Path) -> Path:
    folder = tmp_path / "web 'root' ä"
    folder.mkdir()
    return folder


def environment(webroot: Path, *php: str) -> Environment:
    return Environment(name="test", role="test", webroot=str(webroot), php=("php", *php))


def read(local: LocalHost, webroot: Path, text: str, *php: str) -> Facts:
    (webroot / "config.php").write_text(text, "utf-8")
    found = environment(webroot, *php)
    return read_facts(App(local, found, str(webroot), str(webroot)), found)


def planned(local: LocalHost, webroot: Path, text: str) -> Facts:
    """The same text as if it were there: it is not."""
    files = {"config.php": text.encode("utf-8")}
    for path in webroot.rglob("*.php"):
        if path.name != "config.php":
            files[str(path.relative_to(webroot))] = path.read_bytes()
    return read_planned(local, environment(webroot), str(webroot), files)


def require_right(facts: Facts, webroot: Path) -> None:
    assert facts.env == "dev"
    assert facts.datadir == f"{webroot}/data"
    assert (facts.database.dbname, facts.database.user) == ("biso_test", "u")
    assert facts.database.password.reveal() == "geheim '\"\\ \udcff"


@pytest.mark.parametrize(
    "text",
    [
        f"<?php {PLAIN}",
        f"\ufeff<?php {PLAIN}",
        f"<!-- text --> \n<?php {PLAIN} ?>\nand more\n",
        f"<?php {PLAIN} return; Config::set('env', 'PROD');",
        f"<?php {PLAIN} return ['env' => 'PROD'];",
        f"<?php declare(strict_types=1); {PLAIN}",
        f"<?php namespace Biso\\Site; {PLAIN}",
        f"<?php namespace Biso\\Site; use Config; {PLAIN}",
        f"<?php namespace Biso\\Site; use Biso\\Core\\Config; {PLAIN}",
        f"<?php namespace Biso; {PLAIN.replace('Config::', chr(92) + 'Config::')}",
        f"<?php echo 'before'; {PLAIN} echo 'after';",
        f"<?php {PLAIN} register_shutdown_function(fn() => print('late {{'));",
        f"<?php {PLAIN} register_shutdown_function(function () {{ echo 'x'; exit(3); }});",
        f"<?php {PLAIN} register_shutdown_function(function () {{ throw new Error('late'); }});",
        f'<?php {PLAIN} echo "\\n@biso-facts ", \'{{"complete": true}}\', "\\n";',
        f"<?php {PLAIN} print_r(debug_backtrace()); var_dump($GLOBALS['argv']);",
        f"<?php ob_start(); {PLAIN} echo 'kept';",
        f"<?php ob_start(fn($all) => strtoupper($all)); {PLAIN} echo 'kept';",
        f"<?php ob_start(null, 0, 0); {PLAIN} echo 'not to be removed';",
        f"<?php {PLAIN} while (ob_get_level()) ob_end_flush(); ob_start(); ob_start(); echo 1;",
        f"<?php error_reporting(E_ALL); ini_set('display_errors', '1'); echo $nowhere; {PLAIN}"
        " $old = utf8_decode('x'); trigger_error('careful', E_USER_DEPRECATED); echo $nowhere;",
        f"<?php set_error_handler(fn() => true); echo $nowhere; {PLAIN}",
        f"<?php {PLAIN} if ($_SERVER['HTTP_HOST'] === 'biso.example') Config::set('env', 'PROD');",
        f"<?php {PLAIN} if (getenv('BISO_PRODUCTION')) Config::set('env', 'PROD');",
        f"<?php $all = []; {PLAIN} $all['all'] = &$all; Config::set('all', $all);",
        f"<?php {PLAIN} Config::set('ratio', INF); Config::set('bad', NAN); Config::set('l', 1.5);",
        f"<?php {PLAIN} Config::set('mailer', fn() => 1); Config::set('o', new ArrayObject([1]));",
        f"<?php {PLAIN} $base = 'x'; function base() {{ global $base; return $base; }}"
        " if (base() !== 'x') Config::set('env', 'PROD');",
        f"<?php define('DB', 'biso_test'); {PLAIN.replace(chr(39) + 'biso_test' + chr(39), 'DB')}",
        "<?php const BASE = __DIR__; "
        + PLAIN.replace("__DIR__ .", "BASE . ")
        + "if (basename(__FILE__) !== 'config.php') Config::set('env', 'PROD');",
        "<?php require __DIR__ . '/config.local.php';",
        "<?php (function () { require_once dirname(__FILE__) . '/config.local.php'; })();",
        f"<?php {PLAIN} Config::set('db', Config::get('gaia.db')); "
        "Config::set('gaia.db', Config::get('db')); Config::set('env', Config::get('env', 'PROD'));"
        "if (Config::has('no') || Config::get('no') !== null) Config::set('env', 'PROD');"
        "Config::load('anything'); if (!class_exists('Config', false)) Config::set('env', 'PROD');",
        f"<?php if (!class_exists('Config')) require 'gone.php'; {PLAIN}",
        f"<?php {PLAIN} error_clear_last(); chdir('/');",
        f"<?php {PLAIN} try {{ throw new Exception('no'); }} catch (Exception $e) {{}}",
    ],
)
def test_what_it_sets_is_read_whatever_else_it_does(
    local: LocalHost, webroot: Path, text: str
) -> None:
    (webroot / "config.local.php").write_text(f"<?php {PLAIN}")
    require_right(read(local, webroot, text), webroot)
    require_right(planned(local, webroot, text), webroot)


@pytest.mark.parametrize(
    ("store", "set_", "get"),
    [
        ("[]", "self::$store[$key] = $value;", "return self::$store[$key] ?? null;"),
        (
            "null",
            "self::$store ??= new ArrayObject(); self::$store[$key] = $value;",
            "return self::$store[$key] ?? null;",
        ),
        (
            "['a' => ['all' => []]]",
            "self::$store['a']['all'][$key] = $value;",
            "return self::$store['a']['all'][$key] ?? null;",
        ),
        (  # as one that splits keys at their dots
            "[]",
            "[$a, $b] = explode('.', \"$key.\"); self::$store[$a][$b] = $value;",
            "[$a, $b] = explode('.', \"$key.\"); return self::$store[$a][$b] ?? null;",
        ),
    ],
)
def test_a_class_config_that_it_brings_itself_is_understood(
    local: LocalHost, webroot: Path, store: str, set_: str, get: str
) -> None:
    (webroot / "lib").mkdir()
    (webroot / "lib/Config.php").write_text(REAL_CLASS % (store, set_, get))
    text = f"<?php require_once __DIR__ . '/lib/Config.php'; $root = Config::ROOT; {PLAIN}"
    for facts in (read(local, webroot, text), planned(local, webroot, text)):
        require_right(facts, webroot)
        assert "biso_test" in str(facts.values), "all it holds is searched for live names"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "<?php defined('BISO') or die('No direct access');",
            "saying: No direct access",
            "prepend",
        ),
        ("<?php\nexit;", "ends with `exit` or `die` before it sets 'gaia.db'", "take that out"),
        (
            "<?php Config::set('datadir', '/srv/x'); die(Config::get('datadir') . ' is full');",
            "saying: … is full",
            "take that out",
        ),
        ("<?php ob_start(); die('x');", "saying: x", "take that out"),
        ("<?php\nConfig::set('env', ;\n", "is broken PHP: syntax error", "mend the file"),
        ("<?php\n\nthrow new Exception('gr\xfcn');", "Uncaught Exception: grün", "mend the file"),
        ("<?php\nrequire __DIR__ . '/config.local.php';", "Failed opening required", "mend the"),
        ("<?php\nrequire __DIR__ . '/broken.php';", "broken.php", "mend the file"),
        ("\ufeff<?php namespace Biso; ", "Namespace declaration", "mend the file"),
        ("<?php Config::set('env', 'dev');", "does not set 'gaia.db'", "config_keys"),
        (
            "<?php Config::set('gaia.db', ['dbname' => getenv('BISO_DB')]);",
            "asks the environment for BISO_DB, not set on the command line",
            "config_keys",
        ),
        (f"<?php {PLAIN} str_repeat('x', PHP_INT_MAX);", "is broken PHP", "mend the file"),
        ("", "does not set", "config_keys"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(
    local: LocalHost, webroot: Path, text: str, message: str, hint: str
) -> None:
    (webroot / "broken.php").write_text("<?php )")
    for reading in (lambda: read(local, webroot, text), lambda: planned(local, webroot, text)):
        with pytest.raises(Refused) as raised:
            reading()
        assert message in raised.value.message
        assert "\n" not in raised.value.message
    with pytest.raises(Refused) as raised:
        read(local, webroot, text)
    assert hint in raised.value.hint


@pytest.mark.parametrize("end", ["exit;", "die('weg');", "return exit(0);"])
def test_one_that_ends_the_program_after_all_is_set_says_so(
    local: LocalHost, webroot: Path, end: str
) -> None:
    for reading in (read, planned):
        facts = reading(local, webroot, f"<?php {PLAIN} {end}")
        require_right(facts, webroot)
        assert facts.exits
    assert not read(local, webroot, f"<?php {PLAIN} return;").exits


def test_what_it_waits_for_can_be_given_to_php(local: LocalHost, webroot: Path) -> None:
    before = webroot / "before.php"
    before.write_text("<?php define('BISO', 1);")
    text = f"<?php defined('BISO') or die('No direct access'); {PLAIN}"
    require_right(read(local, webroot, text, "-d", f"auto_prepend_file={before}"), webroot)


def test_a_file_that_is_not_there_is_said(local: LocalHost, webroot: Path) -> None:
    found = environment(webroot)
    app = App(local, found, str(webroot), str(webroot))
    with pytest.raises(Refused, match=r"config\.php is not there") as raised:
        read_facts(app, found)
    assert ".webroot" in raised.value.hint


def test_a_php_that_is_none_is_said_with_what_to_try(local: LocalHost, webroot: Path) -> None:
    (webroot / "config.php").write_text(f"<?php {PLAIN}")
    found = replace(environment(webroot), php=("php-of-nowhere",))
    with pytest.raises(BisoError, match="there is no `php-of-nowhere`") as missing:
        read_facts(App(local, found, str(webroot), str(webroot)), found)
    assert "apt install php-cli" in missing.value.hint
    for program in ("cat", "true"):
        found = replace(environment(webroot), php=(program,))
        with pytest.raises(BisoError) as raised:
            read_facts(App(local, found, str(webroot), str(webroot)), found)
        assert "did not evaluate it" in raised.value.message
        assert "-v" in raised.value.hint
