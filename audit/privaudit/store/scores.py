"""The arrays of a run's scores.npz, read one by one: what it kept about every example."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import StoreError
from privaudit.readers.regular import regular
from privaudit.store.manifest import read_manifest


@dataclass(frozen=True)
class Scores:
    """What one attack makes of the n audited examples of one network that it scores.

    Attributes:
        example: (n,) int64: rows of the dataset; with a given target, places among its members
            and non-members.
        member: (n,) bool: whether the network was trained on it.
        label: (n,) int64; None in runs of before labels were kept.
        score: (n,) float64, higher = likelier a member.
        decision: (n,) bool: the attack's own verdict; None where it gives none.
    """

    example: NDArray[np.int64]
    member: NDArray[np.bool_]
    label: NDArray[np.int64] | None
    score: NDArray[np.float64]
    decision: NDArray[np.bool_] | None = None


def read_scores(folder: Path | None, number: int, seed: int, target: int) -> Scores:
    """The scores of a run's audit by its number; rows that the attack left out are no part of it.

    Args:
        folder: of the run.
        number: of the audit, from 0.
        seed: of the recipe.
        target: which of the seed's networks.

    Raises:
        StoreError: the run has no folder, or its scores are missing or damaged.
    """
    if folder is None:
        raise StoreError("this result has no folder, and scores are kept there: load it from one")
    arrays = RunArrays(folder)
    example = arrays.read(f"example_{seed}_{target}").astype(np.int64)
    rows = len(example)
    score = arrays.read(f"score_{number}", rows).astype(np.float64)
    kept = ~np.isnan(score)

    def find(name: str, dtype: type[np.generic]) -> NDArray[Any] | None:
        return arrays.read(name, rows).astype(dtype)[kept] if name in arrays.names else None

    return Scores(
        example[kept],
        arrays.read(f"member_{seed}_{target}", rows).astype(np.bool_)[kept],
        find(f"label_{seed}_{target}", np.int64),
        score[kept],
        find(f"decision_{number}", np.bool_),
    )


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


def packed_names(names: Sequence[str]) -> NDArray[np.uint8]:
    """Names without line breaks as one array: UTF-8, one name a line."""
    return np.frombuffer("\n".join(names).encode(errors="replace"), np.uint8)


class RunArrays:
    """The arrays of a run by name.

    `example_SEED_TARGET`, `member_SEED_TARGET` and `label_SEED_TARGET` say which examples a network
    is audited on, whether it was trained on them, and their labels; `classes` names the classes,
    and `names` the examples, by their numbers, where their dataset does.
    `score_NUMBER` and `decision_NUMBER` are what the audit of that number in result.json makes of
    them, in their order: NaN where the attack leaves an example out; a verdict only where it gives
    one. `confidence_NUMBER` and `sensitivity_NUMBER`, with the first audit of each network, are the
    probability that it gives the label, and how far its answer moves under noise.

    Attributes:
        path: of the file.
        names: of its arrays; none where the run has no such file.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = (folder or Path()) / "scores.npz"
        self.names: set[str] = set()
        self._archive: zipfile.ZipFile | None = None
        if folder is None:
            return
        manifest = read_manifest(folder)
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

    def example_names(self) -> tuple[str, ...]:
        """The names of the examples by their numbers; none where they are not kept.

        Raises:
            StoreError: they are damaged.
        """
        if "names" not in self.names:
            return ()
        try:
            return tuple(self.read("names").astype(np.uint8).tobytes().decode().split("\n"))
        except ValueError as error:
            raise self.damaged("names is no text") from error

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
