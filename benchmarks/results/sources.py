"""The sources that numbers come from: those of a commit, or those that lie here."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from privaudit.errors import StoreError

ROOT = Path(__file__).parents[2]
ENGINE = "audit/privaudit"
PLUGINS = "plugins/privaudit_plugins"
RECIPES = "recipes"

Sources = Mapping[str, str]
"""Text of each file, by its path in the repository."""

_ENDINGS = (".py", ".yaml")


def here(root: Path = ROOT) -> Sources:
    """Those of the working tree."""
    paths = [
        path
        for folder in (ENGINE, PLUGINS, RECIPES)
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in _ENDINGS
    ]
    return {path.relative_to(root).as_posix(): path.read_text() for path in paths}


def of_commit(commit: str, root: Path = ROOT) -> Sources:
    """Those of a commit.

    Raises:
        StoreError: there is no such commit here, or no git.
    """
    archive = _git(root, "archive", "--format=tar", commit, ENGINE, PLUGINS, RECIPES)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        return {
            member.name: content.read().decode()
            for member in files.getmembers()
            if member.name.endswith(_ENDINGS) and (content := files.extractfile(member))
        }


def full_name(commit: str, root: Path = ROOT) -> str:
    """The first twelve digits of a commit, whatever it is called.

    Raises:
        StoreError: there is no such commit here, or no git.
    """
    name = _git(root, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    return name.decode().strip()[:12]


def _git(root: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreError("git cannot be run: a page is made in a checkout, with git") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it failed"]
        raise StoreError(f"git {words[0]}: {reason[0]}; name a commit of this repository")
    return done.stdout
