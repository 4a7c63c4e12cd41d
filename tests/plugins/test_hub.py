"""The dataset `hub` against a server of its own on this machine, which answers as the hub does."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from privaudit import DataError
from privaudit.testing import check_plugin
from privaudit_plugins.datasets._hub import HubFile, listed
from privaudit_plugins.datasets._parquet import images, labels, numbers, read_tables
from privaudit_plugins.datasets.hub import Hub

pa = pytest.importorskip("pyarrow", reason="the extra hub is not installed")
pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
import pyarrow.parquet as pq  # noqa: E402

COMMIT = "0123456789abcdef" * 2 + "01234567"


def png(seed: int, size: int = 4) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def parquet(columns: dict[str, Any], names: list[str] | None = None) -> bytes:
    table = pa.table(columns)
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        about = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": about})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


NUMBERS = parquet({"a": [1.0, 2.0, 3.0], "b": [1, 0, 1], "label": [1, 0, 1]}, ["dog", "cat"])
FILES = {
    "data/train-0.parquet": NUMBERS,
    "data/test-0.parquet": parquet({"a": [9.0], "b": [5], "label": [0]}, ["dog", "cat"]),
    "images/0.parquet": parquet(
        {"image": [{"bytes": png(i), "path": None} for i in range(3)], "label": [0, 1, 1]}
    ),
    "photos/cat/1.png": png(1),
    "photos/dog/2.png": png(2),
    "README.md": b"# words",
}


class HubServer(BaseHTTPRequestHandler):
    """Answers for `owner/name` at COMMIT; other repositories say in their name what goes wrong."""

    files = FILES
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if "gated" in self.path:
            self._answer(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        elif "busy" in self.path:
            self._answer(500, b"")
        elif "owner/name" not in self.path:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif COMMIT not in self.path:
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif "/tree/" in self.path:
            tree = [self._entry(path, data) for path, data in self.files.items()]
            self._answer(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        else:
            path = self.path.split("?")[0].split(f"/resolve/{COMMIT}/")[-1]
            data = self.files.get(path)
            if data is None:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            else:
                etag = {"ETag": f'"{sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
                self._answer(200, data, etag)

    def _entry(self, path: str, data: bytes) -> dict[str, Any]:
        blob = sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": blob}
        if path.endswith(".parquet"):
            entry["lfs"] = {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubServer)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


LOAD = """
import json, sys, time
time.sleep = lambda seconds: None  # between attempts
from pathlib import Path
import privaudit
from privaudit_plugins.datasets.hub import Hub
for line in sys.stdin:
    options = json.loads(line)
    root = Path(options.pop("root"))
    try:
        examples = Hub(**options).load(root)
    except privaudit.PrivauditError as error:
        print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps({
            "x": examples.x.tolist(), "y": examples.y.tolist(), "classes": examples.classes,
        }))
"""


def loaded(port: int, *options: dict[str, Any]) -> list[dict[str, Any]]:
    """What a process of its own loads: the hub's address is read once, at import."""
    lines = "\n".join(
        json.dumps({"repository": "owner/name", "revision": COMMIT} | one) for one in options
    )
    env = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_ETAG_TIMEOUT": "2", "no_proxy": "127.0.0.1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LOAD], input=lines, env=env, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_repository_is_downloaded_once_checked_and_read_without_network(tmp_path: Path) -> None:
    root = str(tmp_path)
    tables = {"root": root, "files": ["data/*"], "standardize": False}
    with served() as server:
        port = server.server_address[1]
        table, images, folder, gated, absent, commit, missing, busy = loaded(
            port,
            tables,
            {"root": root, "files": ["images/*"]},
            {"root": root, "folder": "photos"},
            {"root": root, "repository": "owner/gated"},
            {"root": root, "repository": "owner/absent"},
            {"root": root, "revision": "f" * 40},
            {"root": root, "files": ["data/none-*"]},
            {"root": root, "repository": "owner/busy"},
        )
    assert table["x"] == [[9, 5], [1, 1], [2, 0], [3, 1]]
    assert table["y"] == [0, 1, 0, 1]
    assert table["classes"] == ["dog", "cat"]
    expected = np.stack([np.asarray(Image.open(io.BytesIO(png(i)))) for i in range(3)])
    assert np.array_equal(np.moveaxis(np.array(images["x"]), 1, -1), expected)
    assert images["classes"] == ["0", "1"]
    assert folder["classes"] == ["cat", "dog"]
    assert np.array_equal(
        np.moveaxis(np.array(folder["x"][0]), 0, -1), np.asarray(Image.open(io.BytesIO(png(1))))
    )
    assert "is gated: accept its terms" in gated["error"]
    assert "no such dataset repository" in absent["error"]
    assert "there is no such commit" in commit["error"]
    assert "no file fits 'data/none-*'; it holds data/train-0.parquet" in missing["error"]
    assert "500" in busy["error"]
    # The server is gone: what was downloaded is read, and nothing else.
    again, other, never = loaded(
        port,
        tables,
        {"root": root, "files": ["README.md"], "folder": "photos"},
        {"root": root, "repository": "owner/never"},
    )
    assert again == table
    assert "is not on disk and cannot be downloaded" in other["error"]
    assert "is not on disk and cannot be downloaded" in never["error"]
    for answer in (gated, absent, commit, missing, busy, other, never):
        assert "\n" not in answer["error"]
    stored = tmp_path / "hub/owner--name" / COMMIT / "data/train-0.parquet"
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    [damaged] = loaded(port, tables)
    assert "train-0.parquet: is damaged: its checksum is" in damaged["error"]


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:7], COMMIT.upper(), "", COMMIT + "0"])
def test_a_branch_is_no_commit(revision: str) -> None:
    with pytest.raises(ValidationError, match="must be a commit, 40 hexadecimal digits"):
        Hub(repository="owner/name", revision=revision)


