"""Networks of a finished run as files: what they hold, and that they answer as before."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from sklearn.datasets import load_digits
from torch import Tensor

import privaudit
from privaudit.cli import main
from privaudit.experiment.export import export
from privaudit.recipe import load_recipe
from run_folders import without_manifest

RECIPE: dict[str, Any] = {
    "name": "leaving",
    "seeds": [3, 5],
    "dataset": "digits",
    "split": {"members": 60, "non_members": 70, "validation": 10},
    "model": {"name": "cnn", "width": 4},
    "training": {"epochs": 1, "lr": 0.05},
    "sparsifiers": [
        {"name": "l1_structured", "label": "thin", "density": [0.5, 0.25]},
        {"name": "butterfly", "layers": ["conv2"]},
    ],
    "defenses": [
        "none",
        {"name": "hamp", "label": "masked"},
        {"name": "cwrf", "label": "rewound", "epochs": 1},
    ],
    "attacks": ["loss"],
}
DENSE = (9 * 4 + 4) + (9 * 4 * 8 + 8) + (8 * 4 * 10 + 10)
THIN = (9 * 2 + 2) + (9 * 2 * 4 + 4) + (4 * 4 * 10 + 10)  # half of the filters


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leaving")
    privaudit.run(load_recipe(RECIPE), folder / "run", cache=folder / "cache", device="cpu")
    return folder / "run"


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    def run_command(*arguments: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["privaudit", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return caught.value.code, said.out, said.err

    return run_command


def answers(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The cnn's logits, written down once more."""
    x = (x.float() - 8) / 8
    for layer in ("conv1", "conv2"):
        x = torch.conv2d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], padding=1)
        x = torch.max_pool2d(x.relu(), 2)
    return x.flatten(1) @ weights["output.weight"].T + weights["output.bias"]


def digits(count: int = 40) -> Tensor:
    return torch.from_numpy(load_digits().images[:count]).to(torch.uint8).unsqueeze(1)


def kept(run: Path, stem: str) -> dict[str, Tensor]:
    (path,) = (run / "models").glob(f"{stem}-*")
    return safetensors.torch.load_file(path)


def test_a_thin_network_is_truly_smaller_and_answers_as_before(run: Path) -> None:
    done = export(run, "thin", level="density 0.5", seed=5)
    assert (done.dense, done.parameters, done.nonzero) == (DENSE, THIN, THIN)
    assert done.path.parent == run / "exports"
    assert done.size == done.path.stat().st_size < 4 * THIN + 2000
    small, whole = safetensors.torch.load_file(done.path), kept(run, "thin-density-0-5-seed-5")
    assert small["conv2.weight"].shape == (4, 2, 3, 3)
    assert torch.allclose(answers(small, digits()), answers(whole, digits()), atol=1e-5)


def test_the_file_says_what_it_is(run: Path) -> None:
    with safe_open(export(run, "thin", level="density 0.25").path, framework="pt") as file:
        about = json.loads(file.metadata()["privaudit"])
        shapes = {name: list(file.get_tensor(name).shape) for name in file.keys()}  # noqa: SIM118
    assert about["shapes"] == shapes
    assert about["parameters"] == sum(int(np.prod(shape)) for shape in shapes.values())
    assert [about[key] for key in ("subject", "level", "seed", "target", "privaudit")] == [
        "thin", "density 0.25", 3, 0, privaudit.__version__,
    ]  # fmt: skip
    inputs = about["inputs"]
    assert (inputs["shape"], inputs["dtype"], len(inputs["classes"])) == ([1, 8, 8], "uint8", 10)


@pytest.mark.parametrize("subject", ["thin", "butterfly"])
def test_onnx_takes_examples_as_they_are(run: Path, subject: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: privaudit[onnx]")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: privaudit[onnx]")
    from onnx.reference import ReferenceEvaluator

    level = "density 0.5" if subject == "thin" else None
    done = export(run, subject, level=level, format="onnx", output=tmp_path / "a.onnx")
    model = onnx.load(done.path)
    onnx.checker.check_model(model)
    assert b".py" not in done.path.read_bytes()  # where on this machine its code lies
    held = sum(int(np.prod(each.dims)) for each in model.graph.initializer)
    assert done.parameters <= held < done.parameters + 40  # no factors are multiplied out
    asked = ReferenceEvaluator(model)
    if subject == "thin":
        weights = kept(run, "thin-density-0-5-seed-3")
    else:
        weights = kept(run, "butterfly-seed-3")
        place = privaudit.load_recipe(run / "recipe.yaml").sparsifiers[1].plugin
        network = place.prepare(load_recipe(RECIPE).model.build((1, 8, 8), 10))
        network.load_state_dict(weights)
    for count in (1, 7):
        found: Any = asked.run(None, {"examples": digits(count).numpy()})
        (logits,) = found
        with torch.no_grad():
            expected = (
                answers(weights, digits(count))
                if subject == "thin"
                else network((digits(count).float() - 8) / 8)
            )
        assert logits.shape == (count, 10)
        assert np.allclose(logits, expected, atol=1e-4)
    assert json.loads(model.metadata_props[0].value)["subject"] == subject


