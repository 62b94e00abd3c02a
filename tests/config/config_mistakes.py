"""Mistakes in biso.toml: what is written, and the line that a person reads."""

from __future__ import annotations

__all__ = ["MISTAKES"]

TEST = "environments.test"

# Appended to the base at line 7, inside [environments.test]: what is printed after "biso.toml:".
MISTAKES = {
    "a key that is nearly right": (
        'run_az = "www-data"\n',
        f'7: {TEST}.run_az: unknown key (did you mean "run_as"?)',
    ),
    "a key of another section": (
        "keep_tables = []\n",
        f"7: {TEST}.keep_tables: unknown key (it belongs in [refresh])",
    ),
    "a section that is nearly right": (
        "[refesh]\n",
        '7: refesh: unknown key (did you mean "refresh"?)',
    ),
    "a key that resembles nothing": (
        "[ssh]\nzzz = 1\n",
        "8: ssh.zzz: unknown key (known here: config, known_hosts)",
    ),
    "a password": (
        'database = { password = "geheim" }\n',
        f"7: {TEST}.database.password: passwords never stand in biso.toml (the application's is in "
        "config.php, and admin connects without one (see run_as))",
    ),
    "a password for the administrator": (
        '[environments.test.database.admin]\npassword = "geheim"\n',
        f"8: {TEST}.database.admin.password: passwords never stand in biso.toml (the application's "
        "is in config.php, and admin connects without one (see run_as))",
    ),
    "a quoted truth value": (
        'sudo = "true"\n',
        f'7: {TEST}.sudo: expected true or false, got "true" (without quotes: true)',
    ),
    "yes for true": (
        'sudo = "yes"\n',
        f'7: {TEST}.sudo: expected true or false, got "yes" (without quotes: true)',
    ),
    "a number for true": (
        "sudo = 1\n",
        f"7: {TEST}.sudo: expected true or false, got 1 (write true or false)",
    ),
    "a number where text belongs": (
        "run_as = 33\n",
        f'7: {TEST}.run_as: expected a string, got 33 (write "33")',
    ),
    "an array where text belongs": (
        'run_as = ["www-data"]\n',
        f'7: {TEST}.run_as: expected a string, got ["www-data"] '
        "(write one value in quotes, without brackets)",
    ),
    "a command as one string": (
        'biso_cli = "php8.2 biso-cli"\n',
        f'7: {TEST}.biso_cli: expected an array of words, got "php8.2 biso-cli" '
        '(write ["php8.2", "biso-cli"])',
    ),
    "an empty command": (
        "php = []\n",
        f"7: {TEST}.php: is empty (give the program and its arguments)",
    ),
    "a number in a command": (
        'php = ["php", "-d", 1]\n',
        f'7: {TEST}.php: word 3 is 1, not a string (write "1")',
    ),
    "a command that begins with an option": (
        'php = ["-r"]\n',
        f'7: {TEST}.php: "-r" is no program (begin with the program\'s name or path)',
    ),
    "one service as a string": (
        '[environments.test.services]\nkind = "systemd"\nstop = "apache2"\n',
        f'9: {TEST}.services.stop: expected an array, got "apache2" (write ["apache2"])',
    ),
    "a service that is no string, on a line of its own": (
        '[environments.test.services]\nkind = "systemd"\nstop = [\n  "apache2", # web\n  7,\n]\n',
        f'11: {TEST}.services.stop[1]: expected a string, got 7 (write "7")',
    ),
    "services as a string": (
        'services = "systemd"\n',
        f'7: {TEST}.services: expected a table, got "systemd" '
        f"(write [{TEST}.services] and its keys below it)",
    ),
    "systemd without services": (
        '[environments.test.services]\nkind = "systemd"\n',
        f'7: {TEST}.services.stop: is missing with kind = "systemd" (name the services, such as '
        '["apache2", "php8.2-fpm"], or write kind = "none")',
    ),
    "systemd with an empty list": (
        '[environments.test.services]\nkind = "systemd"\nstop = []\n',
        f'9: {TEST}.services.stop: is empty with kind = "systemd" (name the services, such as '
        '["apache2", "php8.2-fpm"], or write kind = "none")',
    ),
    "services to stop, and no kind": (
        '[environments.test.services]\nstop = ["apache2"]\n',
        f'8: {TEST}.services.stop: means nothing with kind = "none" '
        '(write kind = "systemd", "compose" or "command", or remove it)',
    ),
    "compose without its web service": (
        '[environments.test.services]\nkind = "compose"\ndirectory = "/srv/biso"\n',
        f'7: {TEST}.services.web: is missing with kind = "compose" (the service in which PHP runs)',
    ),
    "compose without its folder": (
        '[environments.test.services]\nkind = "compose"\nweb = "web83"\n',
        f'7: {TEST}.services.directory: is missing with kind = "compose" '
        "(the folder of its compose file on the host)",
    ),
    "own commands without one to start": (
        '[environments.test.services]\nkind = "command"\nstop = ["biso"]\n'
        'stop_command = ["svc", "-d", "{service}"]\n',
        f'7: {TEST}.services.start_command: is missing with kind = "command" '
        '(such as ["svc", "-u", "{service}"])',
    ),
    "own commands without one to stop": (
        '[environments.test.services]\nkind = "command"\nstop = ["biso"]\n'
        'start_command = ["svc", "-u", "{service}"]\n',
        f'7: {TEST}.services.stop_command: is missing with kind = "command" '
        '(such as ["svc", "-d", "{service}"])',
    ),
    "a kind that is nearly right": (
        'services = { kind = "systemctl" }\n',
        f'7: {TEST}.services.kind: expected "systemd", "compose", "command" or "none", got '
        '"systemctl" (did you mean "systemd"?)',
    ),
    "a relative path": (
        'datadir = "data"\n',
        f'7: {TEST}.datadir: "data" is not absolute '
        '(write "/data", or "./data" for a path beside biso.toml)',
    ),
    "a home on a host": (
        'datadir = "~/data"\n',
        f'7: {TEST}.datadir: "~/data" depends on who logs in (write the absolute path)',
    ),
    "a path through ..": (
        'datadir = "/srv/../etc"\n',
        f'7: {TEST}.datadir: must not contain ".." (write where it really is)',
    ),
    "the root of the machine": (
        'datadir = "//"\n',
        f'7: {TEST}.datadir: must not be "/" (write the folder itself)',
    ),
    "a newline in a path": (
        'datadir = "/srv/da\\nta"\n',
        f"7: {TEST}.datadir: holds the control character U+000A "
        "(write it as one line of printable characters)",
    ),
    "a NUL in a name": (
        'run_as = "www\\u0000data"\n',
        f"7: {TEST}.run_as: holds the control character U+0000 "
        "(write it as one line of printable characters)",
    ),
    "an empty path": (
        'datadir = ""\n',
        f"7: {TEST}.datadir: is empty (leave the key out for its default)",
    ),
    "an absolute config.php": (
        'config = "/etc/biso/config.php"\n',
        f'7: {TEST}.config: "/etc/biso/config.php" is absolute '
        '(write it relative, such as "config.php")',
    ),
    "a stage in the webroot": (
        'stage_dir = "/srv/test/.stage"\n',
        f"7: {TEST}.stage_dir: lies inside the webroot, so that the web server would serve the "
        "stage (choose a directory outside every document root, on the same filesystem)",
    ),
    "a stage in production's webroot on the same host": (
        'stage_dir = "/srv/prod/.stage"\n',
        f'7: {TEST}.stage_dir: lies inside the webroot of "prod", which would serve the stage '
        "(choose a directory outside every document root, on the same filesystem)",
    ),
    "a stage around the webroot": (
        'stage_dir = "/srv"\n',
        f"7: {TEST}.stage_dir: holds the webroot, and a stage directory is closed to the web "
        "server (choose a directory of its own, on the same filesystem)",
    ),
    "a stage that is the data dir": (
        'datadir = "/data/biso"\nstage_dir = "/data/biso/"\n',
        f"8: {TEST}.stage_dir: is the data dir or holds it "
        "(choose a directory of its own, on the same filesystem)",
    ),
    "a data dir around the webroot": (
        'datadir = "/srv"\n',
        f"7: {TEST}.datadir: the webroot lies inside it, so that neither can be exchanged by "
        "itself (write the folder that config.php names as datadir)",
    ),
    "an option as a host": (
        'ssh = "-oProxyCommand=touch /tmp/x"\n',
        f'7: {TEST}.ssh: "-oProxyCommand=touch /tmp/x" begins with "-" '
        "(ssh would take it for an option)",
    ),
    "an option behind a user": (
        'ssh = "biso@-oProxyCommand=x"\n',
        f'7: {TEST}.ssh: "biso@-oProxyCommand=x" begins with "-" (ssh would take it for an option)',
    ),
    "a host with a space": (
        'ssh = "biso test"\n',
        f'7: {TEST}.ssh: "biso test" holds " " (write an ssh_config alias or user@host:port)',
    ),
    "a shell expansion as a host": (
        'ssh = "$(id)"\n',
        f'7: {TEST}.ssh: "$(id)" holds "$" (write an ssh_config alias or user@host:port)',
    ),
    "a path behind the host": (
        'ssh = "biso-test:/var/www"\n',
        f'7: {TEST}.ssh: "biso-test:/var/www" holds "/" '
        "(write an ssh_config alias or user@host:port)",
    ),
    "an ssh URL": (
        'ssh = "ssh://biso@host/"\n',
        f'7: {TEST}.ssh: "ssh://biso@host/" is a URL (write "biso@host")',
    ),
    "a port that does not exist": (
        'ssh = "biso@host:99999"\n',
        f"7: {TEST}.ssh: port 99999 does not exist (ports are 1 to 65535)",
    ),
    "a user with a group": (
        'run_as = "www-data:www-data"\n',
        f'7: {TEST}.run_as: "www-data:www-data" is no user (write "www-data")',
    ),
    "an owner without a group's name": (
        'owner = "www-data:"\n',
        f'7: {TEST}.owner: "www-data:" is no owner '
        '(write "user:group", such as "www-data:www-data")',
    ),
    "a URL without its scheme": (
        'url = "test.example.org"\n',
        f'7: {TEST}.url: "test.example.org" is no URL (write "https://host/path")',
    ),
    "a URL with a password": (
        'url = "https://biso:geheim@test.example.org/"\n',
        f"7: {TEST}.url: holds a password (leave it out: the URL is shown in plans and reports)",
    ),
    "a text that is no regular expression": (
        'texts = { no_migrations = "(keine" }\n',
        f"7: {TEST}.texts.no_migrations: is no regular expression: missing ), unterminated "
        "subpattern at position 0 (write the text that is matched, \\ before special characters)",
    ),
    "a text that Python's regular expressions warn about": (
        'texts = { no_migrations = "[[a]" }\n',
        f"7: {TEST}.texts.no_migrations: is no regular expression: Possible nested set at position "
        "1 (write the text that is matched, \\ before special characters)",
    ),
    "a renamed key that is unknown": (
        'config_keys = { databse = "db" }\n',
        f'7: {TEST}.config_keys.databse: unknown key (did you mean "database"?)',
    ),
    "two keys of config.php with one name": (
        'config_keys = { datadir = "env" }\n',
        f'7: {TEST}.config_keys.datadir: "env" is also the key for env '
        "(each has its own key in config.php)",
    ),
    "a database name that PostgreSQL would cut": (
        f'database = {{ dbname = "{"ü" * 32}" }}\n',
        f"7: {TEST}.database.dbname: is 64 bytes long, and PostgreSQL cuts names to 63 "
        "(write the name that `psql -l` and `\\du` show)",
    ),
    "a quoted port": (
        'database = { port = "5432" }\n',
        f'7: {TEST}.database.port: expected a whole number from 1 to 65535, got "5432" '
        "(without quotes: 5432)",
    ),
    "an environment's keys without its name": (
        '[environments]\nssh = "x"\n',
        '8: environments.ssh: expected a table, got "x" '
        "(keys stand in a table with a name: [environments.NAME])",
    ),
    "an environment's name with a space": (
        '[environments."my test"]\nrole = "test"\nwebroot = "/srv/my"\n',
        '7: environments."my test": "my test" is no name for it (use up to 40 letters (a to z), '
        'digits, "-" and "_", beginning with a letter or digit)',
    ),
    "an environment without a webroot": (
        '[environments.third]\nrole = "test"\n',
        "7: environments.third.webroot: is missing (write webroot = …: where BISO's code lies)",
    ),
    "an environment without a role": (
        '[environments.third]\nwebroot = "/srv/third"\n',
        '7: environments.third.role: is missing (write role = "production" or "test")',
    ),
    "one webroot in two environments": (
        '[environments.third]\nrole = "test"\nwebroot = "/srv/./prod/"\n',
        '9: environments.third.webroot: "/srv/prod" is the webroot of "prod" too, on the same '
        "host (each environment has its own; check ssh as well)",
    ),
    "a duration without a unit": (
        "[refresh]\nkeep_previous = 3\n",
        '8: refresh.keep_previous: expected a duration such as "10m", got 3 (add the unit: "3s")',
    ),
    "a duration with an unknown unit": (
        '[refresh]\nkeep_previous = "3 days"\n',
        '8: refresh.keep_previous: expected a duration such as "10m", got "3 days" '
        '(write one number and s, m, h, d or w, such as "90s", "12h", "3d")',
    ),
    "no time at all": (
        '[backup]\nmax_maintenance = "0m"\n',
        '8: backup.max_maintenance: "0m" is no time at all (write a longer one, such as "10m")',
    ),
    "a negative count": (
        "[backup]\nkeep = { last = -1 }\n",
        "8: backup.keep.last: expected a whole number from 0 to 1000000, got -1 (the lowest is 0)",
    ),
    "sets in the webroot": (
        '[backup]\npath = "/srv/prod/backups"\n',
        '8: backup.path: lies inside the webroot of "prod", which would serve the sets '
        "(choose a directory outside every document root)",
    ),
    "a backup of an unknown environment": (
        '[backup]\nenvironment = "live"\n',
        '8: backup.environment: no environment is called "live" (choose "prod" or "test")',
    ),
    "a refresh from an unknown environment": (
        '[refresh]\nfrom = "prd"\n',
        '8: refresh.from: no environment is called "prd" (did you mean "prod"?)',
    ),
    "a refresh into an unknown environment": (
        '[refresh]\nto = "tset"\n',
        '8: refresh.to: no environment is called "tset" (did you mean "test"?)',
    ),
    "a refresh of an environment from itself": (
        '[refresh]\nfrom = "test"\nto = "test"\n',
        '9: refresh.to: source and target are both "test" '
        "(refresh.from is the source, refresh.to the target)",
    ),
    "anonymize in words": (
        '[refresh]\nanonymize = "yes"\n',
        '8: refresh.anonymize: expected true, false or "required", got "yes" '
        '(write true, false or "required")',
    ),
    "anonymize in quotes": (
        '[refresh]\nanonymize = "true"\n',
        '8: refresh.anonymize: expected true, false or "required", got "true" '
        "(without quotes: true)",
    ),
    "anonymize as a number": (
        "[refresh]\nanonymize = 1\n",
        '8: refresh.anonymize: expected true, false or "required", got 1 '
        '(write true, false or "required")',
    ),
    "a source that is nearly right": (
        '[refresh]\nsource = "lvie"\n',
        '8: refresh.source: expected "live", "latest" or "released" or the id of a backup set, '
        'got "lvie" (did you mean "live"?)',
    ),
    "a source that is not allowed": (
        '[refresh]\nsource = "live"\nsources_allowed = ["released"]\n',
        '8: refresh.source: "live" is not among refresh.sources_allowed '
        '(add "live" there, or choose another source)',
    ),
    "a release made in production": (
        '[release]\nenvironment = "prod"\n',
        '8: release.environment: "prod" is a production environment (a release is made in the '
        "stage of a test environment, on a host that is protected)",
    ),
    "a release made nowhere": (
        '[release]\nenvironment = "tset"\n',
        '8: release.environment: no environment is called "tset" (did you mean "test"?)',
    ),
    "a nightly release that nobody would take": (
        '[schedule]\nrelease = "01:00"\n[release]\nallowed_signers = "who"\n',
        "9: release.sign: is missing: allowed_signers refuses what is not signed "
        "(write the path of the key, such as ~/.ssh/biso_release)",
    ),
    "an unknown file policy": (
        '[refresh.files]\n"*.pdf" = "placeholdr"\n',
        '8: refresh.files."*.pdf": expected "copy", "placeholder" or "skip", got "placeholdr" '
        '(did you mean "placeholder"?)',
    ),
    "an absolute file pattern": (
        '[refresh.files]\n"/fonts/**" = "copy"\n',
        '8: refresh.files."/fonts/**": never matches, as paths are relative to the data dir '
        '(write "fonts/**")',
    ),
    "a file pattern that names only a folder": (
        '[refresh.files]\n"fonts/" = "copy"\n',
        '8: refresh.files."fonts/": never matches, as it ends in a slash (write "fonts/**")',
    ),
    "a file pattern below the one for everything": (
        '[refresh.files]\n"**" = "skip"\n"fonts/**" = "copy"\n',
        '9: refresh.files."fonts/**": is never reached, as "**" above it matches everything '
        '(put it above "**": the first match counts)',
    ),
    "rows by a condition in place": (
        '[refresh]\nstrategy = "in-place"\nkeep_rows = { users = "id < 9" }\n',
        '9: refresh.keep_rows.users: means nothing with strategy = "in-place", which keeps whole '
        "tables only (name the table in keep_tables, or let the refresh swap)",
    ),
    "rows of a table that is kept whole": (
        '[refresh]\nkeep_tables = ["public.users"]\n[refresh.keep_rows]\nusers = "id < 9"\n',
        "10: refresh.keep_rows.users: is in keep_tables as well, which keeps all of its rows "
        "(take it out of one of the two)",
    ),
    "one plugin folder as a string": (
        '[site]\nplugins = "plugins"\n',
        '8: site.plugins: expected an array, got "plugins" (write ["plugins"])',
    ),
    "an insert in single brackets": (
        '[recipes.refresh-test.insert]\nname = "x"\n',
        "7: recipes.refresh-test.insert: expected an array of tables, got a table "
        "(write [[recipes.refresh-test.insert]], two brackets)",
    ),
    "an insert that says not where": (
        '[[recipes.refresh-test.insert]]\nname = "x"\nrun = ["true"]\n',
        '7: recipes.refresh-test.insert[0].after: is missing (write "after" or "before")',
    ),
    "an insert that does nothing": (
        '[[recipes.refresh-test.insert]]\nname = "x"\nafter = "swap"\n',
        '7: recipes.refresh-test.insert[0].run: is missing (write "run" or "uses")',
    ),
    "a second insert that is before and after": (
        '[[recipes.r.insert]]\nname = "x"\nafter = "a"\nrun = ["true"]\n'
        '[[recipes.r.insert]]\nname = "y"\nafter = "a"\nbefore = "b"\nrun = ["true"]\n',
        '14: recipes.r.insert[1].before: "after" is there as well (keep one of the two)',
    ),
    "an insert on an environment that is nearly right": (
        '[[recipes.r.insert]]\nname = "x"\nafter = "a"\non = "tset"\nrun = ["true"]\n',
        '10: recipes.r.insert[0].on: no environment is called "tset" (did you mean "test"?)',
    ),
    "a step in capitals": (
        '[[recipes.r.step]]\nname = "Dump"\nuses = "x"\n',
        '8: recipes.r.step[0].name: "Dump" is no name for it (use lower-case letters (a to z), '
        'digits, "-" and "_", beginning with a letter)',
    ),
    "a step with a condition that is no text": (
        '[[recipes.r.step]]\nname = "a"\nuses = "x"\nwhen = true\n',
        '10: recipes.r.step[0].when: expected a string, got true (write "true")',
    ),
    "two steps of one name": (
        '[[recipes.r.step]]\nname = "a"\nuses = "x"\n[[recipes.r.step]]\nname = "a"\nuses = "y"\n',
        '11: recipes.r.step[1].name: there are two steps "a" (give each its own name)',
    ),
    "a step with a timeout in numbers": (
        '[[recipes.r.step]]\nname = "a"\nuses = "x"\ntimeout = 600\n',
        '10: recipes.r.step[0].timeout: expected a duration such as "10m", got 600 '
        '(add the unit: "600s")',
    ),
    "a neutralised env": (
        '[neutralize.config]\nenv = "dev"\n',
        "8: neutralize.config.env: says which instance this is, and is never overridden from here "
        "(remove it; the stage sets what it needs)",
    ),
    "a neutralised part of the database": (
        '[neutralize.config]\n"gaia.db.host" = "localhost"\n',
        '8: neutralize.config."gaia.db.host": says which instance this is, and is never overridden '
        "from here (remove it; the stage sets what it needs)",
    ),
    "a neutralised parameter that is a list": (
        "[neutralize.params]\nmail = [1]\n",
        "8: neutralize.params.mail: expected a single value, got [1] (write a string or a number)",
    ),
    "a plugin's section that is no table": (
        '[plugins]\nnotify = "x"\n',
        '8: plugins.notify: expected a table, got "x" '
        "(write [plugins.notify] and its keys below it)",
    ),
    "environments in double brackets": (
        "[[ssh]]\n",
        "7: ssh: expected a table, got an array of tables (write [ssh], one bracket)",
    ),
    "a key twice": (
        'ssh = "a"\nssh = "b"\n',
        "8: this is no TOML in column 10: cannot overwrite a value "
        "(this key is there twice: keep one of them)",
    ),
    "a table twice": (
        "[environments.prod]\n",
        "7: this is no TOML in column 19: cannot declare environments.prod twice "
        "(this table is there twice: put its keys under one header)",
    ),
    "text without quotes": (
        "ssh = biso-test\n",
        "7: this is no TOML in column 7: invalid value "
        "(text goes in double quotes, true and false and numbers do not)",
    ),
    "quotes that are not closed": (
        'ssh = "biso-test\n',
        "7: this is no TOML in column 17: illegal character '\\n' "
        "(close the quotes on the same line)",
    ),
}
