"""What runs of privaudit tell, logged to MLflow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import privaudit
from privaudit import events

_LONGEST = 500  # characters of a parameter's value, which old servers take, too
_BATCH = 100  # parameters, or metrics, of one request
_FOLDER = "privaudit.folder"


class Tracker:
    """One run of MLflow after another, without the one that a program may have active itself."""

    def __init__(self) -> None:
        self.client: Any = None
        self.run_id, self.curve, self.begin, self.end = "", "", 0, 0
        self.waiting: list[Any] = []

    def hear(self, event: events.Event) -> None:
        """Log one event."""
        if isinstance(event, events.RunOpened):
            self.opened, self.run_id, self.client = event, "", None
            return
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            return
        if not self.run_id and not self.begun(isinstance(event, events.RunDone) and event.found):
            return
        match event:
            case events.SubjectStarted():
                self.curve, self.end = event.subject, 0
            case events.BelievedStarted():
                self.before = self.curve, self.end
                self.curve, self.end = f"{self.curve} believed {event.believed}", 0
            case events.BelievedDone():
                self.curve, self.end = self.before
            case events.FitStarted():
                self.begin, self.end = self.end, self.end + event.epochs
            case events.EpochDone():
                step = self.begin + event.epoch
                for name in ("loss", "accuracy", "validation"):
                    self.log(f"training/{self.curve}/{name}", getattr(event, name), step)
            case events.AttackDone():
                where = " ".join(filter(None, [event.subject, event.level]))
                self.log(f"attacks/{where}/{event.attack}/auc", event.auc, 0)
                self.send()
            case events.RunDone():
                self.finished(Path(event.folder))
            case events.RunStopped():
                self.client.set_tag(self.run_id, "privaudit.stopped", event.reason)
                self.ended("FAILED")

    def begun(self, found: bool) -> bool:
        """Begin a run of MLflow, unless it has this one; whether there is one now."""
        import mlflow
        from mlflow.entities import Param

        client = self.client = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "privaudit"
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        if found:
            runs = client.search_runs([experiment], "attributes.status = 'FINISHED'")
            if any(run.data.tags.get(_FOLDER) == self.opened.folder for run in runs):
                return False
        tags = {_FOLDER: self.opened.folder, "privaudit.resumed": str(self.opened.resumed)}
        run = client.create_run(experiment, tags=tags, run_name=self.opened.name)
        self.run_id = run.info.run_id
        leaves = [Param(_name(k), v[:_LONGEST]) for k, v in _leaves(json.loads(self.opened.recipe))]
        for start in range(0, len(leaves), _BATCH):
            client.log_batch(self.run_id, params=leaves[start : start + _BATCH])
        return True

    def log(self, name: str, value: float, step: int) -> None:
        """A point of a curve, sent with the next that are sent."""
        from mlflow.entities import Metric

        if not isnan(value):
            self.waiting.append(Metric(_name(name), value, int(time.time() * 1000), step))
        if len(self.waiting) >= _BATCH:
            self.send()

    def send(self) -> None:
        """Send what waits; what cannot be sent is lost, and privaudit says so."""
        waiting, self.waiting = self.waiting, []
        if waiting:
            self.client.log_batch(self.run_id, metrics=waiting)

    def finished(self, folder: Path) -> None:
        """Log what was found: AUC and defense, means over networks, and the report."""
        found: dict[str, list[float]] = {}
        for audit in privaudit.load_run(folder).audits:
            where = " ".join(filter(None, [audit.subject, audit.level]))
            for name in ("auc", "defense"):
                value = audit.metrics[name]
                number = value["value"] if isinstance(value, dict) else value
                if number is not None:
                    found.setdefault(f"attacks/{where}/{audit.attack}/{name}", []).append(number)
        for name, values in found.items():
            self.log(name, sum(values) / len(values), 1)
        self.send()
        with TemporaryDirectory() as place:
            page = str(Path(place, "report.html"))
            words = ["report", str(folder), "--format", "html", "--output", page]
            command = [sys.executable, "-m", "privaudit", *words]
            subprocess.run(command, check=True, capture_output=True)
            self.client.log_artifact(self.run_id, page)
        self.ended("FINISHED")

    def ended(self, status: str) -> None:
        """Send the rest, and close the run of MLflow."""
        try:
            self.send()
        finally:
            self.client.set_terminated(self.run_id, status)
            self.run_id = ""


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each value of a recipe, by its path."""
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from _leaves(inner, f"{name}.{key}".lstrip("."))
    else:
        yield name, json.dumps(value) if not isinstance(value, str) else value


def _name(text: str) -> str:
    """What MLflow takes as a name."""
    return re.sub(r"[^\w\-./ ]", "_", text)[:250]


_tracker = Tracker()


@privaudit.hookimpl
def privaudit_event(event: events.Event) -> None:
    """Hear what a run tells."""
    _tracker.hear(event)
