"""NN, NN-cls, NN-top3 and SAMIA against loops, PyTorch's own optimiser and hand-made cases."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor, nn

from privaudit import Attack, AttackScores, Outputs, PrivauditError, Role, Signals
from privaudit.learning import Dropper
from privaudit_plugins.attacks import _training, samia
from privaudit_plugins.attacks._training import Kind, problem, train
from privaudit_plugins.attacks.compleak import two_parts
from privaudit_plugins.attacks.neural import NN, PERCEPTRON, NNCls, NNTop3, perceptron
from privaudit_plugins.attacks.samia import SAMIA, SELF_ATTENTION, SelfAttention

CLASSES = 4
BRIEF: list[Attack] = [
    NN(epochs=10, learning_rate=0.05),
    NNCls(epochs=10, learning_rate=0.05),
    NNTop3(epochs=10, learning_rate=0.05),
    SAMIA(epochs=10, learning_rate=0.02),
]
by_name = pytest.mark.parametrize("attack", BRIEF, ids=lambda attack: attack.name)


def made_up(memory: float, *, members: float = 0.5, seed: int = 7) -> tuple[Signals, Tensor]:
    """A target and two shadows surer of their members by `memory`, and the target's membership.

    A third of the 400 rows, drawn for each model, are outside of it.
    """
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (400,), generator=draw)
    chance = torch.tensor([1 / 3, 2 / 3 * members, 2 / 3 * (1 - members)])
    role = torch.multinomial(chance, 1200, replacement=True, generator=draw).view(3, 400)
    inside, audited = role == Role.MEMBER, role != Role.OUTSIDE
    logits = torch.randn(3, 400, CLASSES, generator=draw)
    logits[:, torch.arange(400), y] += 1 + memory * inside
    shift = torch.randn(3, 2, 400, CLASSES, generator=draw)
    noisy = (logits[:, None] + 1e-3 * shift).masked_fill(~audited[:, None, :, None], torch.nan)
    outputs = Outputs(logits[:, None], noisy, noise_scale=1e-3)
    signals = Signals(
        x=torch.zeros(400, 1),
        y=y,
        audited=audited[0],
        target=outputs[0],
        shadows=outputs[torch.arange(1, 3)],
        shadow_role=role[1:].to(torch.uint8),
        seed=5,
    )
    return signals, inside[0]


def auc(scores: AttackScores, signals: Signals, inside: Tensor) -> float:
    return float(roc_auc_score(inside[signals.audited], scores.score[signals.audited]))


def softmax(logits: list[float]) -> list[float]:
    return [math.exp(z) / sum(map(math.exp, logits)) for z in logits]


def test_samia_sees_prediction_sensitivity_and_class_of_every_class() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 5, 3, generator=draw)
    noisy = logits + 1e-3 * torch.randn(10, 5, 3, generator=draw)
    y = torch.tensor([2, 0, 1, 1, 0])
    found = samia.features(Outputs(logits, noisy, noise_scale=1e-3), y)
    assert found.shape == (5, 9)
    for row in range(5):
        p = softmax(logits[0, row].tolist())
        moved = [softmax(copy[row].tolist()) for copy in noisy]
        for c in range(3):
            expected = sum(abs(p[c] - other[c]) for other in moved) / 10 / 1e-3
            assert found[row, c].item() == pytest.approx(p[c], rel=1e-9)
            assert found[row, 3 + c].item() == pytest.approx(expected, rel=1e-9)
            assert found[row, 6 + c].item() == float(c == y[row])


def test_perceptrons_see_the_prediction_as_the_paper_says() -> None:
    outputs = Outputs(torch.tensor([[[1.0, 3.0, 2.0, 0.0], [0.0, 0.0, 5.0, 1.0]]]))
    y = torch.tensor([1, 3])
    p = [softmax(row) for row in outputs.logits[0].tolist()]
    assert NN().features(outputs, y).tolist() == [pytest.approx(row) for row in p]
    with_class = [[*p[0], 0, 1, 0, 0], [*p[1], 0, 0, 0, 1]]
    assert NNCls().features(outputs, y).tolist() == [pytest.approx(row) for row in with_class]
    largest = [sorted(row, reverse=True)[:3] for row in p]
    assert NNTop3().features(outputs, y).tolist() == [pytest.approx(row) for row in largest]
    two = Outputs(torch.tensor([[[0.0, 1.0]]]))
    expected = sorted(softmax([0.0, 1.0]), reverse=True)
    assert NNTop3().features(two, y[:1]).tolist() == [pytest.approx(expected)]


def test_networks_have_as_many_weights_as_the_published_ones() -> None:
    def count(network: nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    assert count(SelfAttention(30)) == 141_886
    layers = [(10, 512), (512, 256), (256, 128), (128, 2)]
    assert count(perceptron(10)) == sum(a * b + b for a, b in layers)
    dropped = [m.p for m in perceptron(10).modules() if isinstance(m, nn.Dropout)]
    assert dropped == [0.2, 0.2]


def layer_norm(x: Tensor, norm: nn.Module) -> Tensor:
    spread = (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    weight, bias = norm.parameters()
    return (x - x.mean(-1, keepdim=True)) / spread * weight + bias


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def encoder_layer(x: Tensor, weights: dict[str, Tensor], layer: nn.Module) -> Tensor:
    """One example's tokens (C, 64) through self-attention and the feed-forward part."""
    projected = x @ weights["self_attn.in_proj_weight"].T + weights["self_attn.in_proj_bias"]
    q, k, v = projected[:, :64], projected[:, 64:128], projected[:, 128:]
    heads = []
    for h in range(4):
        own = slice(16 * h, 16 * h + 16)
        attention = (q[:, own] @ k[:, own].T / math.sqrt(16)).softmax(-1)
        heads.append(attention @ v[:, own])
    mixed = torch.cat(heads, 1) @ weights["self_attn.out_proj.weight"].T
    norm1, norm2 = layer.get_submodule("norm1"), layer.get_submodule("norm2")
    x = layer_norm(x + mixed + weights["self_attn.out_proj.bias"], norm1)
    wide = gelu(x @ weights["linear1.weight"].T + weights["linear1.bias"])
    return layer_norm(x + wide @ weights["linear2.weight"].T + weights["linear2.bias"], norm2)


