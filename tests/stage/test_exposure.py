"""What is not anonymised yet must not be had by HTTP."""

from __future__ import annotations

from biso_tasks.stage.exposure import addresses


def test_every_end_of_the_path_is_asked_for_below_every_folder_of_the_site() -> None:
    found = set(addresses("https://h.example/a/b/", "/var/www/.hidden/x y.txt"))
    assert found == {
        f"https://h.example/{folder}{end}"
        for folder in ("", "a/", "a/b/")
        for end in (".hidden/x%20y.txt", "www/.hidden/x%20y.txt", "var/www/.hidden/x%20y.txt")
    }
