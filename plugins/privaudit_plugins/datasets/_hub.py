"""Files of a dataset repository of the Hugging Face Hub, at one commit, each checked by its sum."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from hashlib import sha1, sha256
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from privaudit import DataError, StoreError
from privaudit.readers.door import content, exists, opened, plain
from privaudit.store.files import private_folder, write_whole

_LIST = "files.json"
_LONGEST_LIST = 100_000_000
_CHUNK = 1 << 20
_T = TypeVar("_T")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository.

    Attributes:
        path: in the repository.
        size: bytes.
        checksum: "sha256:..." of its bytes, or "git:...", the identity of git's blob.
    """

    path: str
    size: int
    checksum: str


def wanted(files: Sequence[HubFile], patterns: Sequence[str], where: str) -> list[HubFile]:
    """The files that fit a pattern, in order; a pattern without any is refused.

    Raises:
        DataError: no file fits a pattern.
    """
    for pattern in patterns:
        if not any(fnmatchcase(file.path, pattern) for file in files):
            few = ", ".join(file.path for file in files[:6]) + (", …" if len(files) > 6 else "")
            raise DataError(plain(f"{where}: no file fits {pattern!r}; it holds {few or 'none'}"))
    chosen = [f for f in files if any(fnmatchcase(f.path, pattern) for pattern in patterns)]
    return sorted(chosen, key=lambda file: file.path)


def listed(repository: str, revision: str, folder: Path) -> list[HubFile]:
    """What a repository holds at a commit; from disk where it was listed before.

    Raises:
        DataError: it is neither on disk nor can be asked for.
    """
    path = folder / _LIST
    if exists(path):
        return _read_list(path)
    where = f"{repository}@{revision[:8]}"

    def ask() -> list[HubFile]:
        tree = (
            _hub()
            .HfApi()
            .list_repo_tree(repository, revision=revision, repo_type="dataset", recursive=True)
        )
        return [
            HubFile(
                item.path,
                item.size,
                f"sha256:{item.lfs.sha256}" if item.lfs else f"git:{item.blob_id}",
            )
            for item in tree
            if hasattr(item, "blob_id")
        ]

    files = _asked(ask, where)
    for file in files:
        _check_path(file.path, where)
    private_folder(folder)
    write_whole(path, json.dumps([asdict(file) for file in files]).encode())
    return files


def downloaded(repository: str, revision: str, file: HubFile, folder: Path) -> Path:
    """A file on disk, with the bytes that its checksum names.

    Raises:
        DataError: it is not there and cannot be had, or its bytes are others.
    """
    path = folder / file.path
    where = f"{repository}@{revision[:8]}/{file.path}"
    if not exists(path):

        def fetch() -> None:
            _hub().hf_hub_download(
                repository, file.path, revision=revision, repo_type="dataset", local_dir=folder
            )

        _asked(fetch, where)
    if (actual := _checksum(path, file.checksum)) != file.checksum:
        raise DataError(
            plain(
                f"{path}: is damaged: its checksum is {actual[:16]}…, and {where} has "
                f"{file.checksum[:16]}…: remove the file, and it is downloaded again"
            )
        )
    return path


def _checksum(path: Path, like: str) -> str:
    kind = like.partition(":")[0]
    size = path.stat().st_size
    digest = sha256() if kind == "sha256" else sha1(b"blob %d\0" % size, usedforsecurity=False)
    with opened(path) as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return f"{kind}:{digest.hexdigest()}"


def _read_list(path: Path) -> list[HubFile]:
    try:
        files = [HubFile(**entry) for entry in json.loads(content(path, _LONGEST_LIST))]
        for file in files:
            _check_path(file.path, str(path))
            if not re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", file.checksum):
                raise ValueError("a checksum is none")
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is damaged: remove it, and it is asked for again") from error
    return files


def _check_path(path: str, where: str) -> None:
    """Refuse a path that would leave the folder."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
        raise DataError(plain(f"{where}: holds a file called {path!r}, which leads elsewhere"))


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise DataError(
            "dataset hub needs huggingface-hub and pyarrow: pip install 'privaudit[hub]'"
        ) from error
    return huggingface_hub


def _asked(ask: Callable[[], _T], where: str) -> _T:
    """What the hub answers, and each way it does not as one line.

    Raises:
        DataError: it does not.
    """
    hub = _hub()
    errors = hub.errors
    try:
        return ask()
    except (DataError, StoreError):
        raise
    except errors.GatedRepoError as error:
        raise DataError(
            f"{where}: is gated: accept its terms on its page, and log in by `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{where}: there is no such commit: see the history on its page") from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"{where}: no such dataset repository, or a private one: correct `repository`, or log "
            "in by `hf auth login`"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise DataError(f"{where}: {_OFFLINE}") from error
    except errors.EntryNotFoundError as error:
        raise DataError(f"{where}: there is no such file at this commit (404)") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no status")
        raise DataError(f"{where}: the hub answered {status}: try again later") from error
    except (errors.HFValidationError, errors.BadRequestError) as error:
        raise DataError(plain(f"{where}: is refused: {error}")) from error
    except MemoryError:
        raise
    except Exception as error:  # no network shows as errors of whatever client is in use
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise DataError(plain(f"{where}: {_OFFLINE} ({reason})")) from error


_OFFLINE = (
    "is not on disk and cannot be downloaded: see to the network, or copy the folder `hub` of the "
    "data from a machine that has it"
)
