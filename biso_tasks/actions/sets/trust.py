"""Whether a set that says it holds no personal data is believed: by the record of a proof that was
sealed with it, and by nothing else. One rule for every way from a set into a test environment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from biso_tasks.backup.checksums import SIGNATURE, SUMS
from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.manifest import MANIFEST, Manifest
from biso_tasks.backup.proof import ProofRecord
from biso_tasks.backup.sealed import Sealed
from biso_tasks.backup.signature import require_signed
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.config.duration import duration_text
from biso_tasks.config.model import Site
from biso_tasks.errors import Refused

__all__ = ["require_released", "require_trusted"]


def require_trusted(site: Site, store: Store, backup: BackupSet, *, baseline: bool = False) -> None:
    """Raises Refused where the set's word that it holds no personal data has no proof behind it,
    BadSet where its manifest is not what was sealed. A set of a test instance is believed as far as
    that instance came of a proven run; where releases must be signed, a `baseline` alone, which
    never left its host."""
    manifest = _sealed_manifest(store, backup)
    if manifest.proof is not None:
        _require_proven(site, store, backup, manifest)
        return
    signed = site.release.allowed_signers is not None and not baseline
    if manifest.personal or manifest.proven is None or signed:
        raise Refused(
            f"{backup.id} says that it holds no personal data, and there is no proof of it"
            + (" that is signed" if manifest.proven is not None and signed else ""),
            hint="take a release (`biso release` makes one), or a set that says it is personal: "
            "that is anonymised and proven on its way",
        )


def require_released(site: Site, store: Store, backup: BackupSet) -> ProofRecord:
    """The proof of a released set. Raises Refused where it is none, its proof does not hold, nobody
    who may has signed it, or its data is too old; BadSet where its documents are not what was
    sealed."""
    manifest = _sealed_manifest(store, backup)
    if manifest.proof is None:
        raise Refused(
            f"{backup.id} is no release: there is no proof in its manifest",
            hint="`biso release` makes one; `biso list` shows which sets are released",
        )
    return _require_proven(site, store, backup, manifest)


def _require_proven(site: Site, store: Store, backup: BackupSet, manifest: Manifest) -> ProofRecord:
    proof = ProofRecord.from_dict(manifest.proof or {})
    wrong = _unproven(manifest, proof)
    if wrong:
        raise Refused(
            f"{backup.id} is no proven release: {wrong}",
            hint="take another one, or make one with `biso release`",
        )
    if site.release.allowed_signers:
        sums = store.read_file(backup.id, SUMS) or b""
        signature = store.read_file(backup.id, SIGNATURE)
        require_signed(Path(site.release.allowed_signers), backup.id, sums, signature)
    age = (datetime.now(UTC) - proof.moment).total_seconds()
    if age > site.release.max_age:
        raise Refused(
            f"the data of {backup.id} is of {proof.snapshot}: older than "
            f"{duration_text(site.release.max_age)}, which is release.max_age",
            hint="make a new one with `biso release`, or fetch it where that runs by itself",
        )
    return proof


def _unproven(manifest: Manifest, proof: ProofRecord) -> str:
    if manifest.personal:
        return "it says that it holds personal data"
    if proof.leaks:
        return f"its proof found {proof.leaks} survivors"
    if not proof.columns or not proof.values:
        return "its proof looked for nothing"
    if proof.sampled:
        return "its proof looked for a sample of production's values, not for all"
    if "webroot" in manifest.areas:
        return "it holds code, which no proof has searched"
    if proof.run != manifest.run:
        return f"its proof is of the run {proof.run}, and the set of {manifest.run}"
    return ""


def _sealed_manifest(store: Store, backup: BackupSet) -> Manifest:
    """What the manifest says, as it was sealed: a listing shows what stands there now. Raises
    BadSet."""
    found = Manifest.from_toml(Sealed(store, backup).file(MANIFEST))
    if found != backup.manifest:
        raise BadSet(
            f"{backup.id} cannot be relied on: {MANIFEST} has changed meanwhile",
            hint="nothing was changed; does somebody write into the store? Run it again",
        )
    return found
