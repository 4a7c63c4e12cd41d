"""Weights as programs save them: wrapped, pruned, halved, and what is refused of them."""

from __future__ import annotations

import os
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from privaudit import DataError, Model
from privaudit.experiment.checkpoint import Checkpoint
from privaudit.readers.budget import limited_to
from privaudit.readers.pickled import read_pickled


class Small(nn.Module):
    """Two convolutions with batch normalisation, and a linear layer used twice."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.mix = nn.Linear(4, 4)
        self.again = nn.Linear(4, 4)
        self.again.weight = self.mix.weight
        self.head = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(self.norm(self.stem(x))).mean((2, 3))
        logits: Tensor = self.head(self.again(self.mix(hidden)))
        return logits


class SmallModel(Model):
    """A small network."""

    name: Literal["small"] = "small"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return Small(classes)


@pytest.fixture(scope="module")
def network() -> Small:
    torch.manual_seed(0)
    made = Small(3)
    with torch.no_grad():
        made(torch.randn(8, 3, 8, 8))  # so that the statistics are not those of a new network
    return made.eval()


def read(path: Path, classes: int = 3) -> nn.Module:
    model = Checkpoint(path=str(path), model=SmallModel(), device="cpu")
    torch.manual_seed(7)
    return model.build((3, 8, 8), classes).eval()


def alike(one: nn.Module, other: nn.Module, tolerance: float = 0) -> bool:
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return bool((one(x) - other(x)).abs().max() <= tolerance)


def saved(state: Any, folder: Path) -> Path:
    """A file of it: as safetensors if it is flat, which needs no process to read it."""
    if all(isinstance(value, Tensor) for value in state.values()):
        flat = {name: tensor.detach().clone() for name, tensor in state.items()}
        save_file(flat, folder / "a.safetensors")
        return folder / "a.safetensors"
    torch.save(state, folder / "a.pth")
    return folder / "a.pth"


def renamed(state: Any, change: Callable[[str], str]) -> dict[str, Tensor]:
    return OrderedDict((change(name), tensor) for name, tensor in state.items())


WRAPPED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bare": (lambda s: s, ""),
    "data parallel": (lambda s: renamed(s, lambda n: f"module.{n}"), "module. was taken off names"),
    "compiled": (lambda s: renamed(s, lambda n: f"_orig_mod.{n}"), "_orig_mod."),
    "opacus": (lambda s: renamed(s, lambda n: f"_module.{n}"), "_module."),
    "a compiled part": (
        lambda s: renamed(s, lambda n: n.replace("body.", "body._orig_mod.")), "_orig_mod."
    ),
    "nested": (
        lambda s: {"model": renamed(s, lambda n: f"model.module._orig_mod.{n}"), "epoch": 3},
        "_orig_mod., module. was taken off names; model. was taken off names; what else the file "
        "holds was left out: epoch",
    ),
    "lightning": (
        lambda s: {
            "epoch": 1,
            "state_dict": renamed(s, lambda n: f"net.{n}") | {"loss.weight": torch.ones(3)},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
            "hyper_parameters": {"lr": 0.1},
        },
        "net. was taken off names; what does not begin with it was left out: loss.weight; what "
        "else the file holds was left out: epoch, optimizer_states, hyper_parameters",
    ),
    "timm's training": (
        lambda s: {"arch": "x", "state_dict": s, "optimizer": {}, "args": Namespace(lr=1)},
        "was left out: arch, optimizer, args",
    ),
    "model_state_dict": (lambda s: {"model_state_dict": s, "loss": torch.tensor(1.0)}, "loss"),
    "a name of its own": (lambda s: {"net": s, "acc": 93.1}, "was left out: acc"),
    "without counters": (
        lambda s: {n: t for n, t in s.items() if not n.endswith("num_batches_tracked")}, ""
    ),
    "one name of a shared weight": (
        lambda s: {n: t for n, t in s.items() if n != "mix.weight"}, ""
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRAPPED)
def test_the_weights_are_found_in_what_a_program_saved(
    network: Small, tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrap, note = WRAPPED[case]
    assert alike(read(saved(wrap(network.state_dict()), tmp_path)), network)
    assert note in caplog.text
    assert bool(caplog.records) == bool(note)


def test_a_bare_state_dict_of_torch_save_is_read(network: Small, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "a.pt")
    assert alike(read(tmp_path / "a.pt"), network)


def test_files_from_before_torch_1_6_are_read(network: Small, tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    assert alike(read(path), network)


def test_pruned_weights_are_multiplied_by_their_masks(
    network: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pruned = Small(3)
    pruned.load_state_dict(network.state_dict())
    for layer in (pruned.stem, pruned.head):
        prune.l1_unstructured(layer, "weight", amount=0.5)  # type: ignore[no-untyped-call]
    pruned(torch.zeros(1, 3, 8, 8))  # the hook of pruning makes the weight anew
    wrapped = renamed(pruned.state_dict(), lambda name: f"module.{name}")
    torch.save(wrapped, tmp_path / "a.pt")
    made = read(tmp_path / "a.pt")
    assert alike(made, pruned.eval())
    assert not alike(made, network)
    assert int((made.get_parameter("stem.weight") == 0).sum()) == 54
    assert "2 pruned weights were multiplied by their masks" in caplog.text
    state = dict(pruned.state_dict())
    del state["stem.weight_mask"]
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(DataError, match="it was pruned, and a weight or its mask is missing"):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted_and_said(
    network: Small, tmp_path: Path, dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    state = {
        n: t.to(dtype) if t.is_floating_point() else t for n, t in network.state_dict().items()
    }
    torch.save(state, tmp_path / "a.bin")
    made = read(tmp_path / "a.bin")
    assert alike(made, network, tolerance=0.05)
    assert {p.dtype for p in made.parameters()} == {torch.float32}
    assert torch.equal(made.get_parameter("stem.weight"), state["stem.weight"].float())
    assert (
        f"weights of {str(dtype).removeprefix('torch.')} were converted to float32" in caplog.text
    )


class Evil:
    """A pickle that makes a folder where it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def _without(*names: str) -> Callable[[Any], Any]:
    return lambda s: {n: t for n, t in s.items() if n not in names}