def test_self_attention_is_what_its_formulas_say() -> None:
    torch.manual_seed(0)
    network = SelfAttention(9).double()
    x = 3 * torch.randn(7, 9, dtype=torch.float64)
    network.train()(x)  # moves BatchNorm's statistics
    for norm in (m for m in network.modules() if isinstance(m, nn.LayerNorm | nn.BatchNorm1d)):
        for parameter in norm.parameters():
            nn.init.normal_(parameter)
    found = network.eval()(x)
    norm = network.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scaled = (x - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
    for row, logits in zip(scaled, found, strict=True):
        tokens = torch.stack([torch.stack([row[c], row[3 + c], row[6 + c]]) for c in range(3)])
        seen = gelu(tokens @ network.embed.weight.T + network.embed.bias)
        assert len(network.encoder.layers) == 3
        for layer in network.encoder.layers:
            seen = encoder_layer(seen, dict(layer.named_parameters()), layer)
        hidden = (network.hidden.weight @ seen.flatten() + network.hidden.bias).clamp(min=0)
        torch.testing.assert_close(logits, network.output.weight @ hidden + network.output.bias)


def test_self_attention_drops_in_training_only() -> None:
    network = SelfAttention(9)
    rates = {m.p for m in network.modules() if isinstance(m, nn.Dropout)}
    assert rates == {0.2}
    x = torch.randn(5, 9)
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
) -> Tensor:
    """Scaled dot products, whose weights are dropped like all else."""
    assert mask is None
    assert not is_causal
    weights = (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1)
    return nn.functional.dropout(weights, dropout_p) @ value


