"""Networks as people bring them: one plugin with an option, and what is to become of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu

from privaudit import Model


class Encoder(nn.Module):
    """A transformer layer with torch's own dropout inside its attention."""

    def __init__(self, classes: int, share: float) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=share, batch_first=True)
        self.out = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out(self.layer(x[:, 0]).mean(1))
        return answer


class Attention(nn.Module):
    """Attention alone, with dropout."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True)
        self.out = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, 0]
        answer: Tensor = self.out(self.attention(rows, rows, rows)[0].mean(1))
        return answer


class Tokens(nn.Module):
    """Words of a small vocabulary, its matrix used twice where it is tied."""

    def __init__(self, classes: int, tied: bool) -> None:
        super().__init__()
        self.words, self.back = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.out = nn.Linear(20, classes)
        if tied:
            self.back.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x.flatten(1).abs() * 3).long().clamp(0, 19)
        answer: Tensor = self.out(self.back(self.words(tokens).mean(1)))
        return answer


class Answer(NamedTuple):
    """What Hugging Face's networks answer with, in small."""

    logits: Tensor


class Perceptron(nn.Module):
    """Two layers, and between them or behind them whatever `how` says."""

    seen: Tensor

    def __init__(self, classes: int, how: str) -> None:
        super().__init__()
        outputs = {"two_per_class": 2 * classes}.get(how, classes)
        self.a, self.b, self.how = nn.Linear(64, 16), nn.Linear(16, outputs), how
        self.middle: nn.Module = {
            "cumulative": lambda: nn.BatchNorm1d(16, momentum=None),
            "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)),
            "spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(  # type: ignore[no-untyped-call]
                nn.Linear(16, 16)
            ),
            "alpha_dropout": lambda: nn.AlphaDropout(0.2),
            "batch_norm": lambda: nn.BatchNorm1d(16),
            "no_statistics": lambda: nn.BatchNorm1d(16, track_running_stats=False),
        }.get(how, nn.Identity)()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        if self.how == "fixed":
            x = x.view(16, 64)
        z = self.middle(relu(self.a(x.flatten(1))))
        match self.how:
            case "dropout_call":
                z = dropout(z, 0.3, self.training)
            case "noise":
                z = z + 0.1 * torch.randn_like(z)
            case "numpy_noise":
                z = z + float(np.random.normal(0, 0.1))
            case "branch":
                z = z if self.b.bias.sum() > -5 else -z
            case "item":
                z = z * (1 + float(self.a.bias.abs().max().item()))
            case "numpy":
                size = np.abs(x.detach().cpu().numpy()).reshape(len(x), -1).mean(1)
                z = z * torch.tensor(1 + 0.1 * size).to(z)[:, None]
            case "branch_on_all":
                z = z if x.mean() > -0.39 else -z
            case "item_of_all":
                z = z * float(x.abs().mean().item())
            case "norm_of_all":
                z = z / z.norm()
            case "counting":
                self.seen = self.seen + 1
                z = z / (1 + 0.01 * self.seen)
            case "in_place":
                self.seen.add_(1)
        o = self.b(z)
        return self._shaped(o, z)

    def _shaped(self, o: Tensor, z: Tensor) -> Any:
        match self.how:
            case "tuple":
                return o, z
            case "dict":
                return {"logits": o, "hidden": z}
            case "object":
                return Answer(o)
            case "one_output":
                return o[:, 0]
            case "one_column":
                return o[:, :1]
            case "positions":
                return o[:, None].expand(-1, 3, -1)
            case "softmax":
                return o.softmax(1)
            case "nan":
                return o * float("nan")
            case "whole":
                return o.argmax(1, keepdim=True).expand_as(o)
            case "mean":
                return o.mean(0, keepdim=True)
        return o


class Viewing(nn.Module):
    """Flattens with `view` after a convolution, as most code for PyTorch does."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.expand(-1, 3, -1, -1)).relu()
        answer: Tensor = self.out(x.view(x.size(0), -1))
        return answer


class RowsOf(nn.Module):
    """A digit (B, 1, 8, 8) as eight steps of eight numbers."""

    def __init__(self, cell: nn.RNNBase, classes: int) -> None:
        super().__init__()
        self.cell = cell
        both = 2 if cell.bidirectional else 1
        self.out = nn.Linear(both * cell.hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out(self.cell(x[:, 0])[0][:, -1])
        return answer


BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "lstm": lambda c: RowsOf(nn.LSTM(8, 6, batch_first=True), c),
    "gru": lambda c: RowsOf(nn.GRU(8, 6, batch_first=True), c),
    "rnn": lambda c: RowsOf(nn.RNN(8, 6, batch_first=True), c),
    "deep_lstm": lambda c: RowsOf(
        nn.LSTM(8, 6, num_layers=2, bidirectional=True, dropout=0.2, batch_first=True), c
    ),
    "encoder": lambda c: Encoder(c, 0.1),
    "attention": Attention,
    "embedding": lambda c: Tokens(c, False),
    "tied": lambda c: Tokens(c, True),
    "view": Viewing,
}


class Brought(Model):
    """A network of one's own."""

    name: Literal["brought"] = "brought"
    which: str = "lstm"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        make = BUILDERS.get(self.which)
        return make(classes) if make else Perceptron(classes, self.which)


PLAIN = (
    "lstm", "gru", "rnn", "deep_lstm", "encoder", "attention", "dropout_call", "noise",
    "numpy_noise", "branch", "item", "numpy", "cumulative", "alpha_dropout", "spectral_norm",
)  # fmt: skip
"""Networks that only the plain way takes."""

STACKED = ("embedding", "tied", "dict", "object", "batch_norm", "weight_norm", "view", "plain")
"""Networks that `vmap` takes as well."""

REFUSED = {
    "tuple": r"answers with a tuple of 2.*logits \(B, 10\)",
    "one_output": r"answers \(B,\), one number for each example",
    "one_column": r"has 1 outputs, and the dataset has 10 classes",
    "two_per_class": r"has 20 outputs, and the dataset has 10 classes.*`classes`",
    "positions": r"answers \(B, 3, 10\).*the mean over all",
    "softmax": r"ends in a softmax.*return the logits",
    "nan": r"answers NaN or infinity before it is trained",
    "whole": r"answers with torch\.int64",
    "mean": r"answers 3 examples with shape \(1, 10\)",
    "branch_on_all": r"answers otherwise in other company.*depends on the others of the batch",
    "item_of_all": r"answers otherwise in other company",
    "norm_of_all": r"answers otherwise in other company",
    "no_statistics": r"answers otherwise in other company.*BatchNorm keeps no running statistics",
}
"""Networks that cannot be trained, and what is said of each."""