UNFIT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "classes": (
        lambda s: Small(10).state_dict(),
        r"of another shape head.weight \(10, 4\) instead of \(3, 4\), head.bias .* \(it was "
        "trained for 10 classes, and the dataset has 3",
    ),
    "channels": (
        lambda s: s | {"stem.weight": torch.zeros(4, 1, 3, 3)},
        "trained on images of 1 channels, and these have 3",
    ),
    "lacking": (
        _without("head.weight", "head.bias", "mix.bias", "norm.weight"),
        "it lacks norm.weight, mix.bias, head.weight and 1 more",
    ),
    "another head": (
        lambda s: renamed(s, lambda n: n.replace("head", "fc")),
        r"it lacks head.weight, head.bias; .* fc.bias, fc.weight \(a last layer or a part was",
    ),
    "another network": (
        lambda s: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).state_dict(),
        "another architecture",
    ),
    "another network below a prefix": (
        lambda s: renamed(s, lambda n: f"model.{n}" if "head" not in n else f"model.{n}.parts"),
        r"lacks head.weight, head.bias; it holds, and the model has not, head.bias.parts,",
    ),
    "two networks": (
        lambda s: renamed(s, lambda n: f"student.{n}") | renamed(s, lambda n: f"teacher.{n}"),
        "several networks that fit, under student., teacher.",
    ),
    "twice": (
        lambda s: (
            _without("head.bias")(renamed(s, lambda n: f"module.{n}"))
            | {"stem.bias": torch.ones(4)}
        ),
        "it holds stem.bias twice",
    ),
    "integers": (
        lambda s: s | {"head.weight": torch.ones(3, 4, dtype=torch.int8)},
        "not of floating-point numbers head.weight",
    ),
    "untied": (lambda s: s | {"again.weight": torch.ones(4, 4)}, "are one weight of the model"),
}  # fmt: skip

