"""The names of ssh_config that a person is shown."""

from __future__ import annotations

from pathlib import Path

from biso_tasks.host.aliases import aliases


def test_plain_names_are_found_in_their_order_and_in_included_files(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.conf").write_text("Host stage\n  HostName 10.0.0.3\n")
    config = tmp_path / "config"
    config.write_text(
        f'# Host none\nhost=biso-prod "biso test"\nHOST biso-prod *.ch !x web?\n'
        f"Include {tmp_path}/more/*.conf {config}\nMatch host other\n"
    )
    assert aliases(config)[:1] == ("biso-prod",)
    assert "stage" in aliases(config)
    assert not {"*.ch", "!x", "web?", "none", "other"} & set(aliases(config))
    assert aliases(tmp_path / "missing") == ()