@pytest.fixture
def dropper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch's own layers drop by `Dropper`, whose key comes from torch's own generator."""
    drops: dict[int, Dropper] = {}

    def dropped(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or not p:
            return x
        seed = torch.initial_seed()
        drop = drops.setdefault(seed, Dropper(p, [torch.default_generator]))
        return drop(x[None])[0]

    monkeypatch.setattr(nn.functional, "dropout", dropped)
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", attention)


def trained_alone(network: nn.Module, x: Tensor, member: Tensor, seed: int) -> None:
    """Train a network for nine epochs as anyone would."""
    torch.manual_seed(seed)
    sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, [4, 6], gamma=0.1)
    count = int(member.sum())
    weight = torch.tensor([75 / (150 - count), 75 / count], dtype=x.dtype)[member.long()]
    for _ in range(9):
        for rows in torch.randperm(150).tensor_split(2):
            sgd.zero_grad()
            losses = nn.functional.cross_entropy(
                network(x[rows]), member[rows].long(), reduction="none"
            )
            torch.autograd.backward((losses * weight[rows]).mean())
            sgd.step()
        schedule.step()


@pytest.mark.parametrize(
    "kind",
    [PERCEPTRON, SELF_ATTENTION, two_parts(4, 2)],
    ids=["perceptron", "attention", "two parts"],
)
@pytest.mark.usefixtures("dropper")
def test_networks_trained_together_equal_each_trained_alone_by_torch_optim(kind: Kind) -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(3, 150, 6, generator=draw, dtype=torch.float64)
    member = torch.rand(3, 150, generator=draw) < 0.2
    theirs = [kind.build(6).double().train() for _ in range(3)]
    ours = [deepcopy(network) for network in theirs]
    problems = [problem(x[t], member[t], torch.Generator().manual_seed(30 + t)) for t in range(3)]
    train(ours, problems, kind, 9, 0.1)
    for t, (network, other) in enumerate(zip(ours, theirs, strict=True)):
        assert not network.training
        trained_alone(other, x[t], member[t], 30 + t)
        state = other.state_dict()
        for name, found in network.state_dict().items():
            if found.is_floating_point():
                torch.testing.assert_close(found, state[name], rtol=0, atol=1e-11)


def test_networks_start_with_xaviers_normal_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[nn.Module] = []

    def train_not(networks: list[nn.Module], *arguments: object) -> None:
        started.extend(networks)

    monkeypatch.setattr(_training, "train", train_not)
    NN().score(made_up(1.0)[0])
    for layer in (m for m in started[0].modules() if isinstance(m, nn.Linear)):
        scale = math.sqrt(2 / (layer.in_features + layer.out_features))
        assert float(layer.weight.std()) == pytest.approx(scale, rel=0.15)
        assert not layer.bias.any()


@by_name
def test_targets_scored_together_score_as_each_alone(attack: Attack) -> None:
    signals = [made_up(2.0, seed=seed)[0] for seed in (1, 2)]
    twin = replace(signals[0], seed=8)  # as many examples, and another randomness
    attack = attack.model_copy(update={"epochs": 2})
    together = attack.score_all([*signals, twin])
    for found, one in zip(together, [*signals, twin], strict=True):
        torch.testing.assert_close(
            found.score, attack.score(one).score, rtol=0, atol=1e-4, equal_nan=True
        )


@by_name
def test_attack_on_networks_that_memorise_tells_members(attack: Attack) -> None:
    signals, inside = made_up(6.0)
    scores = attack.score(signals)
    assert auc(scores, signals, inside) > 0.9
    assert scores.decision is not None
    audited = signals.audited
    assert balanced_accuracy_score(inside[audited], scores.decision[audited]) > 0.85
    assert bool(torch.isnan(scores.score[~audited]).all())


@by_name
def test_attack_on_networks_without_memory_guesses(attack: Attack) -> None:
    deviations = []
    for seed in range(4):
        signals, inside = made_up(0.0, seed=seed)
        n, m = int(inside.sum()), int((signals.audited & ~inside).sum())
        error = math.sqrt((n + m + 1) / (12 * n * m))  # of an AUC under chance: the rank test's
        scores = attack.model_copy(update={"epochs": 2}).score(signals)
        deviations.append((auc(scores, signals, inside) - 0.5) / error)
    assert abs(sum(deviations)) / 2 < 3.29  # 99.9 %
    assert len(set(deviations)) == 4


@by_name
def test_members_weigh_as_much_as_non_members_however_few(attack: Attack) -> None:
    signals, inside = made_up(4.0, members=0.1)
    decision = attack.score(signals).decision
    assert decision is not None
    assert float(decision[inside].double().mean()) > 0.5  # unweighted, almost nobody would be


@by_name
def test_scores_depend_on_the_seed_and_on_nothing_random(attack: Attack) -> None:
    signals, _ = made_up(2.0)
    attack = attack.model_copy(update={"epochs": 1})
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = attack.score(signals).score
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = attack.score(signals).score
    torch.testing.assert_close(first, again, rtol=0, atol=0, equal_nan=True)
    other = attack.score(replace(signals, seed=6)).score
    assert not torch.equal(other[signals.audited], first[signals.audited])


@by_name
def test_answers_outside_a_models_own_rows_change_nothing(attack: Attack) -> None:
    signals, _ = made_up(2.0)
    attack = attack.model_copy(update={"epochs": 1})

    def garbled(outputs: Outputs, known: Tensor) -> Outputs:
        logits = outputs.logits.masked_fill(~known[..., None, :, None], torch.nan)
        return replace(outputs, logits=logits)

    other = attack.score(
        replace(
            signals,
            target=garbled(signals.target, signals.audited),
            shadows=garbled(signals.shadows, signals.shadow_role != Role.OUTSIDE),
        )
    )
    audited = signals.audited
    assert torch.equal(other.score[audited], attack.score(signals).score[audited])


@by_name
def test_attack_names_what_it_lacks(attack: Attack) -> None:
    signals, _ = made_up(1.0)
    one_sided = replace(signals, shadow_role=torch.full_like(signals.shadow_role, Role.MEMBER))
    none = torch.tensor([], dtype=torch.int64)
    alone = replace(signals, shadows=signals.shadows[none], shadow_role=signals.shadow_role[none])
    for lacking in (one_sided, alone):
        with pytest.raises(PrivauditError, match=f"{attack.name} learns from shadows"):
            attack.score(lacking)
    diverged = replace(signals.target, logits=torch.full_like(signals.target.logits, torch.nan))
    with pytest.raises(PrivauditError, match=r"the target answers NaN"):
        attack.score(replace(signals, target=diverged))


def test_samia_needs_answers_to_noisy_copies() -> None:
    signals, _ = made_up(1.0)
    with pytest.raises(PrivauditError, match=r"noisy copies .* missing"):
        SAMIA().score(replace(signals, target=replace(signals.target, noisy=None)))
    assert SAMIA.noise == 10
    assert NN.noise == NNCls.noise == NNTop3.noise == 0
