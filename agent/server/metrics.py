"""`Metrics`: what Prometheus asks for, counted from the events of sessions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sayso.agent import Agent
from sayso.events import AudioDelta, CallFinished, Event, RoundDone, SpeechEnded, SpeechStarted, TurnDone, TurnFailed
from sayso.outbox import Push
from sayso.server.errors import Forbidden, LimitReached, NotAuthenticated, Unavailable

if TYPE_CHECKING:
    from sayso.server.limits import Places

LATENCY_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0)
TOOL_S = (0.005, 0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0)
OTHER_TOOL = "other"
"""What tools are called that clients brought or a model made up: their names could be any number."""


class Metrics:
    """The figures of one server, in a registry of their own.

    Args:
        agents: By name.
        places: For sessions.
    """

    def __init__(self, agents: Mapping[str, Agent], places: Places) -> None:
        self._registry = registry = CollectorRegistry()
        self._tools = {name: frozenset(agent.registry) for name, agent in agents.items()}
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(GpuMemory())
        agent = ("agent",)
        self._open = Gauge("sayso_sessions", "Open sessions.", agent, registry=registry)
        self._opened = Counter("sayso_sessions_opened", "Sessions that were opened.", agent, registry=registry)
        waiting = Gauge("sayso_queue_length", "Who waits for a session.", registry=registry)
        waiting.set_function(lambda: places.waiting)
        free = Gauge("sayso_sessions_free", "Sessions that could be opened.", registry=registry)
        free.set_function(lambda: places.count - places.taken)
        self._turns = Counter("sayso_turns", "Turns, by how they ended.", (*agent, "reason"), registry=registry)
        self._first_audio = _latency("sayso_first_audio_seconds", "To the first sound of an answer.", registry)
        self._first_text = _latency("sayso_first_text_seconds", "To the first word of an answer.", registry)
        self._turn = _latency("sayso_turn_seconds", "Length of turns as they were computed.", registry)
        self._calls = Counter("sayso_tool_calls", "Calls, by outcome.", (*agent, "tool", "status"), registry=registry)
        self._tool = Histogram(
            "sayso_tool_seconds", "Run time of tools.", (*agent, "tool"), buckets=TOOL_S, registry=registry
        )
        self._tokens = Counter("sayso_tokens", "Tokens of the models.", (*agent, "kind"), registry=registry)
        self._speech = Counter(
            "sayso_speech_seconds", "Live speech in, all speech out.", (*agent, "direction"), registry=registry
        )
        self._refused = Counter("sayso_refused", "Callers that were told no.", ("code",), registry=registry)
        self._requests = Counter("sayso_requests", "HTTP requests by status.", ("status",), registry=registry)
        for name in agents:
            self._open.labels(name)

    def exposition(self) -> bytes:
        """All figures in Prometheus' text form."""
        return generate_latest(self._registry)

    @contextmanager
    def session(self, agent: str) -> Generator[None]:
        """Inside, a session is open."""
        self._opened.labels(agent).inc()
        with self._open.labels(agent).track_inprogress():
            yield

    def refused(self, error: Exception) -> None:
        """A caller was told ``error``; those that say no are counted."""
        if isinstance(error, NotAuthenticated | Forbidden | LimitReached | Unavailable):
            self._refused.labels(error.code or "other").inc()

    def answered(self, status: int) -> None:
        """An HTTP request was answered."""
        self._requests.labels(str(status)).inc()

    def follow(self, agent: str) -> Push:
        """What counts the events of a session."""
        spoken = self._speech.labels(agent, "out")
        heard = self._speech.labels(agent, "in")
        known, began_ms = self._tools[agent], 0

        def audio(event: AudioDelta) -> None:
            spoken.inc(event.audio.seconds)

        def began(event: SpeechStarted) -> None:
            nonlocal began_ms
            began_ms = event.at_ms

        def ended(event: SpeechEnded) -> None:
            heard.inc(max(0, event.at_ms - began_ms) / 1000)

        def round_done(event: RoundDone) -> None:
            self._tokens.labels(agent, "prompt").inc(event.prompt_tokens)
            self._tokens.labels(agent, "completion").inc(event.completion_tokens)

        def call(event: CallFinished) -> None:
            tool = event.name if event.name in known else OTHER_TOOL
            self._calls.labels(agent, tool, event.status).inc()
            self._tool.labels(agent, tool).observe(event.seconds)

        def done(event: TurnDone) -> None:
            self._turns.labels(agent, event.reason).inc()
            for stage, histogram in (
                ("first_audio", self._first_audio),
                ("first_text", self._first_text),
                ("done", self._turn),
            ):
                if stage in event.stages:
                    histogram.labels(agent).observe(event.stages[stage])

        def failed(_: TurnFailed) -> None:
            self._turns.labels(agent, "failed").inc()

        counts: dict[type, Callable[[Any], None]] = {
            AudioDelta: audio,
            SpeechStarted: began,
            SpeechEnded: ended,
            RoundDone: round_done,
            CallFinished: call,
            TurnDone: done,
            TurnFailed: failed,
        }

        def follow(event: Event) -> None:
            if (count := counts.get(type(event))) is not None:
                count(event)

        return follow


class GpuMemory(Collector):
    """The memory of the GPUs that torch uses; nothing where torch is not loaded already."""

    def collect(self) -> Iterable[Metric]:
        """What is used and free, by device."""
        torch: Any = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
            return
        used = GaugeMetricFamily("sayso_gpu_memory_used_bytes", "By this process's tensors.", labels=("device",))
        free = GaugeMetricFamily("sayso_gpu_memory_free_bytes", "Of the whole device.", labels=("device",))
        total = GaugeMetricFamily("sayso_gpu_memory_total_bytes", "Of the whole device.", labels=("device",))
        for index in range(torch.cuda.device_count()):
            free_bytes, total_bytes = torch.cuda.mem_get_info(index)
            used.add_metric((str(index),), torch.cuda.memory_allocated(index))
            free.add_metric((str(index),), free_bytes)
            total.add_metric((str(index),), total_bytes)
        yield from (used, free, total)


def _latency(name: str, what: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, what, ("agent",), buckets=LATENCY_S, registry=registry)
