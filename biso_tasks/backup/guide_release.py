"""RESTORE.md of a released set: how to look at it and load it with standard tools alone."""

from __future__ import annotations

import shlex
from typing import Final

from biso_tasks.backup.manifest import Manifest
from biso_tasks.backup.proof import ProofRecord
from biso_tasks.backup.signature import NAMESPACE

__all__ = ["release_guide"]

_TEXT: Final = """# The release @ID@

Data of `@SOURCE@` as it was at @SNAPSHOT@, anonymised, and proven on `@ENVIRONMENT@` by run
`@RUN@`: @VALUES@ values of @COLUMNS@ columns were looked for in every column and in @FILES@ files,
and none of them was found. What risk remains is in docs/privacy.md of the tool.

It holds the data dir and the database, and neither code, config.php, roles nor passwords. With the
tool that made it: `biso refresh-test --source released`. By hand, in this directory:

```sh
sha256sum --check --quiet --strict SHA256SUMS
# where it is signed, with the file that names who may sign:
# ssh-keygen -Y verify -f allowed_signers -I WHO -n @NAMESPACE@ -s SHA256SUMS.sig <SHA256SUMS
createdb --template=template0 --encoding=@ENCODING@ biso_new
gzip -dc -- @FILE@ | psql -X -q -v ON_ERROR_STOP=1 -d biso_new
```

`data/` is the data dir; METADATA has the modes and owners of its entries. Letter templates are
copies, attachments as a rule placeholders of the same kind and name.
"""


def release_guide(manifest: Manifest) -> bytes:
    """RESTORE.md for the release that `manifest` describes."""
    proof = ProofRecord.from_dict(manifest.proof or {})
    main = manifest.databases[0]
    words = {
        "ID": manifest.id,
        "SOURCE": _line(proof.source),
        "SNAPSHOT": proof.snapshot,
        "ENVIRONMENT": manifest.environment,
        "RUN": _line(proof.run),
        "VALUES": str(proof.values),
        "COLUMNS": str(proof.columns),
        "FILES": str(proof.files),
        "NAMESPACE": NAMESPACE,
        "ENCODING": shlex.quote(str(main.facts["encoding"])),
        "FILE": shlex.quote(main.file),
    }
    text = _TEXT
    for key, value in words.items():
        text = text.replace(f"@{key}@", value)
    return text.encode("utf-8", "surrogateescape")


def _line(words: str) -> str:
    return " ".join(words.splitlines())
