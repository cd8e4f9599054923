"""What was heard of a reply, and the microphone and speaker that it comes from."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import UsageError
from sayso.items import Audio
from sayso.speech import devices
from sayso.speech.microphone import FLOOR_DB, Microphone, Speaker, level_db
from sayso.speech.playout import PlayoutClock

RATE = 1000  # one sample is one millisecond

# The clock


def test_a_reply_from_begin_to_end() -> None:
    clock = PlayoutClock(RATE)
    clock.queue(1000, "It is ten past nine.")
    clock.queue(500, "")  # a filler
    clock.queue(1000, "Anything else?")
    assert (clock.played_ms, clock.queued_ms, clock.heard_text) == (0, 2500, "")
    assert clock.play(500) == 500
    assert clock.heard_text == "It is ten"
    clock.play(500)
    assert clock.heard_text == "It is ten past nine."
    clock.play(1050)
    assert clock.heard_text == "It is ten past nine."
    clock.play(50)
    assert clock.heard_text == "It is ten past nine. Anything"
    assert clock.play(1000) == 400
    assert (clock.played_ms, clock.heard_text) == (2500, "It is ten past nine. Anything else?")


def test_stop_keeps_what_was_heard_and_drops_the_rest() -> None:
    clock = PlayoutClock(RATE)
    clock.queue(1000, "one two three four")
    clock.queue(1000, "five")
    clock.play(600)
    clock.stop()
    assert (clock.played_ms, clock.queued_ms, clock.heard_text) == (600, 600, "one two")
    assert clock.play(1000) == 0
    clock.queue(100, "six")
    clock.play(100)
    assert (clock.played_ms, clock.heard_text) == (700, "one two six")


@pytest.mark.parametrize(
    ("text", "played", "heard"),
    [
        ("现在十点。", 400, "现在"),
        ("现在 ten 点", 750, "现在 ten"),
        ("word", 999, ""),
        ("", 500, ""),
        ("   ", 500, ""),
        ("one  two", 500, "one"),
    ],
)
def test_words_of_a_piece_played_in_part(text: str, played: int, heard: str) -> None:
    clock = PlayoutClock(RATE)
    clock.queue(1000, text)
    clock.play(played)
    assert clock.heard_text == heard


def test_pieces_are_joined_as_the_language_does() -> None:
    clock = PlayoutClock(RATE)
    for text in ("Hello.", "How", " are", " you?", "", "现在", "十点。"):
        clock.queue(1, text)
    clock.play(7)
    assert clock.heard_text == "Hello. How are you?现在十点。"


def test_a_piece_without_sound_counts_once_all_before_it_was_played() -> None:
    clock = PlayoutClock(RATE)
    clock.queue(10, "one")
    clock.queue(0, "two")
    clock.play(9)
    assert clock.heard_text == ""
    clock.play(1)
    assert clock.heard_text == "one two"


@pytest.mark.parametrize("step", ["queue", "play"])
def test_negative_lengths_are_refused(step: str) -> None:
    with pytest.raises(ValueError, match="-1 samples"):
        getattr(PlayoutClock(RATE), step)(-1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(0, 5000), st.text("ab .,现点 \n", max_size=30)),
        st.tuples(st.just("play"), st.integers(0, 3000), st.just("")),
        st.tuples(st.just("stop"), st.just(0), st.just("")),
    ),
    max_size=30,
)


@given(steps=STEPS, rate=st.sampled_from([1000, 16_000, 22_050, 24_000]))
def test_what_was_heard_only_grows_and_never_exceeds_what_was_queued(
    steps: list[tuple[str, int, str]], rate: int
) -> None:
    clock = PlayoutClock(rate)
    queued = played = 0
    text = ""
    for step, samples, words in steps:
        before = clock.played_ms, clock.heard_text
        if step == "queue":
            clock.queue(samples, words)
            queued += samples
            text += words
        elif step == "play":
            real = clock.play(samples)
            assert real == min(samples, queued - played)
            played += real
        else:
            clock.stop()
            queued = played
            assert (clock.played_ms, clock.heard_text) == before
        assert clock.played_ms >= before[0]
        assert clock.heard_text.startswith(before[1])
        assert clock.played_ms == played * 1000 // rate <= clock.queued_ms
        assert clock.pending_samples == queued - played
        letters = iter("".join(text.split()))
        assert all(letter in letters for letter in "".join(clock.heard_text.split())), "it was never queued"


@given(
    pieces=st.lists(st.tuples(st.integers(0, 500), st.text("ab 点", max_size=12)), max_size=10), cut=st.integers(1, 300)
)
def test_the_size_of_the_blocks_does_not_matter(pieces: list[tuple[int, str]], cut: int) -> None:
    by_blocks, at_once = PlayoutClock(RATE), PlayoutClock(RATE)
    for samples, text in pieces:
        by_blocks.queue(samples, text)
        at_once.queue(samples, text)
    while by_blocks.play(cut):
        pass
    at_once.play(10**6)
    assert by_blocks.heard_text == at_once.heard_text
    assert by_blocks.played_ms == at_once.played_ms == at_once.queued_ms


# The speaker


class Loudspeaker:
    """An output that takes a block when it is told to, from a thread of its own as a device does."""

    def __init__(self, sample_rate_hz: int, block_samples: int, render: Callable[[int], np.ndarray]) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.block_samples = block_samples
        self.calls: list[str] = []
        self.heard = np.zeros(0, np.float32)
        self._render = render

    def start(self) -> None:
        self.calls.append("start")

    def close(self) -> None:
        self.calls.append("close")

    def take(self, blocks: int = 1) -> None:
        def run() -> None:
            for _ in range(blocks):
                self.heard = np.append(self.heard, self._render(self.block_samples))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()


class Opened:
    """Opens one `Loudspeaker`, at another rate if told so, and remembers it."""

    def __init__(self, rate_hz: int | None = None) -> None:
        self.rate_hz = rate_hz
        self.stream: Loudspeaker

    def __call__(self, sample_rate_hz: int, block_samples: int, render: Callable[[int], np.ndarray]) -> Loudspeaker:
        self.stream = Loudspeaker(self.rate_hz or sample_rate_hz, block_samples, render)
        return self.stream


def ramp(count: int, rate: int = 16_000) -> Audio:
    return Audio(np.linspace(0.1, 0.9, count, dtype=np.float32), rate)


def test_pieces_are_played_in_order_and_counted() -> None:
    async def run() -> None:
        opened = Opened()
        async with Speaker(16_000, open_stream=opened) as speaker:
            device = opened.stream
            assert device.block_samples == 320
            assert not speaker.playing
            device.take()
            assert speaker.played_ms == 0
            first, second = ramp(500), ramp(300)
            speaker.play(first, "one two")
            speaker.play(second, "three")
            assert speaker.playing
            device.take()
            assert speaker.played_ms == 20
            assert speaker.heard_text == "one"
            device.take()
            assert speaker.heard_text == "one two"
            device.take(3)
            assert not speaker.playing
            assert speaker.played_ms == 50
            assert speaker.heard_text == "one two three"
            wanted = np.concatenate([np.zeros(320), first.samples, second.samples, np.zeros(800)])
            np.testing.assert_array_equal(device.heard, wanted.astype(np.float32))
        assert device.calls == ["start", "close"]

    asyncio.run(run())


def test_stop_is_heard_within_one_block() -> None:
    async def run() -> None:
        opened = Opened()
        async with Speaker(16_000, open_stream=opened) as speaker:
            speaker.play(ramp(16_000), "a b c d e f g h i j")
            opened.stream.take(10)
            assert speaker.stop() == 200
            assert not speaker.playing
            opened.stream.take(2)
            assert not opened.stream.heard[3200:].any()
            assert speaker.played_ms == 200
            assert speaker.heard_text == "a b"
            speaker.new_reply()
            assert (speaker.played_ms, speaker.heard_text) == (0, "")
            speaker.play(ramp(320))
            opened.stream.take()
            assert speaker.played_ms == 20

    asyncio.run(run())


def test_drain_waits_for_the_last_sample() -> None:
    async def run() -> None:
        opened = Opened()
        async with Speaker(16_000, open_stream=opened) as speaker:
            await speaker.drain()
            speaker.play(ramp(640))
            waiting = asyncio.create_task(speaker.drain())
            await asyncio.sleep(0)
            opened.stream.take()
            await asyncio.sleep(0)
            assert not waiting.done()
            opened.stream.take()
            await waiting
            speaker.play(ramp(640))
            waiting = asyncio.create_task(speaker.drain())
            await asyncio.sleep(0)
            speaker.stop()
            await waiting

    asyncio.run(run())


def test_pieces_are_resampled_to_the_device() -> None:
    async def run() -> None:
        opened = Opened(48_000)
        async with Speaker(24_000, open_stream=opened) as speaker:
            speaker.play(ramp(2400, 24_000))
            assert speaker.sample_rate_hz == 48_000
            opened.stream.take(20)
            assert speaker.played_ms == 100

    asyncio.run(run())


def test_a_device_that_does_not_start_is_closed() -> None:
    class Broken(Loudspeaker):
        def start(self) -> None:
            raise UsageError("It is busy.")

    async def run() -> None:
        made: list[Broken] = []

        def open_stream(*options: object) -> Broken:
            made.append(Broken(*options))  # type: ignore[arg-type]
            return made[-1]

        with pytest.raises(UsageError, match="busy"):
            async with Speaker(16_000, open_stream=open_stream):
                pass
        with pytest.raises(UsageError, match="busy"):
            async with Microphone(16_000, open_stream=open_stream):
                pass
        assert [stream.calls for stream in made] == [["close"], ["close"]]

    asyncio.run(run())


# The microphone


class Source(Loudspeaker):
    """An input that delivers when it is told to, and reuses its buffer as a device does."""

    def send(self, *frames: np.ndarray | None) -> None:
        def run() -> None:
            buffer = np.zeros(self.block_samples, np.float32)
            for frame in frames:
                if frame is None:
                    self._render(None)  # type: ignore[arg-type]
                else:
                    buffer[:] = frame
                    self._render(buffer)  # type: ignore[arg-type]

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()


class OpenedSource(Opened):
    stream: Source

    def __call__(self, sample_rate_hz: int, block_samples: int, deliver: Callable[..., None]) -> Source:
        rate_hz = self.rate_hz or sample_rate_hz
        self.stream = Source(rate_hz, block_samples * rate_hz // sample_rate_hz, deliver)
        return self.stream


def test_frames_arrive_in_order_with_their_level() -> None:
    async def run() -> None:
        opened = OpenedSource()
        async with Microphone(16_000, open_stream=opened) as microphone:
            frames = [np.full(320, level, np.float32) for level in (0.0, 1.0, 0.1)]
            opened.stream.send(*frames)
            levels = []
            for wanted in frames:
                np.testing.assert_array_equal(await anext(microphone), wanted)
                levels.append(microphone.level_db)
            assert levels == pytest.approx([FLOOR_DB, 0, -20])
            opened.stream.send(frames[0])
            await microphone.aclose()
            assert len([frame async for frame in microphone]) <= 1
            assert [frame async for frame in microphone] == []
        assert opened.stream.calls == ["start", "close"]

    asyncio.run(run())


def test_whoever_waits_is_woken_by_the_end() -> None:
    async def run() -> None:
        async with Microphone(16_000, open_stream=OpenedSource()) as microphone:

            async def listen() -> list[np.ndarray]:
                return [frame async for frame in microphone]

            listening = asyncio.create_task(listen())
            await asyncio.sleep(0)
            await microphone.aclose()
            assert await listening == []

    asyncio.run(run())


def test_a_slow_consumer_loses_the_oldest_frames() -> None:
    async def run() -> None:
        opened = OpenedSource()
        async with Microphone(16_000, waiting_ms=60, open_stream=opened) as microphone:
            opened.stream.send(*(np.full(320, n / 10, np.float32) for n in range(5)))
            await asyncio.sleep(0)
            assert [float((await anext(microphone))[0]) for _ in range(3)] == pytest.approx([0.2, 0.3, 0.4])
            assert microphone.dropped_frames == 2

    asyncio.run(run())


def test_a_device_that_goes_away_is_an_error_that_says_so() -> None:
    async def run() -> None:
        opened = OpenedSource()
        async with Microphone(16_000, open_stream=opened) as microphone:
            opened.stream.send(np.zeros(320, np.float32), None)
            await anext(microphone)
            for _ in range(2):
                with pytest.raises(UsageError, match=r"The microphone stopped\. Check that it is plugged in"):
                    await anext(microphone)

    asyncio.run(run())


def test_frames_are_resampled_to_the_rate_that_was_asked_for() -> None:
    async def run() -> None:
        opened = OpenedSource(48_000)
        async with Microphone(16_000, open_stream=opened) as microphone:
            opened.stream.send(*[np.full(960, 0.5, np.float32)] * 50)
            await asyncio.sleep(0)
            await microphone.aclose()
            samples = np.concatenate([frame async for frame in microphone])
            assert 15_000 < len(samples) <= 16_000
            np.testing.assert_allclose(samples[2000:-2000], 0.5, atol=1e-3)

    asyncio.run(run())


def test_no_thread_is_left() -> None:
    async def run() -> None:
        async with Microphone(open_stream=OpenedSource()), Speaker(open_stream=Opened()):
            pass

    before = set(threading.enumerate())
    asyncio.run(run())
    assert set(threading.enumerate()) == before


def test_levels() -> None:
    assert level_db(np.zeros(0, np.float32)) == FLOOR_DB
    assert level_db(np.full(10, 1e-9, np.float32)) == FLOOR_DB
    assert level_db(np.sin(np.arange(10_000), dtype=np.float32)) == pytest.approx(-3.01, abs=0.01)


# A machine without a sound device


def device_fault() -> str:
    """What is missing on this machine, or an empty string."""
    try:
        devices.describe()
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", [Microphone, Speaker])
def test_a_machine_without_sound_says_what_to_do(kind: type[Microphone] | type[Speaker]) -> None:
    if not device_fault():
        pytest.skip("this machine has sound devices")

    async def run() -> None:
        async with kind(16_000):
            pass

    with pytest.raises(UsageError, match=r"^No sound device was found.*or use: sayso ask FILE\.$"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            ImportError("No module named 'sounddevice'"),
            r"the package sounddevice is not installed\. .*pip install 'sayso\[local\]'",
        ),
        (OSError("PortAudio library not found"), r"PortAudio library is not installed\. .*apt install libportaudio2"),
    ],
)
def test_missing_libraries_say_what_to_install(fault: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise fault

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(UsageError, match=f"No sound device was found: .*{message}"):
        devices.sounddevice()
