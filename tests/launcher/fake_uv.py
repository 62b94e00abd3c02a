"""Stands in for uv: makes a venv without pip and unpacks the wheels that the lock files name.
FAKE_UV=fail fails, FAKE_UV=slow stops half-way for a minute."""

import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

with open(os.environ["UV_CALLS"], "a") as calls:
    print(*sys.argv[1:], file=calls)
mode = os.environ.get("FAKE_UV")
if mode == "fail":
    print("error: no mirror here", file=sys.stderr)
    sys.exit(2)
if sys.argv[1] == "venv":
    python = sys.argv[sys.argv.index("--python") + 1]
    subprocess.run([python, "-m", "venv", "--without-pip", sys.argv[-1]], check=True)
    if mode == "slow":
        time.sleep(60)
else:
    assert "--require-hashes" in sys.argv
    venv = Path(sys.argv[sys.argv.index("--python") + 1]).parent.parent
    (site,) = venv.glob("lib/python*/site-packages")
    for lock in (Path(word) for word in sys.argv if word.endswith(".txt")):
        for name, version in re.findall(r"^([\w-]+)==([\d.]+)", lock.read_text(), re.M):
            stem = f"{name.replace('-', '_')}-{version}"
            wheels = Path(os.environ["PIP_FIND_LINKS"])
            with zipfile.ZipFile(wheels / f"{stem}-py3-none-any.whl") as archive:
                archive.extractall(site)
