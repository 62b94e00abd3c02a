"""What machine measured: cores, memory, kernel, versions. No names and no paths of it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

from biso_tasks.demo.process import run
from biso_tasks.demo.site import DemoSite
from biso_tasks.version import tool_version

__all__ = ["describe", "versions"]


def describe() -> dict[str, str]:
    """Its size, and how busy it was with other things when asked."""
    text = _read("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                     else os.cpu_count()),
        "processor": model[1] if model else platform.machine(),
        "memory": f"{int(memory[1]) / 1e6:.0f} GB" if memory else "unknown",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load when it began": f"{os.getloadavg()[0]:.1f}",
    }  # fmt: skip


def versions(site: DemoSite) -> dict[str, str]:
    """Of all that does the work, as each program says."""
    asked = {
        "biso-tasks": tool_version(),
        "Python": platform.python_version(),
        "PostgreSQL": site.prod.psql("SHOW server_version").split()[0],
        "PHP": _first([str(site.prod.php), "-v"]),
    }
    for name, words in (
        ("OpenSSH", ["ssh", "-V"]),
        ("rsync", ["rsync", "--version"]),
        ("gzip", ["gzip", "--version"]),
        ("igzip", ["igzip", "--version"]),
        ("pigz", ["pigz", "--version"]),
        ("zstd", ["zstd", "--version"]),
        ("sha256sum", ["sha256sum", "--version"]),
    ):
        asked[name] = _first(words) if shutil.which(words[0]) else "not there"
    return asked


def _first(words: list[str]) -> str:
    done = run(words, check=False)
    text = (done.stdout or done.stderr).decode("utf-8", "replace")
    found = re.search(r"\d+\.\d+[\w.]*", text.partition("\n")[0])
    return found[0] if found else "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