@pytest.mark.parametrize("repository", ["../x", "a/../b", "a/b/c", "", ".."])
def test_a_repository_leads_nowhere_else(repository: str) -> None:
    with pytest.raises(ValidationError):
        Hub(repository=repository, revision=COMMIT)


def table(tmp_path: Path, columns: dict[str, Any], names: list[str] | None = None) -> Any:
    path = tmp_path / "x.parquet"
    path.write_bytes(parquet(columns, names))
    return read_tables([path])


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"label": [0, -1]}, "row 1 (from 0) has label -1, and there are 2 classes"),
        ({"label": [0, 2]}, "row 1 (from 0) has label 2"),
        ({"label": [0, None]}, "row 1 (from 0) has no label"),
        ({"label": [0, 0]}, "every label is 'dog'"),
        ({"label": [0.5, 1.0]}, "row 0 (from 0) has label 0.5"),
        ({"label": [[0], [1]]}, "row 0 (from 0) has label [0]"),
        ({"other": [0, 1]}, "has no one column 'label'; there are other"),
    ],
)
def test_labels_that_cannot_be_used_are_named(
    tmp_path: Path, columns: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DataError, match=re.escape(problem)):
        labels(table(tmp_path, columns, ["dog", "cat"]), "label", "here")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([1.0, None], "row 1 (from 0) has no a"),
        ([1.0, float("nan")], "row 1 (from 0) has nan in a"),
        ([1e300, 1.0], "row 0 (from 0) has 1e+300 in a"),
        (["x", "y"], "column 'a' holds string, no numbers"),
    ],
)
def test_numbers_that_cannot_be_used_are_named(
    tmp_path: Path, values: list[Any], problem: str
) -> None:
    with pytest.raises(DataError, match=re.escape(problem)):
        numbers(table(tmp_path, {"a": values}), ["a"], "here")


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([{"bytes": png(0)}, {"bytes": png(1, 5)}], "row 1 (from 0): is 5×5, and the first image"),
        ([{"bytes": png(0)}, {"bytes": b"no"}], "row 1 (from 0): not an image"),
        ([{"bytes": png(0)}, {"bytes": None}], "row 1 (from 0): image holds no bytes"),
    ],
)
def test_images_that_cannot_be_used_are_named(
    tmp_path: Path, cells: list[Any], problem: str
) -> None:
    with pytest.raises(DataError, match=re.escape(problem)):
        images(table(tmp_path, {"image": cells}), "image", None, "here")


def test_files_that_are_no_parquet_or_of_other_columns_are_refused(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{i}.parquet" for i in range(3))
    first.write_bytes(NUMBERS)
    second.write_bytes(parquet({"c": [1]}))
    third.write_bytes(NUMBERS[: len(NUMBERS) // 2])
    with pytest.raises(DataError, match="choose files of one configuration"):
        read_tables([first, second])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_tables([third])


@pytest.mark.parametrize("path", ["../x.parquet", "/x.parquet", "a/../../x.parquet", "a\\x"])
def test_a_file_that_would_leave_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    entry = {"path": path, "size": 1, "checksum": "git:" + "0" * 40}
    (tmp_path / "files.json").write_text(json.dumps([entry]))
    with pytest.raises(DataError, match="leads elsewhere"):
        listed("owner/name", COMMIT, tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", '[{"path": "a"}]', "{}x", '[{"path": 1, "size": 1}]'])
def test_a_damaged_list_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "files.json").write_text(text)
    with pytest.raises(DataError, match=r"files\.json: is damaged: remove it"):
        listed("owner/name", COMMIT, tmp_path)


def test_it_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"a": list(range(12)), "b": [0.5, 1.5] * 6, "label": [0, 1] * 6}
    path = tmp_path / "x.parquet"
    path.write_bytes(parquet(columns, ["dog", "cat"]))
    module = "privaudit_plugins.datasets.hub"
    monkeypatch.setattr(f"{module}.listed", lambda *given: [HubFile("x.parquet", 1, "git:")])
    monkeypatch.setattr(f"{module}.downloaded", lambda *given: path)
    check_plugin(Hub, repository="owner/name", revision=COMMIT)
