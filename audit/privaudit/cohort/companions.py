"""Second networks: called with their trained weights, and those that learn after the first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from privaudit.api.calls import companion_scheduled
from privaudit.api.float32 import float32_products
from privaudit.api.plugin import Defense, Plugin, Step
from privaudit.cohort.fits import Fits
from privaudit.errors import PluginError
from privaudit.keys import derive, fold, seeded
from privaudit.networks.answer import Answers
from privaudit.networks.network import Network
from privaudit.networks.state import Buffers, Rows, State
from privaudit.store.journal import digest
from privaudit.store.unit_file import like
from privaudit.train.dataset import epoch_order
from privaudit.train.objective import derivatives
from privaudit.train.returned import scalar

logger = logging.getLogger(__name__)

Play = Callable[..., Tensor]


def players(network: Network | None, states: Sequence[State]) -> list[Play | None]:
    """Each model's trained second network, called as `companion(logits, y)` on the host.

    Args:
        network: their structure; None where there is none.
        states: of the models, one by one, on the device.

    Raises:
        PluginError: they learn after the first networks, and have not.
    """
    if network is None:
        return [None] * len(states)

    def of(state: State) -> Play:
        def play(*inputs: Tensor) -> Tensor:
            moved = [i.to(network.device) for i in inputs]
            logits, _ = network.forward(state.companion, state.companion_buffers, *moved)
            return logits.cpu()

        return play

    if any(state.companion.numel() < network.size for state in states):
        raise PluginError(
            "the second networks have not learnt anything: `companion_schedule` keeps them out of "
            "training, so `finish` has to end with cohort.fit_companion(epochs)"
        )
    return [of(state) for state in states]


def fit_companions(
    fits: Fits,
    network: Network | None,
    first: State | None,
    now: State,
    owner: tuple[Plugin, Defense],
    rows: Sequence[Rows],
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
) -> State:
    """M models whose second networks have learnt from what the first ones answer.

    The answers are those in evaluation to examples that are not augmented. A model's second
    network is a unit of the journal. A plan leaves those that are missing as they start.

    Args:
        fits: the journal's side of the cohort.
        network: the second networks' structure.
        first: weights of the second networks before any training; None: none learns afterwards.
        now: the models.
        owner: the sparsifier, and the defense whose `companion_loss` they minimise.
        rows: each model's examples.
        seeds: each model's own.
        epochs: passes over the members.
        batch_size: members in a step, and reference examples where the defense has them.

    Raises:
        PluginError: there is nothing to do, or a second network's weights are no numbers.
    """
    if network is None or first is None:
        raise PluginError(
            "fit_companion: no second network learns afterwards: write `companion` and "
            "`companion_loss`, and a `companion_schedule` of 0 steps"
        )
    if epochs < 1 or batch_size < 1:
        raise PluginError(
            f"fit_companion takes epochs and batch_size from 1 on, got {epochs} and {batch_size}"
        )
    start, defense = replace(first, flat=now.flat, buffers=now.buffers), owner[1]
    if fits.waits:
        return start
    learnt = []
    for m, (chosen, seed) in enumerate(zip(rows, seeds, strict=True)):
        state = start[torch.tensor([m])]
        reference = chosen.reference if defense.reference else None
        key = digest(
            "companion", fits.source, seed, state.flat, state.buffers, state.companion,
            state.companion_buffers, chosen.member, reference, epochs, batch_size, *owner,
        )  # fmt: skip
        buffers = {f"b:{n}": b for n, b in state.companion_buffers.items()}
        here = {"flat": state.companion, **buffers}
        schema = like("companion", here)
        unit = fits.journal.find(key, schema)
        if unit is None and not fits.plan:
            logger.info("training the second network of model %d of %d", m + 1, len(rows))
            learner = _Learner(fits, network, state, defense)
            unit = learner.fitted(chosen.member, reference, seed, epochs, batch_size)
            fits.journal.keep(schema.name, {key: unit})
        learnt.append(here if unit is None else unit)
    names = start.companion_buffers
    return replace(
        start,
        companion=torch.cat([unit["flat"] for unit in learnt]),
        companion_buffers={n: torch.cat([unit[f"b:{n}"] for unit in learnt]) for n in names},
    )


class _Learner:
    """One model's second network, trained alone, so that it is the same in any company."""

    def __init__(self, fits: Fits, network: Network, state: State, defense: Defense) -> None:
        self._fits, self._defense = fits, defense
        self._network = network.one_at_a_time()
        self._state = state.to(network.device).one(0)

    @float32_products()
    def fitted(
        self, member: Tensor, reference: Tensor | None, seed: int, epochs: int, batch_size: int
    ) -> dict[str, Tensor]:
        """Its weights and buffers after so many epochs of Adam, (1, ...) by name.

        Args:
            member: (n,) int64.
            reference: (r,) int64; None where the defense has none.
            seed: the model's own.
            epochs: passes over the members.
            batch_size: examples of each kind in a step.

        Raises:
            PluginError: its weights are no numbers.
        """
        logits, y = self._answers(member, reference)
        leaves = self._network.leaves(self._state.companion.clone())
        held = dict(self._state.companion_buffers)
        lr = companion_scheduled(self._defense)[1]
        optimizer = torch.optim.Adam(leaves.values(), lr=lr)
        own = derive(seed, "companion after")
        key = torch.tensor(own, device=y.device)
        with seeded(own, y.device):
            for epoch in range(epochs):
                batches = _batches(member, derive(own, "member"), epoch, batch_size)
                others: Sequence[Tensor | None] = [None] * len(batches)
                if reference is not None:
                    order = _batches(reference, derive(own, "reference"), epoch, batch_size)
                    others = [order[i % len(order)] for i in range(len(batches))]
                for i, (inside, outside) in enumerate(zip(batches, others, strict=True)):
                    step = Step(
                        logits=logits[inside],
                        y=y[inside],
                        epoch=torch.tensor(epoch, device=y.device),
                        key=fold(fold(key, epoch), i),
                        reference_logits=None if outside is None else logits[outside],
                        reference_y=None if outside is None else y[outside],
                    )
                    self._step(step, leaves, held, optimizer)
        flat = self._network.flatten(
            {n: leaf.detach() for n, leaf in leaves.items()}, self._state.companion
        )
        if not bool(flat.isfinite().all()):
            raise PluginError(
                f"fit_companion: a second network's weights are no numbers after {epochs} epochs: "
                "give a lower learning rate in `companion_schedule`"
            )
        buffers = {f"b:{n}": b[None].detach().cpu() for n, b in held.items()}
        return {"flat": flat[None].cpu(), **buffers}

    def _answers(self, member: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits (N, C), zeros where nobody learns from them, and labels (N,)."""
        data, network = self._fits.data, self._fits.network
        rows = member if reference is None else torch.cat([member, reference])
        rows = rows.to(network.device)
        some = Answers(network).to_rows(self._state, data.plain, rows)
        logits = some.new_zeros((len(data.y), some.shape[1]))
        return logits.index_copy_(0, rows, some), data.y

    def _step(
        self,
        step: Step,
        leaves: dict[str, Tensor],
        held: Buffers,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        network = self._network

        def play(*inputs: Tensor) -> Tensor:
            answer, after = network.forward(leaves, held, *inputs, key=step.key)
            held.update(after)
            return answer

        loss = self._defense.companion_loss(replace(step, companion=play))
        gradients = derivatives(scalar(self._defense, "companion_loss", loss), leaves)
        for name, leaf in leaves.items():
            leaf.grad = gradients.get(name)
        optimizer.step()


def _batches(rows: Tensor, seed: int, epoch: int, size: int) -> Tensor:
    """(S, B) rows of an epoch: B is `size`, or all where there are fewer."""
    return epoch_order(rows, seed, epoch, min(size, len(rows)))
