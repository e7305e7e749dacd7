"""Runs that were changed on purpose, with the hashes that another writer would have written."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cxrlearn.reports.document import json_text
from cxrlearn.reports.run_files import hashes, sealed

if TYPE_CHECKING:
    from pathlib import Path


def edit_report(folder: Path, **changes: Any) -> None:  # noqa: ANN401 - values of JSON
    """Change keys of a report, and seal it and the files beside it again."""
    file = folder / "report.json"
    document = json.loads(file.read_text(encoding="utf-8")) | changes
    listed = document["provenance"].pop("files")
    del document["provenance"]["report_sha256"]
    files = {name: digest for name, digest in hashes(folder).items() if name in listed}
    file.write_text(json_text(sealed(document, files)), encoding="utf-8")


def edit_probe(folder: Path, **changes: Any) -> None:  # noqa: ANN401 - values of JSON
    """Change keys of a saved probe's account, and seal it and the run again."""
    file = folder / "probe.json"
    account = json.loads(file.read_text(encoding="utf-8")) | changes
    del account["account_sha256"]
    text = json.dumps(account, sort_keys=True)
    account["account_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    file.write_text(json.dumps(account), encoding="utf-8")
    edit_report(folder)
