"""`sayso talk`: a conversation over the microphone and the speaker, with a level meter and a transcript."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sayso.agent import Agent
from sayso.events import (
    ApprovalRequested,
    ApprovalResolved,
    AudioDelta,
    CallFinished,
    CallReady,
    Event,
    Heard,
    Interrupted,
    SpeechStarted,
    TextDelta,
    TurnDone,
    TurnFailed,
    TurnStarted,
)
from sayso.speech.devices import describe
from sayso.speech.microphone import Microphone, Speaker

RATE_HZ = 16_000
METER_WIDTH = 30
FLOOR_DB = -60.0


async def run_talk(agent: Agent, *, barge_in: bool, session_id: str | None = None) -> None:
    """Talk until the user ends it.

    Args:
        agent: Who answers.
        barge_in: Whether speech interrupts a reply; wants headphones, since there is no echo cancellation here.
        session_id: The conversation to begin or to go on with.

    Raises:
        UsageError: There is no sound device.
    """
    console = Console(highlight=False)
    screen = Screen()
    rate_hz = agent.voice_model.profile.sample_rate_hz
    describe()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(agent.session(id=session_id))
        with console.status("Loading the models"):
            await session.warm()
        microphone = await stack.enter_async_context(Microphone(RATE_HZ))
        speaker = await stack.enter_async_context(Speaker(rate_hz))
        console.print("Speak. Ctrl+C ends the conversation." + ("" if barge_in else " It listens when it is silent."))
        with Live(screen, console=console, refresh_per_second=10, transient=False) as live:

            async def frames():
                async for frame in microphone:
                    screen.level_db = microphone.level_db
                    live.update(screen)
                    if barge_in or not speaker.playing:
                        yield frame

            events = session.converse(
                frames(), sample_rate_hz=RATE_HZ, played_ms=lambda: speaker.played_ms, barge_in=barge_in
            )
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, TurnStarted):
                        speaker.new_reply()
                    elif isinstance(event, AudioDelta):
                        speaker.play(event.audio, event.text)
                    elif isinstance(event, Interrupted):
                        speaker.stop()
                    screen.show(event)
                    live.update(screen)


class Screen:
    """What the terminal shows: the transcript, and below it the level meter and what is going on."""

    def __init__(self) -> None:
        self.lines: list[Text] = []
        self.level_db = FLOOR_DB
        self.status = "listening"
        self._reply = Text()

    def show(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case SpeechStarted():
                self.status = "hearing you"
            case Heard(text=text):
                self._add(f"you    {text}", "cyan")
                self.status = "thinking"
            case CallReady(name=name, arguments=arguments):
                self._add(f"call   {name} {arguments}", "yellow")
                self.status = f"running {name}"
            case CallFinished(name=name, output=output, status=status, seconds=seconds):
                self._add(f"result {output} ({status}, {seconds:.1f} s)", "yellow")
            case ApprovalRequested(name=name, arguments=arguments):
                self._add(f"asks   {name} {arguments}: say yes or no", "magenta")
            case ApprovalResolved(name=name, decision=decision):
                self._add(f"       {name}: {decision}", "magenta")
            case TextDelta(text=text):
                if not self._reply.plain:
                    self._reply = Text("agent  ", "green")
                    self.lines.append(self._reply)
                self._reply.append(text)
                self.status = "speaking"
            case TurnDone(reason=reason, stages=stages):
                if reason == "interrupted":
                    self._reply.append(" -- (interrupted)")
                if (first := stages.get("first_audio")) is not None:
                    self._add(f"       first word after {first:.1f} s", "dim")
                self._reply = Text()
                self.status = "listening"
            case TurnFailed(message=message):
                self._add(f"error  {message}", "red")
                self._reply = Text()
                self.status = "listening"
            case _:
                pass

    def _add(self, text: str, style: str) -> None:
        self.lines.append(Text("".join(c if c.isprintable() else " " for c in text), style))

    def __rich__(self) -> Table:
        """The transcript's end, the meter and the status."""
        filled = round(METER_WIDTH * min(1.0, max(0.0, 1 - self.level_db / FLOOR_DB)))
        grid = Table.grid()
        for line in self.lines[-20:]:
            grid.add_row(line)
        grid.add_row(Text("█" * filled + "░" * (METER_WIDTH - filled) + f"  {self.status}", "bold"))
        return grid