def test_without_onnx_one_line_says_what_to_install(
    run: Path, call: Callable[..., tuple[Any, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privaudit.experiment.onnx.find_spec", lambda name: None)
    code, out, err = call(run, "--subject", "butterfly", "--format", "onnx")
    assert (code, out) == (2, "")
    assert err == "--format onnx needs onnx and onnxscript: pip install 'privaudit[onnx]'\n"


def test_the_command_says_what_was_written(
    run: Path, call: Callable[..., tuple[Any, str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "thin.safetensors"
    code, out, err = call(run, "--subject", "thin", "--level", "density 0.5", "--output", file)
    assert (code, err) == (0, "")
    size = file.stat().st_size
    assert out == f"{file}: {DENSE} parameters when dense, {THIN} in the file, {size:,} bytes\n"


def test_a_defense_that_changes_answers_is_not_in_the_file(
    run: Path, call: Callable[..., tuple[Any, str, str]]
) -> None:
    said = {}
    for label in ("masked", "rewound"):  # cwrf answers as the defense in it, which is none
        code, said[label], _ = call(run, "--subject", f"butterfly + {label}")
        assert code == 0
    assert "Not in the file: what the defense 'hamp' changes in the answers." in said["masked"]
    assert "Not in the file" not in said["rewound"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subject", "thinn"], "--subject 'thinn' is not in this run: there are 'thin', "
         "'thin + masked', 'thin + rewound', 'butterfly', 'butterfly + masked', "
         "'butterfly + rewound'\n"),
        (["--subject", "thin"], "--level is needed: there are 'density 0.5', 'density 0.25'\n"),
        (["--subject", "thin", "--level", "x"], "--level 'x' is not in this run: there are 'dens"),
        (["--subject", "butterfly", "--seed", "4"], "--seed 4 is not in this run: there are 3, 5"),
        (["--subject", "butterfly", "--target", "1"], "--target 1 is not in this run: there are 0"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_answered_with_what_is(
    run: Path, call: Callable[..., tuple[Any, str, str]], arguments: list[str], message: str
) -> None:
    code, out, err = call(run, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_runs_whose_weights_say_nothing_ask_their_dataset(run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    without_manifest(old)
    for path in (old / "models").iterdir():
        path.write_bytes(safetensors.torch.save(safetensors.torch.load_file(path)))
    ours, theirs = (export(folder, "thin", level="density 0.5").path for folder in (run, old))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing; run its recipe again"),
        (lambda path: path.write_bytes(b"x" * 50), "is damaged"),
        (
            lambda path: path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)})),
            "is damaged",
        ),
    ],
    ids=["missing", "damaged", "another network"],
)
def test_weights_that_are_not_right_are_named(
    run: Path,
    call: Callable[..., tuple[Any, str, str]],
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    shutil.copytree(run, tmp_path / "run")
    (path,) = (tmp_path / "run" / "models").glob("butterfly-seed-3-*")
    damage(path)
    code, out, err = call(tmp_path / "run", "--subject", "butterfly")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(str(path))
    assert message in err


def test_weights_of_an_old_run_that_do_not_fit_are_named(
    run: Path, call: Callable[..., tuple[Any, str, str]], tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    without_manifest(tmp_path / "run")
    (path,) = (tmp_path / "run" / "models").glob("butterfly-seed-3-*")
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    code, out, err = call(tmp_path / "run", "--subject", "butterfly")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(str(path))
    assert "does not fit the network that 'cnn' and 'butterfly' build now" in err


def test_a_run_with_a_given_target_has_nothing_to_export(
    run: Path, call: Callable[..., tuple[Any, str, str]], tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    without_manifest(tmp_path / "run")
    given = RECIPE | {
        "target": {"checkpoint": "own.safetensors", "members": "digits", "non_members": "digits"}
    }
    (tmp_path / "run" / "recipe.yaml").write_text(load_recipe(given).to_yaml())
    code, out, err = call(tmp_path / "run", "--subject", "thin")
    assert (code, out) == (2, "")
    assert "trained elsewhere" in err
    assert err.endswith("own.safetensors\n")


def test_help_does_not_wait_for_torch() -> None:
    script = (
        "import sys\nfrom privaudit.cli import app\n"
        "try:\n    app(['export', '--help'])\n"
        "finally:\n    assert not {'torch', 'onnx', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"--subject" in done.stdout
