"""What runs on the device: prefill, a step of all rows, drawing their ids. One thread owns it.

A round is two halves. `Runner.forward` queues a step of the ids that were drawn last, which never left the device.
While it runs, those ids arrive on the host and are looked at (`Drawn.ids`); what they mean for the next ids (masks, ids
that are forced) goes into `Runner.draw`, which is queued behind the step. So the host's work costs the device no time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sayso.engine.cache import runs
from sayso.engine.masks import words
from sayso.engine.network import Network
from sayso.engine.request import Prompt, Sampling, Vectors
from sayso.engine.sampling import Rows, draw, likeliest, mask_out, penalise
from sayso.engine.steps import Steps

_SPAN = 256
_COLDEST = 1e-4  # below, logits divided by the temperature leave the range of float32; it is greedy anyway


@dataclass(frozen=True, slots=True)
class Drawn:
    """Ids on their way to the host."""

    _ids: Tensor
    _arrived: torch.cuda.Event | None

    def ids(self) -> list[int]:
        """The id of each row, as soon as they are here."""
        if self._arrived is not None:
            self._arrived.synchronize()
        ids: Any = self._ids
        return ids.tolist()


def own_stream(device: torch.device) -> AbstractContextManager[Any]:
    """A stream beside the default one on CUDA. Sound has one of higher priority: a late step is heard by nobody."""
    if device.type != "cuda":
        return nullcontext()
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))  # the weights are there
    return torch.cuda.stream(stream)


class Runner:
    """Runs a network for many slots.

    Args:
        network: What computes.
        graphs: Replay steps as CUDA graphs; None: where there is CUDA.
    """

    def __init__(self, network: Network, graphs: bool | None = None) -> None:
        self.network = network
        self._device = device = network.device
        self._cuda = device.type == "cuda"
        slots, vocab = network.slots, network.vocab_size
        self._step = Steps(network, self._cuda if graphs is None else graphs)
        self._ids = torch.zeros(slots, dtype=torch.int64, device=device)
        self._positions = torch.zeros(slots, dtype=torch.int64, device=device)
        self._seen = torch.zeros(slots, vocab, dtype=torch.bool, device=device)
        self._true = torch.ones((), dtype=torch.bool, device=device)  # Python's True would be sent, and waited for
        self._rows = Rows(*(torch.ones(slots, 1, device=device) for _ in range(3)))
        self._sampling: dict[int, Sampling] = {}
        self._fresh: dict[int, Tensor] = {}
        self._logits: Tensor | None = None

    @torch.inference_mode()
    def prefill(self, slot: int, prompt: Prompt, start: int, end: int) -> Tensor:
        """Compute the positions of ``prompt`` from ``start`` to ``end``; returns the logits of the last, (vocab,)."""
        pieces = list(runs(prompt, start, end))
        ids = [token_id for piece in pieces if not isinstance(piece, Vectors) for token_id in piece]
        if len(ids) == end - start:
            inputs = self._upload(torch.tensor(ids, dtype=torch.int64))
        else:  # one pass over the weights, not one a piece
            inputs = torch.cat([self._vectors(piece) for piece in pieces])
        return self.network.prefill(slot, inputs, start)

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the start of a slot's cache."""
        self.network.copy(source, target, length)

    @torch.inference_mode()
    def begin(self, slot: int, ids: Sequence[int], logits: Tensor, sampling: Sampling) -> None:
        """Let a slot draw, from the logits of its prompt first.

        Args:
            slot: Which row.
            ids: Those of the prompt, for the repetition penalty.
            logits: Shape (vocab,).
            sampling: How it draws.
        """
        self._sampling[slot] = sampling
        temperature = sampling.temperature if sampling.temperature >= _COLDEST else 0.0
        settings = torch.tensor([temperature, sampling.top_p, sampling.repetition_penalty])
        for setting, value in zip(
            (self._rows.temperature, self._rows.top_p, self._rows.penalty), self._upload(settings), strict=True
        ):
            setting[slot] = value
        if sampling.repetition_penalty != 1:
            seen = self._seen[slot].zero_()
            seen[self._upload(torch.tensor([*ids], dtype=torch.int64))] = self._true
        self._fresh[slot] = logits

    def end(self, slot: int) -> None:
        """The slot draws no more."""
        self._sampling.pop(slot, None)
        self._fresh.pop(slot, None)

    @torch.inference_mode()
    def prepare(self, lengths: Mapping[int, int]) -> None:
        """Capture a graph for each shape of a step; nothing without graphs. No slot may be drawing.

        Args:
            lengths: Of all sequences, by slot: what the steps write there is overwritten by their next ids.
        """
        slots, positions = self.network.slots, self.network.max_len
        for limit in reversed(_sizes(positions, _SPAN)):  # large ones first: the others fit into their memory
            for rows in reversed(_sizes(slots)):
                if self._step.graphs:
                    self._place(rows, lengths)
                    self._step(self._ids[:rows], self._positions[:rows], limit)

    @torch.inference_mode()
    def forward(self, positions: Mapping[int, int], lengths: Mapping[int, int]) -> None:
        """Queue a step of the ids that were drawn last.

        Args:
            positions: Where each slot that goes on writes its id.
            lengths: Of all sequences, by slot: what the step writes for the others is overwritten by their next ids.
        """
        rows = _rounded(max(positions) + 1, self.network.slots)
        limit = _rounded(max(positions.values()) + 1, self.network.max_len, _SPAN)
        self._place(rows, {**lengths, **positions})
        penalised = [slot for slot in positions if self._sampling[slot].repetition_penalty != 1]
        if penalised:
            slots = self._upload(torch.tensor(penalised))
            self._seen[slots, self._ids[slots]] = self._true
        self._logits = self._step(self._ids[:rows], self._positions[:rows], limit)

    @torch.inference_mode()
    def draw(self, uniform: Mapping[int, float], masks: Mapping[int, Tensor], forced: Mapping[int, int]) -> Drawn:
        """Queue the drawing of the next ids.

        Args:
            uniform: A number in [0, 1) for each slot that draws.
            masks: For slots whose ids are restricted; see `sayso.engine.request.Guide`.
            forced: For slots whose next id is given.
        """
        rows = 1 + max(uniform)
        logits = self._gather(rows)
        settings = [self._sampling[slot] for slot in uniform]
        if any(sampling.repetition_penalty != 1 for sampling in settings):
            logits = penalise(logits, self._seen[:rows], self._rows.penalty[:rows])
        if masks:
            bits = torch.full((rows, words(self.network.vocab_size)), -1, dtype=torch.int32)
            for slot, mask in masks.items():
                bits[slot] = mask
            logits = mask_out(logits, self._upload(bits))
        if all(sampling.temperature == 0 for sampling in settings):
            ids = likeliest(logits)
        else:
            numbers = torch.tensor([[uniform.get(slot, 0.0)] for slot in range(rows)])
            ids = draw(logits, self._rows.first(rows), self._upload(numbers))
        if forced:
            given = self._upload(torch.tensor([forced.get(slot, -1) for slot in range(rows)], dtype=torch.int64))
            ids = torch.where(given >= 0, given, ids)
        self._ids[:rows] = ids
        return self._download(ids)

    def _place(self, rows: int, positions: Mapping[int, int]) -> None:
        wanted = torch.tensor([positions.get(slot, 0) for slot in range(rows)], dtype=torch.int64)
        self._positions[:rows].copy_(wanted.pin_memory() if self._cuda else wanted, non_blocking=True)

    def _gather(self, rows: int) -> Tensor:
        """The logits to draw from, float32: those of the step, and those of prompts that were just computed."""
        logits = torch.zeros(rows, self.network.vocab_size, device=self._device)
        if self._logits is not None:
            known = self._logits[:rows]
            logits[: len(known)] = known
            self._logits = None
        for slot, fresh in self._fresh.items():
            logits[slot] = fresh
        self._fresh.clear()
        return logits

    def _vectors(self, piece: Sequence[int] | Vectors) -> Tensor:
        if isinstance(piece, Vectors):
            if self._cuda:  # they were made on the default stream, and may be forgotten there before they are read here
                current = torch.cuda.current_stream(self._device)
                current.wait_stream(torch.cuda.default_stream(self._device))
                if piece.values.is_cuda:
                    piece.values.record_stream(current)
            return piece.values.to(self._device)
        return self.network.embed(self._upload(torch.tensor([*piece], dtype=torch.int64)))

    def _upload(self, values: Tensor) -> Tensor:
        return values.pin_memory().to(self._device, non_blocking=True) if self._cuda else values

    def _download(self, ids: Tensor) -> Drawn:
        if not self._cuda:
            return Drawn(ids, None)
        host = torch.empty(len(ids), dtype=torch.int64, pin_memory=True)
        host.copy_(ids, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return Drawn(host, arrived)


def _sizes(most: int, least: int = 1) -> list[int]:
    """``least`` times the powers of two, up to ``most``: few shapes, few graphs."""
    sizes = [min(least, most)]
    while sizes[-1] < most:
        sizes.append(min(2 * sizes[-1], most))
    return sizes


def _rounded(count: int, most: int, least: int = 1) -> int:
    """The smallest of `_sizes` that ``count`` fits into."""
    return next(size for size in _sizes(most, least) if size >= count)
