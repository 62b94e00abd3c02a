"""BISO as an application: config.php, biso-cli, services, where things are."""
