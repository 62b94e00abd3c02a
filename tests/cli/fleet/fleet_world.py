"""Many small installations, and a way to run one command for all of them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transcript import BISO

from benchmarks.fleet_site import FleetSite

NUMBER = int(os.environ.get("BISO_FLEET", "4"))  # the same with 30: BISO_FLEET=30


@dataclass(frozen=True)
class Fleet:
    """Installations, and a way to run one command for them."""

    site: FleetSite

    def environ(self, folder: bool = False) -> dict[str, str]:
        """Of a person, who means the one biso.toml, or the folder of sites."""
        config = self.site.folder if folder else self.site.config
        return {**self.site.built.environ(), "BISO_CONFIG": str(config)}

    def start(self, *words: str, folder: bool = False, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*BISO, *words],
            cwd=self.site.root,
            env=self.environ(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def run(self, code: int, *words: str, folder: bool = False) -> dict[str, Any]:
        """Its document; what it said is in the failure."""
        with self.start(*words, "--json", folder=folder) as process:
            out, err = process.communicate(timeout=600)
        document: dict[str, Any] = json.loads(out)
        assert process.returncode == code, f"{err}\n{document['error']}"
        assert document["exit_code"] == code
        return {**document, "stderr": err}

    def sets(self, name: str, folder: bool = True) -> list[str]:
        """The sets in the store of a production; what an interrupted backup has left is none."""
        store = self.site.root / ("installations" if folder else "") / (name if folder else "")
        found = store / "backups" / "sets"
        return sorted(one.name for one in found.glob("[0-9]*"))

    def flags(self) -> list[Path]:
        """Whatever production is in maintenance."""
        return list((self.site.root / "installations").glob("*/data/maintenance.on"))
