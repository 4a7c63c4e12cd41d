"""What runs of privaudit tell, written for TensorBoard."""

from __future__ import annotations

import os
from math import isnan
from pathlib import Path
from typing import Any

import privaudit
from privaudit import events


class Board:
    """The curves of one run after another."""

    def __init__(self) -> None:
        self.writer: Any = None
        self.curve = ""
        self.begin = self.end = 0  # of the present fit, in epochs of its curve

    def hear(self, event: events.Event) -> None:
        """Write one event."""
        match event:
            case events.RunOpened():
                self.close()
                self.folder = _folder(Path(event.folder))
                self.seen = self.folder.is_dir()
            case events.SubjectStarted():
                self.curve, self.end = event.subject, 0
            case events.BelievedStarted():
                self.before = self.curve, self.end
                self.curve, self.end = f"{self.curve}, believed {event.believed}", 0
            case events.BelievedDone():
                self.curve, self.end = self.before
            case events.FitStarted():
                self.begin, self.end = self.end, self.end + event.epochs
            case events.EpochDone():
                for name in ("loss", "accuracy", "validation"):
                    self.write(
                        f"{name}/{self.curve}", getattr(event, name), self.begin + event.epoch
                    )
            case events.RunDone() if not (event.found and self.seen):
                for tag, values in _audits(event.folder).items():
                    self.write(tag, sum(values) / len(values), 0)
        if isinstance(event, events.RunDone | events.RunStopped):
            self.close()

    def write(self, tag: str, value: float, step: int) -> None:
        """A point of a curve."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder))
        if not isnan(value):
            self.writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """End the files of a run."""
        if self.writer is not None:
            self.writer.close()
        self.writer = None


def _folder(run: Path) -> Path:
    everywhere = os.environ.get("PRIVAUDIT_TENSORBOARD")
    return Path(everywhere, run.name) if everywhere else run / "tensorboard"


def _audits(folder: str) -> dict[str, list[float]]:
    """AUC and defense of all networks, by subject, level and attack."""
    found: dict[str, list[float]] = {}
    for audit in privaudit.load_run(folder).audits:
        where = f"{' '.join(filter(None, [audit.subject, audit.level]))}/{audit.attack}"
        for name, value in (("auc", audit.metrics["auc"]), ("defense", audit.metrics["defense"])):
            number = value["value"] if isinstance(value, dict) else value
            if number is not None:
                found.setdefault(f"{name}/{where}", []).append(number)
    return found


_board = Board()


@privaudit.hookimpl
def privaudit_event(event: events.Event) -> None:
    """Hear what a run tells."""
    _board.hear(event)
