"""The machine's sound devices, through PortAudio (the package `sounddevice`)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sayso.errors import UsageError
from sayso.items import Samples

NO_DEVICE = "No sound device was found"
WHAT_TO_DO = "Plug one in (on Debian: apt install libportaudio2), or use: sayso ask FILE."


def sounddevice() -> Any:
    """The module `sounddevice`.

    Raises:
        UsageError: It is not installed, or PortAudio is not.
    """
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise UsageError(
            f"{NO_DEVICE}: the package sounddevice is not installed.",
            "Install it with: pip install 'sayso[local]', or use: sayso ask FILE.",
        ) from error
    except OSError as error:  # sounddevice loads PortAudio when it is imported
        raise UsageError(f"{NO_DEVICE}: the PortAudio library is not installed.", WHAT_TO_DO) from error


def describe() -> str:
    """The default microphone and speaker by name, for `sayso doctor`; raises `UsageError` where one is missing."""
    names = [_default(kind)["name"] for kind in ("input", "output")]
    return f"microphone: {names[0]}; speaker: {names[1]}"


class DeviceStream:
    """One open PortAudio stream with its rate."""

    def __init__(self, stream: Any, name: str) -> None:
        """Wrap a `sounddevice` stream on the device ``name``."""
        self._stream, self._name = stream, name
        self.sample_rate_hz = round(stream.samplerate)

    def start(self) -> None:
        """Begin to call back; raises `UsageError` where the device does not let us."""
        with _told(self._name):
            self._stream.start()

    def close(self) -> None:
        """Stop at once, dropping what is buffered. PortAudio joins its thread here."""
        self._stream.abort()
        self._stream.close()


def open_input(sample_rate_hz: int, block_samples: int, deliver: Callable[[Samples | None], None]) -> DeviceStream:
    """Open the default microphone, at ``sample_rate_hz`` or, where it cannot, at its own rate; raises `UsageError`."""

    def callback(data: Any, frames: int, time: Any, status: Any) -> None:
        deliver(data[:, 0])

    return _open("input", sample_rate_hz, block_samples, callback, finished=lambda: deliver(None))


def open_output(sample_rate_hz: int, block_samples: int, render: Callable[[int], Samples]) -> DeviceStream:
    """Open the default speaker, at ``sample_rate_hz`` or, where it cannot, at its own rate; raises `UsageError`."""

    def callback(data: Any, frames: int, time: Any, status: Any) -> None:
        data[:, 0] = np.clip(render(frames), -1, 1)

    return _open("output", sample_rate_hz, block_samples, callback, finished=lambda: None)


def _default(kind: str) -> Any:
    portaudio = sounddevice()
    what = "microphone" if kind == "input" else "speaker"
    try:
        device = portaudio.query_devices(kind=kind)
    except (portaudio.PortAudioError, ValueError) as error:  # ValueError: there is no default device
        raise UsageError(f"{NO_DEVICE}: this machine has no {what}.", WHAT_TO_DO) from error
    if not device[f"max_{kind}_channels"]:
        raise UsageError(f"{NO_DEVICE}: {device['name']!r} has no {what}.", WHAT_TO_DO)
    return device


def _open(
    kind: str, sample_rate_hz: int, block_samples: int, callback: Callable[..., None], finished: Callable[[], None]
) -> DeviceStream:
    device = _default(kind)
    portaudio = sounddevice()
    if kind == "input":
        opener, check = portaudio.InputStream, portaudio.check_input_settings
    else:
        opener, check = portaudio.OutputStream, portaudio.check_output_settings
    try:
        check(channels=1, dtype="float32", samplerate=sample_rate_hz)
        rate_hz = sample_rate_hz
    except portaudio.PortAudioError:
        rate_hz = round(device["default_samplerate"])
    with _told(device["name"]):
        stream = opener(
            samplerate=rate_hz,
            blocksize=block_samples * rate_hz // sample_rate_hz,
            channels=1,
            dtype="float32",
            latency="low",
            callback=callback,
            finished_callback=finished,
        )
    return DeviceStream(stream, device["name"])


@contextmanager
def _told(name: str) -> Generator[None]:
    """What PortAudio raises, in our words."""
    try:
        yield
    except sounddevice().PortAudioError as error:
        raise UsageError(
            f"The sound device {name!r} cannot be opened ({error}).",
            "Close other programs that use it, or use: sayso ask FILE.",
        ) from error
