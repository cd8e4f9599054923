"""What users test their agents with: a scripted model and a virtual clock.

from sayso import Agent
from sayso.testing import ScriptedModel, call, run, say

model = ScriptedModel(
    {"when do you open on Friday": [call("opening_hours", shop="corner", day="friday")]},
    {"9 to 5": [say("We open at nine.")]},
)
result = run(Agent(tools=[opening_hours], model=model).ask("When do you open on Friday?"))
assert result.text == "We open at nine."
model.assert_finished()
"""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from sayso.items import Audio, Item, ToolOutput, UserInput
from sayso.models.base import (
    CallClose,
    CallDelta,
    CallOpen,
    Done,
    ModelEvent,
    ModelRequest,
    Profile,
    Speech,
    Text,
    Thinking,
    Transcript,
)

T = TypeVar("T")
RATE_HZ = 16_000
SECONDS_PER_CHARACTER = 0.06
EPOCH_S = 1_767_258_000.0
"""2026-01-01 09:00 UTC: when a virtual clock starts."""
GRACE_S = 2.0
"""Real seconds that a loop with nothing to do waits for the world outside."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause of the scripted model, in seconds of the session clock."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """The scripted model breaks here with ``error``."""

    error: Exception


Action: TypeAlias = ModelEvent | Wait | Fail
Expectation: TypeAlias = str | Callable[[ModelRequest], bool] | None
Step: TypeAlias = (
    Mapping[str, Sequence["Action | list[Action]"]] | tuple[Expectation, Sequence["Action | list[Action]"]]
)


def say(text: str) -> list[Action]:
    """The model answers ``text``, word by word."""
    words = text.split(" ")
    return [
        Text(word if last else word + " ")
        for word, last in zip(words, [False] * (len(words) - 1) + [True], strict=True)
    ]


def hear(text: str, language: str | None = None) -> list[Action]:
    """The model understood ``text`` in the user's speech."""
    return [Transcript(text, language)]


def think(text: str) -> list[Action]:
    """The model reasons."""
    return [Thinking(text)]


def wait(seconds: float) -> list[Action]:
    """The model takes its time."""
    return [Wait(seconds)]


def fail(error: Exception) -> list[Action]:
    """The model breaks."""
    return [Fail(error)]


def call(name: str, /, **arguments: Any) -> list[Action]:
    """The model calls a tool; calls of one step are numbered in order."""
    raw = json.dumps(arguments, ensure_ascii=False)
    return [CallOpen(-1, name), CallDelta(-1, raw), CallClose(-1, arguments, raw)]


def broken_call(name: str, raw: str) -> list[Action]:
    """The model calls a tool with text that is no JSON object."""
    return [CallOpen(-1, name), CallDelta(-1, raw), CallClose(-1, None, raw)]