NO_STATE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "several": (lambda s: {"g": s, "d": s}, r"several state dicts \(g, d\)"),
    "a list": (lambda s: [s], "it holds a list, not a state dict"),
    "a tensor": (lambda s: torch.ones(3), "it holds a Tensor, not a state dict"),
    "nothing": (lambda s: {"epoch": 3, "lr": 0.1}, r"no tensors by name \(its keys: epoch, lr\)"),
    "quantised": (
        lambda s: (
            s | {"head.weight": torch.quantize_per_tensor(torch.ones(3, 4), 1, 0, torch.qint8)}
        ),
        "head.weight is quantised",
    ),
    "on no device": (lambda s: s | {"head.bias": torch.ones(3, device="meta")}, "the device meta"),
    "huge": (
        lambda s: s | {"head.weight": torch.ones(1).expand(1 << 40)},
        "more memory than the .* that may be used",
    ),
    "a whole network": (lambda s: Small(3), "and unpickling such an object could run any code"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_one_line_with_the_cause(
    network: Small, tmp_path: Path, case: str
) -> None:
    change, message = UNFIT[case]
    path = saved(change(network.state_dict()), tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"target.checkpoint: {path} does not fit model 'small': ")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 700


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", NO_STATE)
def test_what_is_no_state_dict_is_named(network: Small, tmp_path: Path, case: str) -> None:
    change, message = NO_STATE[case]
    path = tmp_path / "a.pt"
    torch.save(change(network.state_dict()), path)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"target.checkpoint: {path}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("inside", [False, True])
def test_nothing_is_run_by_reading(tmp_path: Path, inside: bool, network: Small) -> None:
    marker, path = tmp_path / "executed", tmp_path / "a.ckpt"
    evil = Evil(marker)
    torch.save({"state_dict": network.state_dict(), "callbacks": evil} if inside else evil, path)
    with pytest.raises(DataError, match="could run any code, so it is never done"):
        read(path)
    assert not marker.exists()


def test_no_switch_of_torch_makes_it_unpickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker, path = tmp_path / "executed", tmp_path / "a.pt"
    torch.save(Evil(marker), path)
    with pytest.raises(DataError, match="never done"):
        read(path)
    assert not marker.exists()


def test_a_bomb_is_refused_before_it_is_unfolded(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 22)}, tmp_path / "flat.pt")
    with (
        ZipFile(tmp_path / "flat.pt") as flat,
        ZipFile(tmp_path / "bomb.pt", "w", ZIP_DEFLATED) as new,
    ):
        for name in flat.namelist():
            new.writestr(name, flat.read(name))
    assert (tmp_path / "bomb.pt").stat().st_size < 1 << 17
    with limited_to(1 << 23), pytest.raises(DataError, match="takes 16 MiB of memory"):
        read(tmp_path / "bomb.pt")


def test_whoever_reads_has_no_more_memory_than_a_run(tmp_path: Path) -> None:
    """A file of few bytes, whose tensor is unfolded only where it is copied."""
    torch.save({"a": torch.ones(1).expand(1 << 27)}, tmp_path / "a.pt")
    with limited_to(1 << 28), pytest.raises(DataError, match=r"more memory than the 256 MiB"):
        read_pickled(tmp_path / "a.pt")


CONTENT: dict[str, tuple[bytes, str]] = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "`git lfs pull`"),
    "empty": (b"", "is no safetensors, torch.export, TorchScript or state_dict file"),
    "page": (b"<!DOCTYPE html>", "is no safetensors, torch.export"),
    "half a pickle": (b"\x80\x02}q", "cannot be read as a state dict: it is damaged"),
}


@pytest.mark.parametrize("case", CONTENT)
def test_files_that_are_something_else_are_named(tmp_path: Path, case: str) -> None:
    content, message = CONTENT[case]
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_cut_off_is_named(network: Small, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="is no safetensors"):
        read(path)
