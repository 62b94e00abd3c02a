"""What starts BISO's jobs on a host, and what a swap would leave running."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.actions.doctor.jobs import check_jobs
from biso_tasks.config.model import Environment, Services
from biso_tasks.host import LocalHost

pytestmark = pytest.mark.real
SYSTEMD = Services(kind="systemd", stop=("apache2",))


@pytest.fixture
def host() -> Iterator[LocalHost]:
    host = LocalHost("test")
    yield host
    host.close()


@pytest.fixture
def looks(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:  # fmt: skip
    """`looks(services=…, writes=…)`: the lines, with a systemctl that knows two running units."""
    for name in ("cron.d", "units", "bin"):
        (tmp_path / name).mkdir()
    systemctl = tmp_path / "bin/systemctl"
    systemctl.write_text(
        '#!/bin/sh\ncase "$3" in biso-*|apache2) echo active;; *) echo inactive;; esac\n'
    )
    crontab = tmp_path / "bin/crontab"
    crontab.write_text(f'#!/bin/sh\n[ "$1" = -l ] && cat {tmp_path}/own 2>/dev/null\n')
    for program in (systemctl, crontab):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def run(services: Services = SYSTEMD, *, writes: bool = True) -> list[tuple[bool, str, str]]:
        environment = Environment(name="test", role="test", webroot="/srv/bi.so", services=services)
        instance: Any = SimpleNamespace(
            environment=environment, host=host, layout=SimpleNamespace(webroot="/data/biso")
        )
        sheet = Sheet("test")
        check_jobs(
            sheet, instance, writes=writes,
            crontabs=(str(tmp_path / "cron.d"), str(tmp_path / "none")),
            units=(str(tmp_path / "units"),),
        )  # fmt: skip
        return [(one.ok, one.detail, one.remedy) for one in sheet.checks]

    return run


def test_nothing_that_names_the_webroot_is_no_complaint(looks: Any, tmp_path: Path) -> None:
    (tmp_path / "cron.d/other").write_text(
        "* * * * * root php /srv/bi.so-old/x\n* * * * * root php /srv/bixso/x\n"
        "# * * * * * root php /srv/bi.so/x\n"
    )
    (tmp_path / "units/old.service").write_text("[Service]\nExecStart=php /data/biso2/queue.php\n")
    assert looks() == [
        (True, "no crontab and no service that can be read here names the webroot", "")
    ]


def test_a_crontab_is_named_with_its_line(looks: Any, tmp_path: Path) -> None:
    line = "* * * * * www-data cd /srv/bi.so && php vendor/bin/crunz schedule:run\n"
    (tmp_path / "cron.d/biso").write_text(f"# Crunz\n{line}")
    (tmp_path / "own").write_text("5 * * * * php /data/biso/other.php\n")
    ((ok, detail, _),) = looks()
    assert ok
    assert detail.startswith(f"started by {tmp_path}/cron.d/biso line 2, the crontab of ")
    assert detail.endswith("; not in `services.stop`, so not stopped for a swap: cron")
    ((_, quiet, _),) = looks(replace(SYSTEMD, stop=("cron", "apache2")))
    assert quiet == detail.partition(";")[0]
    ((_, read, _),) = looks(writes=False)
    assert read == quiet, "nothing is swapped there"


def test_what_a_swap_would_leave_running_is_named(looks: Any, tmp_path: Path) -> None:
    for name in ("biso-queue", "sleeping", "apache2"):
        (tmp_path / f"units/{name}.service").write_text("[Service]\nExecStart=php /srv/bi.so/q\n")
    ((ok, detail, _),) = looks()
    assert ok, "a site may want it so"
    assert detail == (
        "started by the service apache2, the service biso-queue, the service sleeping; not in "
        "`services.stop`, so not stopped for a swap: biso-queue"
    )
    ((_, mended, _),) = looks(replace(SYSTEMD, stop=("biso-queue.service", "apache2")))
    assert mended == detail.partition(";")[0]
    ((_, read, _),) = looks(writes=False)
    assert read == mended, "production's goes on"
    assert looks(Services(kind="compose", directory="/srv", web="web")) == []