class ScriptedModel:
    """A `VoiceModel` that follows a script: expected input, then what it emits.

    Each step is a mapping with one entry, ``{expected: actions}``, or a pair ``(expectation, actions)``. An expected
    string must occur, whatever its case, in the last item that the model is shown; a function is given the whole
    `ModelRequest`; None takes anything. Steps are used in order, and a request that does not fit the next step is an
    `AssertionError` that shows both.

    Args:
        steps: The script.
        hears: It accepts audio (script what was understood with `hear`).
        speaks: It turns its words into sound: a soft tone of 60 ms a character, so that play-out can be tested.

    Attributes:
        requests: Every request so far.
        said: Every line given to `say`.
    """

    def __init__(self, *steps: Step, hears: bool = True, speaks: bool = True) -> None:
        self._steps = [_pair(step) for step in steps]
        self._next = 0
        self.requests: list[ModelRequest] = []
        self.said: list[str] = []
        self.profile = Profile(
            name="scripted",
            hears=hears,
            speaks=speaks,
            says_lines=speaks,
            forces_calls=True,
            sample_rate_hz=RATE_HZ if speaks else 0,
            voices=("tone",) if speaks else (),
        )

    async def warm(self, request: ModelRequest) -> None:
        """Nothing to load."""

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Play the next step."""
        self.requests.append(request)
        actions = self._take(request)
        index = -1
        for action in actions:
            match action:
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case Fail(error):
                    raise error
                case CallOpen(_, name):
                    index += 1
                    yield CallOpen(index, name)
                case CallDelta(_, delta):
                    yield CallDelta(index, delta)
                case CallClose(_, arguments, raw):
                    yield CallClose(index, arguments, raw)
                case Text(text):
                    yield action
                    if self.profile.speaks and request.speak:
                        yield Speech(tone(text), text)
                case _:
                    yield action
        yield Done()

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """Speak a line as a tone of its length."""
        self.said.append(text)
        yield Speech(tone(text), text)

    async def aclose(self) -> None:
        """Nothing to free."""

    def assert_finished(self) -> None:
        """Fail unless every step was used."""
        left = self._steps[self._next :]
        if left:
            expected = ", ".join(_describe(expectation) for expectation, _ in left)
            raise AssertionError(f"{len(left)} of {len(self._steps)} scripted steps were not used: {expected}")

    def _take(self, request: ModelRequest) -> list[Action]:
        shown = _shown(request.items[-1]) if request.items else "nothing"
        if self._next == len(self._steps):
            raise AssertionError(f"The script has no step {self._next + 1}; the model was shown: {shown}")
        expectation, actions = self._steps[self._next]
        if not _fits(expectation, request, shown):
            raise AssertionError(
                f"Step {self._next + 1} of the script expects {_describe(expectation)}; the model was shown: {shown}"
            )
        self._next += 1
        return actions


def _pair(step: Step) -> tuple[Expectation, list[Action]]:
    if isinstance(step, Mapping):
        if len(step) != 1:
            raise ValueError(f"A scripted step is one {{expected: actions}} entry, not {len(step)}.")
        ((expectation, actions),) = step.items()
    else:
        expectation, actions = step
    flat: list[Action] = []
    for action in actions:
        flat.extend(action if isinstance(action, list) else [action])
    return expectation, flat


def _fits(expectation: Expectation, request: ModelRequest, shown: str) -> bool:
    if expectation is None:
        return True
    if isinstance(expectation, str):
        return expectation.casefold() in shown.casefold()
    return expectation(request)


def _describe(expectation: Expectation) -> str:
    if isinstance(expectation, str):
        return repr(expectation)
    return (
        "anything" if expectation is None else f"a request that passes {getattr(expectation, '__name__', expectation)}"
    )


def _shown(item: Item) -> str:
    match item:
        case UserInput(text=text, audio=audio):
            return text or (f"{audio.seconds:.2f} s of audio" if audio else "nothing")
        case ToolOutput(output=output):
            return output
        case _:
            return repr(item)


def tone(text: str) -> Audio:
    """A soft 220 Hz tone as long as ``text`` would take, 60 ms a character, at 16 kHz."""
    count = round(len(text) * SECONDS_PER_CHARACTER * RATE_HZ)
    samples = 0.1 * np.sin(2 * np.pi * 220 / RATE_HZ * np.arange(count))
    return Audio(samples.astype(np.float32), RATE_HZ)


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer as soon as nothing else is ready.

    Sessions read their clock from the loop, so hours pass in milliseconds and every run is the same. While a worker
    thread is busy (a tool that is no coroutine) the clock stands still and the loop really waits for it.
    """

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self._now_s = 0.0
        self.busy_threads = 0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def wall_time(self) -> float:
        """What tools take for the time of day: Unix seconds, from `EPOCH_S` on."""
        return EPOCH_S + self._now_s

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._now_s += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """As in every loop, and counted."""
        future = super().run_in_executor(executor, func, *args)
        self.busy_threads += 1
        future.add_done_callback(self._thread_finished)
        return future

    def _thread_finished(self, _: asyncio.Future[Any]) -> None:
        self.busy_threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting ``timeout`` seconds for nothing, it moves the clock by them."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop.busy_threads:
            return super().select(None)  # a thread will wake the loop
        if timeout is None:
            return self._last_chance()
        self._loop.advance(timeout)
        return []

    def _last_chance(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing is scheduled: only something outside the loop could still wake it."""
        ready = super().select(GRACE_S)
        if not ready:
            raise RuntimeError("Everything waits and nothing will ever happen: this code hangs.")
        return ready


def run(main: Coroutine[Any, Any, T], *, virtual: bool = True) -> T:
    """Run ``main`` to its end, on a virtual clock unless ``virtual`` is False."""
    factory = VirtualClockLoop if virtual else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
