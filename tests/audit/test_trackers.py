"""The examples that send what runs tell to TensorBoard and MLflow."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from privaudit import load_recipe, run
from privaudit.api.host import Plugins, load_plugins
from privaudit.cli import main
from privaudit.errors import PrivauditError
from privaudit.events import EpochDone, Event
from privaudit.store.result import RunResult

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPE = """
name: tracked
dataset: digits
split: {members: 40, non_members: 40, validation: 10}
model: {name: mlp, hidden: [8]}
training: {epochs: 3}
sparsifiers: [dense, {name: imp, rounds: 1, label: "imp (all)"}]
attacks: [loss]
"""


class Home:
    """Runs that one tracker hears."""

    def __init__(self, folder: Path, tracker: str) -> None:
        self.folder = folder
        (folder / "tracked.yaml").write_text(RECIPE)
        file = EXAMPLES / f"privaudit-{tracker}" / "src" / f"privaudit_{tracker}" / "__init__.py"
        self.plugins: Plugins = load_plugins(files=[file])
        listeners, problems = self.plugins.listening()
        assert len(listeners) == 1
        assert not problems

    def run(self, name: str, on_event: Any = None) -> RunResult:
        """Heard by the tracker."""
        recipe = load_recipe(self.folder / "tracked.yaml")
        cache = self.folder / f"cache of {name}"
        return run(
            recipe,
            self.folder / name,
            device="cpu",
            cache=cache,
            plugins=self.plugins,
            on_event=on_event,
        )


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_an_example_is_a_distribution_whose_entry_point_names_its_module(tracker: str) -> None:
    folder = EXAMPLES / f"privaudit-{tracker}"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == folder.name
    assert project["entry-points"]["privaudit"] == {tracker: f"privaudit_{tracker}"}
    assert (folder / "src" / f"privaudit_{tracker}" / "__init__.py").is_file()
    assert tracker in (folder / "README.md").read_text()


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is said of a listener, but for what it costs."""
    said = [record.getMessage() for record in caplog.records if "listening" in record.name]
    return [line for line in said if " s of the run" not in line]


def fail(event: Event) -> None:
    if isinstance(event, EpochDone):
        raise PrivauditError("no more")


class Writer:
    """In the place of torch's SummaryWriter."""

    made: list[Writer]

    def __init__(self, folder: str) -> None:
        self.folder, self.closed = folder, False
        self.points: dict[str, list[tuple[int, float]]] = {}
        Writer.made.append(self)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        assert not self.closed
        self.points.setdefault(tag, []).append((step, value))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    Writer.made = []
    fake = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.delenv("PRIVAUDIT_TENSORBOARD", raising=False)
    return Home(tmp_path, "tensorboard")


