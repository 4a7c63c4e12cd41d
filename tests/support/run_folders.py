"""Run folders as earlier versions left them."""

from __future__ import annotations

import json
from pathlib import Path


def without_manifest(folder: Path) -> None:
    """Make a run folder one of a privaudit that kept no manifest."""
    (folder / "manifest.json").unlink()
    record = json.loads((folder / "result.json").read_text())
    del record["identity"]
    (folder / "result.json").write_text(json.dumps(record))
