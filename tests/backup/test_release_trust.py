"""A set that says it holds no personal data is believed by its sealed proof alone: whatever else it
says, whoever changed a byte of it, whoever sealed it anew."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.actions.sets.restore import usable_set
from biso_tasks.actions.sets.trust import require_released, require_trusted
from biso_tasks.backup.checksums import SIGNATURE, SUMS
from biso_tasks.backup.ids import BadSet, new_id
from biso_tasks.backup.signature import NAMESPACE, sign
from biso_tasks.backup.store import Store
from biso_tasks.backup.verify import verify_set
from biso_tasks.config.model import Release, Site
from biso_tasks.errors import BisoError, ConfigError, ProofFailed, Refused, StepFailed

NOW = datetime.now(UTC).replace(microsecond=0)
ID = new_id(NOW, "test")


def proof(**more: Any) -> dict[str, Any]:
    given = {
        "source": "prod",
        "run": "r1",
        "snapshot": NOW.isoformat(),
        "tool": "0.3.0",
        "columns": 40,
        "values": 9000,
        "files": 12,
        "leaks": 0,
        "sampled": False,
        "inventory": "",
        "judged": "0" * 64,
    }
    return {key: value for key, value in (given | more).items() if value is not None}


def site(**release: Any) -> Site:
    root = Path("/srv/site")
    return Site("s", root, root / "biso.toml", root / ".biso", (), release=Release(**release))


@dataclass
class Sets:
    store: Store
    maker: Any

    def make(self, **more: Any) -> Path:
        given: dict[str, Any] = {
            "areas": ("data", "database"),
            "role": "test",
            "personal": False,
            "proof": proof(),
        }
        return self.maker.seal(ID, **(given | more))

    def released(self, **release: Any) -> None:
        require_released(site(**release), self.store, self.store.read(ID))

    def trusted(self, *, baseline: bool = False, **release: Any) -> None:
        require_trusted(site(**release), self.store, self.store.read(ID), baseline=baseline)


@pytest.fixture
def sets(store: Store, maker: Any) -> Sets:
    return Sets(store, maker)


def test_a_proven_release_is_believed(sets: Sets) -> None:
    sets.make()
    sets.released()
    sets.trusted()
    assert sets.store.resolve("released") == ID


_UNPROVEN: dict[str, tuple[Mapping[str, Any], str]] = {
    "no proof": ({"proof": None}, "no release"),
    "personal": ({"personal": True}, "holds personal data"),
    "leaks": ({"proof": proof(leaks=1)}, "1 survivors"),
    "no columns": ({"proof": proof(columns=0)}, "looked for nothing"),
    "no values": ({"proof": proof(values=0)}, "looked for nothing"),
    "a sample": ({"proof": proof(sampled=True)}, "a sample of production's values"),
    "code": ({"areas": ("webroot", "data", "database")}, "holds code"),
    "another run's": ({"proof": proof(run="r2")}, "of the run r2"),
    "too old": (
        {"proof": proof(snapshot=(NOW - timedelta(days=9)).isoformat())},
        "older than 8d, which is release.max_age",
    ),
}


@pytest.mark.parametrize("what", _UNPROVEN)
def test_what_is_not_proven_is_refused(sets: Sets, what: str) -> None:
    more, said = _UNPROVEN[what]
    sets.make(**more)
    with pytest.raises(Refused, match=said):
        sets.released()


def test_how_old_a_release_may_be_is_the_sites_to_say(sets: Sets) -> None:
    sets.make(proof=proof(snapshot=(NOW - timedelta(days=9)).isoformat()))
    sets.released(max_age=10 * 86400.0)


@pytest.mark.parametrize("key", proof())
def test_a_record_of_a_proof_that_lacks_something_is_none(sets: Sets, key: str) -> None:
    sets.make(proof=proof(**{key: None}))
    with pytest.raises(BadSet, match=key):
        sets.released()


def test_the_word_of_a_set_is_no_proof(sets: Sets) -> None:
    sets.make(proof=None)
    with pytest.raises(Refused, match="there is no proof of it"):
        sets.trusted()


def test_a_set_of_a_test_instance_counts_as_far_as_a_proven_run_had_made_that(sets: Sets) -> None:
    sets.make(proof=None, proven={"run": "r0", "columns": 1, "values": 2, "files": 3})
    sets.trusted()
    with pytest.raises(Refused, match="no release"):
        sets.released()


def test_where_releases_are_signed_only_a_baseline_does_without(sets: Sets, keys: Keys) -> None:
    sets.make(proof=None, proven={"run": "r0", "columns": 1, "values": 2, "files": 3})
    sets.trusted(baseline=True, allowed_signers=str(keys.allowed))
    with pytest.raises(Refused, match="no proof of it that is signed"):
        sets.trusted(allowed_signers=str(keys.allowed))


def test_a_set_that_is_another_one_than_was_decided_on_is_not_used(sets: Sets) -> None:
    """Between the look at its proof and the plan somebody puts another in its place."""
    sets.make()
    decided = sets.store.read(ID)
    work = SimpleNamespace(id=ID, areas=frozenset({"data"}), decided_on=decided, problems=())
    assert usable_set(work, sets.store).id == ID  # type: ignore[arg-type]
    manifest = sets.store.path + f"/sets/{ID}/manifest.toml"
    before = Path(manifest).read_text("utf-8")
    changed = before.replace("personal = false", "personal = true").encode()
    with (
        holding(Path(manifest), changed),
        pytest.raises(Refused, match="is not the set any more"),
    ):
        usable_set(work, sets.store)  # type: ignore[arg-type]
    sets.store.remove(ID)
    sets.make(personal=True, proof=None)
    with pytest.raises(Refused, match="is not the set any more"):
        usable_set(work, sets.store)  # type: ignore[arg-type]


# -- bytes --


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@contextmanager
def holding(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def _files(folder: Path) -> list[Path]:
    found = [one for one in sorted(folder.rglob("*")) if one.is_file() and not one.is_symlink()]
    return [one for one in found if one.name != "state.toml"]


def _refusal(sets: Sets, **release: Any) -> BisoError | None:
    """What a refresh says of the set, before anything is built of it."""
    try:
        sets.released(**release)
    except (Refused, ProofFailed) as error:
        return error
    problems = verify_set(sets.store, ID)
    return ProofFailed(str(problems[0])) if problems else None


def test_any_file_of_a_release_with_a_byte_changed_is_refused(sets: Sets) -> None:
    folder = sets.make()
    assert _refusal(sets) is None
    files = _files(folder)
    assert {one.name for one in files} >= {SUMS, "manifest.toml", "METADATA", "RESTORE.md"}
    for path in files:
        content = path.read_bytes()
        ways = [content + b"x", b""] if not content else [_flip(content), content + b"\n", b""]
        for changed in ways:
            if changed == content:
                continue
            with holding(path, changed):
                error = _refusal(sets)
                assert isinstance(error, ProofFailed), path
                assert error.exit_code == 4
    assert _refusal(sets) is None


# -- signatures --


@dataclass
class Keys:
    folder: Path

    def key(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
            subprocess.run(words, check=True)
        return path

    @property
    def allowed(self) -> Path:
        file = self.folder / "allowed"
        public = self.key("own").with_suffix(".pub").read_text()
        file.write_text(f'release@stelle namespaces="{NAMESPACE}" {public}')
        return file


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is missing: apt install openssh-client")
    return Keys(tmp_path)


def _signed(folder: Path, key: Path) -> None:
    (folder / SIGNATURE).write_bytes(sign(key, (folder / SUMS).read_bytes()))


def _vouch(folder: Path) -> None:
    """Seal anew what the files say now, as whoever may write into the store can."""
    lines = []
    for path in _files(folder):
        if path.name not in (SUMS, SIGNATURE):
            name = os.fsencode(path.relative_to(folder))
            escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
            digest = hashlib.sha256(path.read_bytes()).hexdigest().encode()
            lines.append((b"\\" if escaped != name else b"") + digest + b"  " + escaped + b"\n")
    (folder / SUMS).write_bytes(b"".join(sorted(lines, key=lambda line: line[66:])))
    state = folder / "state.toml"
    sums = hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    text = state.read_text("utf-8").splitlines()
    lines_of = [f'sums = "{sums}"' if line.startswith("sums = ") else line for line in text]
    state.write_text("\n".join(lines_of) + "\n", "utf-8")


def test_a_signed_release_is_believed(sets: Sets, keys: Keys) -> None:
    folder = sets.make()
    _signed(folder, keys.key("own"))
    assert _refusal(sets, allowed_signers=str(keys.allowed)) is None
    by_hand = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", str(keys.allowed), "-I", "release@stelle",
         "-n", NAMESPACE, "-s", SIGNATURE],
        cwd=folder, input=(folder / SUMS).read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert by_hand.returncode == 0, by_hand.stderr


def test_whoever_seals_a_changed_release_anew_has_no_signature_for_it(
    sets: Sets, keys: Keys
) -> None:
    """Every checksum agrees; without a signature nobody could tell."""
    folder = sets.make()
    _signed(folder, keys.key("own"))
    whole = {path: path.read_bytes() for path in [*_files(folder), folder / "state.toml"]}
    manifest = folder / "manifest.toml"
    found = sets.store.read(ID).manifest.databases[0]
    for path in _files(folder):
        if path.name in (SUMS, SIGNATURE, "METADATA", "manifest.toml"):
            continue
        path.write_bytes(whole[path] + b"more")
        if str(path).endswith(found.file):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            manifest.write_text(manifest.read_text("utf-8").replace(found.sha256, digest), "utf-8")
        _vouch(folder)
        sets.released()
        error = _refusal(sets, allowed_signers=str(keys.allowed))
        assert isinstance(error, Refused), path
        assert "is not what release@stelle signed" in error.message
        for one, content in whole.items():
            one.write_bytes(content)
    assert _refusal(sets, allowed_signers=str(keys.allowed)) is None


def _no_signature(folder: Path, keys: Keys) -> None:
    (folder / SIGNATURE).unlink()


def _somebodys(folder: Path, keys: Keys) -> None:
    _signed(folder, keys.key("other"))


def _flipped(folder: Path, keys: Keys) -> None:
    path = folder / SIGNATURE
    path.write_bytes(_flip(path.read_bytes()))


def _of_something_else(folder: Path, keys: Keys) -> None:
    (folder / SIGNATURE).write_bytes(sign(keys.key("own"), b"other sums"))


def _for_another_purpose(folder: Path, keys: Keys) -> None:
    words = ("ssh-keygen", "-Y", "sign", "-q", "-f", str(keys.key("own")), "-n", "file")
    done = subprocess.run(
        words, input=(folder / SUMS).read_bytes(), capture_output=True, check=True
    )
    (folder / SIGNATURE).write_bytes(done.stdout)


def _a_link(folder: Path, keys: Keys) -> None:
    elsewhere = keys.folder / "elsewhere.sig"
    shutil.move(folder / SIGNATURE, elsewhere)
    (folder / SIGNATURE).symlink_to(elsewhere)


@pytest.mark.parametrize(
    "harm",
    [_no_signature, _somebodys, _flipped, _of_something_else, _for_another_purpose, _a_link],
    ids=lambda one: one.__name__.lstrip("_"),
)
def test_a_signature_that_is_none_is_refused(
    sets: Sets, keys: Keys, harm: Callable[[Path, Keys], None]
) -> None:
    folder = sets.make()
    _signed(folder, keys.key("own"))
    harm(folder, keys)
    sets.released()
    with pytest.raises(Refused, match=r"signed|signature"):
        sets.released(allowed_signers=str(keys.allowed))


def test_who_may_sign_has_to_be_written_down(sets: Sets, keys: Keys) -> None:
    folder = sets.make()
    _signed(folder, keys.key("own"))
    with pytest.raises(ConfigError, match="allowed_signers"):
        sets.released(allowed_signers=str(keys.folder / "nowhere"))


def test_a_key_that_asks_for_a_passphrase_fails_at_once(keys: Keys) -> None:
    path = keys.folder / "locked"
    words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret words", "-f", str(path))
    subprocess.run(words, check=True)
    with pytest.raises(StepFailed, match="could not sign") as caught:
        sign(path, b"x")
    assert "ssh-add" in caught.value.hint
