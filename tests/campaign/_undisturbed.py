"""A run that nothing disturbs, to compare others with."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

from tests.campaign._command import complaint, digits, privaudit


@cache
def undisturbed(processes: int = 1) -> tuple[Path, float]:
    """The folder of a finished run, in `run`, and the seconds it took."""
    home = Path(tempfile.mkdtemp(prefix="campaign-undisturbed-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    digits(home)
    started = time.monotonic()
    ran = privaudit(
        "run", "recipe.yaml", "--output", "run", "--processes", str(processes), cwd=home
    )
    assert not complaint(ran, 0), ran.err
    return home, time.monotonic() - started


def left_behind(folder: Path) -> list[str]:
    """What a finished run should have removed from its folder and its TMPDIR."""
    kinds = ("run/.lock", "run/.tmp-*", "run/models.unfinished", "tmp/privaudit-*")
    return [path.name for kind in kinds for path in folder.glob(kind)]
