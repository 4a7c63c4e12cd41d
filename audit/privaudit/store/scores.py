"""The arrays of a run's scores.npz, read one by one: what it kept about every example."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import StoreError
from privaudit.readers.regular import regular
from privaudit.store.manifest import read_manifest
from privaudit.store.result import RunResult

EPOCHS = ("epoch_loss", "epoch_train", "epoch_validation")
"""What is kept of each network's last fit: (e,) loss and accuracy of the batches of each
epoch, and accuracy on validation examples, if there are any, after it. Older runs lack them."""


def epochs_kept(history: NDArray[np.float64], number: int) -> dict[str, NDArray[np.float32]]:
    """The arrays of one network's epochs, by name.

    Args:
        history: (E, 3), NaN where the network had stopped or has no such number.
        number: of the first audit of the network.
    """
    trained = history[~np.isnan(history[:, 1])]  # a loss may be NaN before the end
    named = zip(EPOCHS, trained.T, strict=True)
    return {f"{n}_{number}": v.astype(np.float32) for n, v in named if not np.isnan(v).all()}


class RunArrays:
    """The arrays by name (`experiment.auditing.Auditor` says which there are).

    Attributes:
        path: of the file.
        names: of its arrays; none where the run has no such file.
    """

    def __init__(self, result: RunResult) -> None:
        self.path = (result.folder or Path()) / "scores.npz"
        self.names: set[str] = set()
        self._archive: zipfile.ZipFile | None = None
        if result.folder is None:
            return
        manifest = read_manifest(result.folder)
        if manifest is not None:
            manifest.check(self.path.name)
        elif not self.path.exists():
            return
        try:
            with regular(self.path):
                pass
            # Kept open, as its list of names takes longer to read than a small array.
            self._archive = zipfile.ZipFile(self.path)
            self.names = {name.removesuffix(".npy") for name in self._archive.namelist()}
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror or error}") from error
        except zipfile.BadZipFile as error:
            raise self.damaged(str(error)) from error

    def find(self, name: str, rows: int) -> NDArray[np.float64] | None:
        """An array that may be missing."""
        return self.read(name, rows).astype(np.float64) if name in self.names else None

    def read(self, name: str, rows: int | None = None) -> NDArray[Any]:
        """An array (n,), of as many rows as given.

        Raises:
            StoreError: it is missing, damaged, or of another shape.
        """
        if self._archive is None:
            raise self.damaged(f"{name} is missing")
        try:
            with self._archive.open(f"{name}.npy") as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
        except KeyError as error:
            raise self.damaged(f"{name} is missing") from error
        except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise self.damaged(f"{name} cannot be read ({error})") from error
        if array.ndim != 1 or rows not in (None, len(array)):
            raise self.damaged(f"{name} has the shape {array.shape}, not ({rows or 'n'},)")
        return array

    def damaged(self, problem: str) -> StoreError:
        """What to raise where an array is not what it should be."""
        return StoreError(f"{self.path} is damaged: {problem}; run its recipe again")
