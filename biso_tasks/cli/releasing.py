"""The command that makes a released set: proven, and handed out instead of served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from biso_tasks.actions.sets.release import Release, describe_release
from biso_tasks.actions.sets.stores import release_store
from biso_tasks.backup.gate import GATE
from biso_tasks.backup.signature import require_key
from biso_tasks.cli.call import Call
from biso_tasks.cli.sealed import sealed_set
from biso_tasks.errors import ConfigError, Refused
from biso_tasks.files.space import human
from biso_tasks.session import Session
from biso_tasks.stage import guards

__all__ = ["release"]


def release(call: Call, env: str, gate: bool) -> None:
    if gate:
        call.document["gate"] = GATE
        call.text(GATE.rstrip("\n"))
        return
    session = call.session(on=env)
    config = session.site.release
    source, target = session.environment(env or session.site.refresh.from_).name, config.environment
    guards.not_production(session.environment(target), "release")
    if source == target:
        raise Refused(
            f"{source} would be released from its own stage: whose data it holds is not known",
            hint="--env names production; release.environment is where it is prepared",
        )
    _require_signing(session)
    work = Release(
        session,
        "release",
        call.run_id,
        places={"source": source, "target": target},
        store=release_store(session),
    )
    work.look_again()
    work.bind_values()

    def said() -> dict[str, Any]:
        return {
            **sealed_set(work.sealed),
            "proof": None if work.proof is None else work.proof.as_json(),
        }

    call.run_recipe(session, work, header=describe_release(work), facts=said)
    if work.sealed is not None:
        call.text(
            f"{work.sealed.id} may be handed out: {human(work.sealed.manifest.size)} at "
            f"{work.sealed.path}. `biso refresh-test --source released` takes it."
        )


def _require_signing(session: Session) -> None:
    """Raises ConfigError where the release could not be signed, or would be refused unsigned."""
    config = session.site.release
    if config.sign:
        require_key(Path(config.sign))
    elif config.allowed_signers:
        raise ConfigError(
            f"{session.site.file.name}: release.allowed_signers wants a signature, and "
            "release.sign names no key to make it with",
            hint="write sign under [release], such as ~/.ssh/biso_release",
        )
