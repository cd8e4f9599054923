"""Sound written in every format, and the formats that browsers and phones record."""

from __future__ import annotations

import io
from typing import Any, get_args

import numpy as np
import pytest

from sayso.errors import AudioError, UsageError
from sayso.items import Audio
from sayso.speech.audio import load
from sayso.speech.encode import MEDIA_TYPES, RATE_HZ, Format, encode, encode_all, encoder

FORMATS = get_args(Format)


def tone(seconds: float = 2.0, rate_hz: int = 16_000, hz: float = 440.0) -> Audio:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return Audio((0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32), rate_hz)


def pitch_hz(audio: Audio) -> float:
    """The strongest frequency in the middle of a sound."""
    middle = audio.samples[len(audio.samples) // 4 : len(audio.samples) * 3 // 4]
    return float(np.argmax(np.abs(np.fft.rfft(middle))) / len(middle) * audio.sample_rate_hz)


def read(data: bytes, format: str) -> Audio:
    if format == "pcm":
        return Audio(np.frombuffer(data, "<i2").astype(np.float32) / 32768, RATE_HZ)
    return load(data)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000])
def test_a_whole_file_is_the_sound(format: Format, rate_hz: int) -> None:
    sound = read(encode(tone(rate_hz=rate_hz), format), format)
    assert sound.sample_rate_hz == RATE_HZ
    assert sound.seconds == pytest.approx(2.0, abs=0.09)  # MP3 and AAC are padded to frames
    assert pitch_hz(sound) == pytest.approx(440, abs=2)
    assert np.abs(sound.samples).max() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_is_the_same_sound_and_comes_while_it_is_made(format: Format) -> None:
    whole, writer = tone(4.0, 22_050), encoder(format)
    pieces = [
        writer.feed(Audio(whole.samples[start : start + 2205], 22_050)) for start in range(0, len(whole.samples), 2205)
    ]
    assert sum(map(len, pieces[:20])) > 200, "nothing came in the first half"
    sound = read(b"".join([*pieces, writer.finish()]), format)
    assert sound.seconds == pytest.approx(4.0, abs=0.09)
    assert pitch_hz(sound) == pytest.approx(440, abs=2)


def test_samples_of_a_wav_are_those_of_pcm() -> None:
    pieces = [tone(0.5), tone(0.25)]
    data = encode_all(pieces, "wav")
    assert data[44:] == encode_all(pieces, "pcm")
    assert len(data) == 44 + 2 * RATE_HZ * 3 // 4


def test_what_is_too_loud_is_clipped_and_what_is_no_number_is_silence() -> None:
    samples = np.array([2.0, -2.0, np.nan, 0.5], np.float32)
    written = np.frombuffer(encode(Audio(samples, RATE_HZ), "pcm"), "<i2")
    assert written.tolist() == [32767, -32768, 0, 16384]


def test_every_format_has_a_media_type() -> None:
    assert set(MEDIA_TYPES) == set(FORMATS)


def test_what_cannot_be_encoded() -> None:
    with pytest.raises(UsageError, match="no sound format 'ogg'"):
        encoder("ogg")  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="no sound to encode"):
        encode_all([], "wav")
    writer = encoder("wav")
    writer.feed(tone(rate_hz=16_000))
    with pytest.raises(AudioError, match="16000 Hz goes on with 24000 Hz"):
        writer.feed(tone(rate_hz=24_000))


# What browsers and phones record


def recorded(container: str, codec: str) -> bytes:
    """Two seconds of a tone in stereo, as a recorder writes them."""
    av: Any = pytest.importorskip("av", reason="PyAV is not installed")
    mono = tone(rate_hz=48_000).samples
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([mono, mono]), format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        converter = av.AudioResampler(format=stream.codec_context.format.name, layout="stereo", rate=48_000)
        for piece in converter.resample(frame):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return out.getvalue()


@pytest.mark.parametrize(
    ("container", "codec"), [("ipod", "aac"), ("mp4", "aac"), ("webm", "libopus"), ("ogg", "libopus"), ("adts", "aac")]
)
def test_a_recording_is_read(container: str, codec: str) -> None:
    sound = load(recorded(container, codec))
    assert sound.seconds == pytest.approx(2.0, abs=0.05)
    assert sound.sample_rate_hz == 48_000
    assert pitch_hz(sound) == pytest.approx(440, abs=2)
    assert np.abs(sound.samples).max() == pytest.approx(0.3, abs=0.05)  # channels are averaged, not added


def test_a_damaged_recording_is_told_in_one_line() -> None:
    data = recorded("ipod", "aac")
    for broken in (data[: len(data) // 2], data[:30], b"\x1aE\xdf\xa3" + bytes(100), b"\xff\xf1" + b"abc" * 100):
        with pytest.raises(AudioError, match=r"Record or copy it again\.$") as told:
            load(broken)
        assert "\n" not in str(told.value)


def test_a_cut_stream_gives_what_is_there() -> None:
    data = recorded("webm", "libopus")
    assert 0.5 < load(data[: len(data) // 2]).seconds < 1.5


def test_a_playlist_is_no_sound(tmp_path: Any) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(tone(), "wav"))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    with pytest.raises(AudioError, match="holds text"):
        load(playlist.encode())