def test_tensorboard_gets_curves_and_what_attacks_reach(
    board: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    result = board.run("a", events.append)
    (writer,) = Writer.made
    assert writer.closed
    assert writer.folder == str(board.folder / "a" / "tensorboard")
    losses = [event.loss for event in events if isinstance(event, EpochDone)]
    assert writer.points["loss/dense"] == [(n + 1, losses[n]) for n in range(3)]
    assert [step for step, _ in writer.points["loss/imp (all)"]] == [4, 5, 6]  # round 0 was found
    for audit in result.audits:
        where = f"{f'{audit.subject} {audit.level}'.strip()}/loss"
        assert writer.points[f"auc/{where}"] == [(0, audit.metrics["auc"]["value"])]
        assert writer.points[f"defense/{where}"] == [(0, audit.metrics["defense"])]
    (board.folder / "a" / "tensorboard").mkdir()  # as a true writer does
    board.run("a")
    assert len(Writer.made) == 1  # a run that is read back is there
    monkeypatch.setenv("PRIVAUDIT_TENSORBOARD", str(board.folder / "boards"))
    board.run("a")
    assert Writer.made[1].folder == str(board.folder / "boards" / "a")
    assert Writer.made[1].points.keys() == {
        tag for tag in writer.points if tag.startswith(("auc/", "defense/"))
    }
    with pytest.raises(PrivauditError):
        board.run("b", fail)
    assert all(one.closed for one in Writer.made)
    assert not complaints(caplog)


class Client:
    """In the place of MLflow's client."""

    runs: dict[str, dict[str, Any]]

    def get_experiment_by_name(self, name: str) -> Any:
        return None

    def create_experiment(self, name: str) -> str:
        return f"of {name}"

    def create_run(self, experiment: str, tags: dict[str, str], run_name: str) -> Any:
        number = str(len(self.runs))
        about = {"experiment": experiment, "tags": dict(tags), "name": run_name, "status": ""}
        self.runs[number] = about | {"params": {}, "metrics": {}, "artifacts": []}
        return SimpleNamespace(info=SimpleNamespace(run_id=number))

    def search_runs(self, experiments: list[str], filter_string: str) -> list[Any]:
        done = [one for one in self.runs.values() if one["status"] == "FINISHED"]
        return [SimpleNamespace(data=SimpleNamespace(tags=one["tags"])) for one in done]

    def set_tag(self, run: str, key: str, value: str) -> None:
        self.runs[run]["tags"][key] = value

    def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(metrics) + len(params) <= 100
        self.runs[run]["params"] |= dict(params)
        for name, value, _, step in metrics:
            self.runs[run]["metrics"].setdefault(name, []).append((step, value))

    def log_artifact(self, run: str, path: str) -> None:
        self.runs[run]["artifacts"].append((Path(path).name, Path(path).read_text()[:15]))

    def set_terminated(self, run: str, status: str) -> None:
        self.runs[run]["status"] = status


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    Client.runs = {}
    fake, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    fake.MlflowClient = Client  # type: ignore[attr-defined]
    entities.Param = lambda *parts: parts  # type: ignore[attr-defined]
    entities.Metric = lambda *parts: parts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:nowhere")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    return Home(tmp_path, "mlflow")


_RUN = subprocess.run


def in_this_process(command: list[str], **options: Any) -> Any:
    """In the place of `subprocess.run`: what it runs of privaudit takes no process of its own."""
    if command[:3] != [sys.executable, "-m", "privaudit"]:
        return _RUN(command, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["privaudit", *command[3:]])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return None


def test_mlflow_gets_the_recipe_the_curves_the_attacks_and_the_report(
    tracked: Home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", in_this_process)
    result = tracked.run("a")
    (one,) = Client.runs.values()
    assert (one["experiment"], one["name"], one["status"]) == ("of mine", "tracked", "FINISHED")
    assert one["params"]["training.epochs"] == "3"
    assert one["params"]["sparsifiers.1.label"] == "imp (all)"
    assert one["params"]["seeds.0"] == "0"
    assert [step for step, _ in one["metrics"]["training/dense/loss"]] == [1, 2, 3]
    for audit in result.audits:
        where = f"{audit.subject} {audit.level}".strip().replace("(", "_").replace(")", "_")
        assert one["metrics"][f"attacks/{where}/loss/auc"][-1] == (1, audit.metrics["auc"]["value"])
        assert one["metrics"][f"attacks/{where}/loss/defense"] == [(1, audit.metrics["defense"])]
    assert one["artifacts"] == [("report.html", "<!DOCTYPE html>")]
    assert tracked.run("a").audits == result.audits
    assert len(Client.runs) == 1  # a run that is read back is there
    with pytest.raises(PrivauditError):
        tracked.run("b", fail)
    assert Client.runs["1"]["status"] == "FAILED"
    assert Client.runs["1"]["tags"]["privaudit.stopped"] == "PrivauditError: no more"
    tracked.run("b")
    assert Client.runs["2"]["tags"]["privaudit.resumed"] == "True"
    assert not complaints(caplog)


def test_mlflow_is_left_alone_where_nobody_says_where_it_is(
    tracked: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracked.run("a")
    assert not Client.runs
    assert not complaints(caplog)


def test_a_server_that_is_down_is_told_and_the_run_goes_on(
    tracked: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def down(*given: object, **options: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(Client, "create_run", down)
    assert len(tracked.run("a").audits) == 3
    first, last = complaints(caplog)
    assert "fails at RunStarted (__init__.py:" in first
    assert "ConnectionError: refused; the run goes on" in first
    assert last.endswith("events failed")


@pytest.fixture
def packages() -> Iterator[None]:
    """What is imported of packages is forgotten."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("tensorboard", "mlflow"):
            del sys.modules[name]


def lacks(package: str) -> bool:
    return importlib.util.find_spec(package) is None


@pytest.mark.skipif(lacks("tensorboard"), reason="tensorboard is not installed")
def test_tensorboard_reads_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: None
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.delenv("PRIVAUDIT_TENSORBOARD", raising=False)
    result = Home(tmp_path, "tensorboard").run("a")
    board = EventAccumulator(str(tmp_path / "a" / "tensorboard"))
    board.Reload()
    assert [point.step for point in board.Scalars("loss/dense")] == [1, 2, 3]
    (auc,) = board.Scalars("auc/dense/loss")
    assert auc.value == pytest.approx(result.audits[0].metrics["auc"]["value"], abs=1e-6)


@pytest.mark.skipif(lacks("mlflow"), reason="mlflow is not installed")
def test_mlflow_keeps_what_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: None
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # newer ones want a database
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    home = Home(tmp_path, "mlflow")
    home.run("a")
    home.run("a")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("mine")
    (one,) = client.search_runs([experiment.experiment_id])
    assert one.info.status == "FINISHED"
    assert one.data.params["training.epochs"] == "3"
    assert set(one.data.metrics) >= {
        *("training/dense/loss", "attacks/dense/loss/auc", "attacks/imp _all_ round 1/loss/auc")
    }
    (page,) = client.list_artifacts(one.info.run_id)
    assert page.path == "report.html"
