"""Sound from files, bytes and arrays: every kind that is taken, and every kind that is not."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sayso.errors import AudioError
from sayso.items import Audio
from sayso.speech.audio import MAX_SECONDS, concatenate, from_pcm16, load, resample, save, to_pcm16

RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE, hz: float = 220.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


# What is taken


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-7),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 2e-2),
        ("AIFF", "PCM_S8", 1e-2),
        ("AIFF", "PCM_16", 1e-4),
        ("AU", "PCM_16", 1e-4),
        ("CAF", "PCM_24", 1e-6),
        ("W64", "FLOAT", 0),
        ("RF64", "PCM_16", 1e-4),
        ("FLAC", "PCM_S8", 1e-2),
        ("FLAC", "PCM_16", 1e-4),
        ("FLAC", "PCM_24", 1e-6),
    ],
)
def test_lossless_files_come_back(kind: str, subtype: str, tolerance: float, tmp_path: Path) -> None:
    path = tmp_path / "sound.any"
    path.write_bytes(encoded(tone(), kind=kind, subtype=subtype))
    audio = load(path)
    assert audio.sample_rate_hz == RATE
    assert audio.samples.dtype == np.float32
    np.testing.assert_allclose(audio.samples, tone(), atol=tolerance)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_files_keep_the_sound(kind: str, subtype: str) -> None:
    audio = load(encoded(tone(1.0), kind=kind, subtype=subtype))
    assert audio.sample_rate_hz in (RATE, 48_000)
    assert audio.seconds == pytest.approx(1.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(audio.samples))
    assert np.argmax(spectrum) * audio.sample_rate_hz / len(audio.samples) == pytest.approx(220, abs=2)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_are_kept_and_channels_averaged(rate: int, channels: int) -> None:
    parts = np.stack([tone(rate=rate) * (1 + i) / channels for i in range(channels)], axis=1)
    audio = load(encoded(parts, rate, subtype="FLOAT"))
    assert audio.sample_rate_hz == rate
    np.testing.assert_allclose(audio.samples, parts.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [96_000, 192_000, 384_000])
def test_high_rates_come_down_to_48_khz(rate: int) -> None:
    audio = load(tone(rate=rate), sample_rate_hz=rate)
    assert audio.sample_rate_hz == 48_000
    np.testing.assert_allclose(audio.samples[2000:-2000], tone(rate=48_000)[2000:-2000], atol=1e-3)
    assert len(audio.samples) == 24_000


def test_every_source_gives_the_same(tmp_path: Path) -> None:
    data = encoded(tone(), subtype="FLOAT")
    path = tmp_path / "sound.raw"  # the ending does not matter
    path.write_bytes(data)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(data[:30_000])  # less than a pipe's buffer, so that no thread is needed
    with path.open("rb") as file, os.fdopen(reading, "rb") as pipe:
        file.seek(100)  # a file object is read from its start
        sources: list[Any] = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file]
        sources.append(Audio(tone(), RATE))
        for source in sources:
            audio = load(source)
            np.testing.assert_array_equal(audio.samples, tone())
        assert len(load(pipe).samples) == (30_000 - len(data)) // 4 + len(tone())


def test_an_unseekable_stream_is_read_whole() -> None:
    data = encoded(tone(), subtype="PCM_16")
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(data)
    with os.fdopen(reading, "rb") as pipe:
        assert load(pipe).seconds == 0.5


FULL_SCALE = [
    (np.int8, 127 / 128),
    (np.uint8, 127 / 128),
    (np.int16, 32767 / 32768),
    (np.uint16, 32767 / 32768),
    (np.int32, 1.0),
    (np.uint32, 1.0),
]


@pytest.mark.parametrize(("dtype", "top"), FULL_SCALE)
def test_integers_span_their_type(dtype: type, top: float) -> None:
    info = np.iinfo(dtype)
    middle = 0 if info.min else (info.max + 1) // 2
    audio = load(np.array([info.min, middle, info.max], dtype), sample_rate_hz=RATE)
    np.testing.assert_allclose(audio.samples, [-1, 0, top], atol=1e-7)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_64_bit_integers_are_read_by_the_range_they_use(dtype: type) -> None:
    samples = np.array([0, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
    wide = load(samples.astype(np.int64), sample_rate_hz=RATE)
    np.testing.assert_array_equal(wide.samples, load(samples, sample_rate_hz=RATE).samples)


def test_64_bit_integers_over_the_whole_range() -> None:
    samples = np.array([np.iinfo(np.int64).min, 0, np.iinfo(np.int64).max])
    np.testing.assert_allclose(load(samples, sample_rate_hz=RATE).samples, [-1, 0, 1])


DTYPES = st.sampled_from(
    [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64]
)


@given(
    data=st.data(), dtype=DTYPES, rate=st.integers(4_000, 384_000), channels=st.integers(1, 5), transpose=st.booleans()
)
def test_any_array_gives_finite_mono(data: Any, dtype: type, rate: int, channels: int, transpose: bool) -> None:
    values = (
        st.floats(-1, 1, width=16)
        if np.dtype(dtype).kind == "f"
        else st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    )
    shape = data.draw(st.integers(5, 40).map(lambda n: (n, channels)))
    array = data.draw(hnp.arrays(dtype, shape, elements=values))
    given_array = array.T.copy() if transpose and shape[0] != channels else array
    try:
        audio = load(given_array, sample_rate_hz=rate)
    except AudioError as error:
        assert "silent" in str(error)
        return
    assert audio.samples.ndim == 1
    assert audio.samples.dtype == np.float32
    assert np.isfinite(audio.samples).all()
    assert np.abs(audio.samples).max() <= 1.2  # resampling a square may ring
    assert audio.sample_rate_hz == min(rate, 48_000)
    if rate <= 48_000:
        assert len(audio.samples) == shape[0]
        np.testing.assert_array_equal(audio.samples, load(array, sample_rate_hz=rate).samples)


def test_equal_sides_are_frames_by_channels() -> None:
    audio = load(np.array([[0.5, 0.5], [0.0, 0.25]]), sample_rate_hz=RATE)
    np.testing.assert_array_equal(audio.samples, [0.5, 0.125])


def test_clipping_and_offset_are_left_alone() -> None:
    samples = np.clip(tone() * 4 + 0.2, -1, 1)
    np.testing.assert_array_equal(load(samples, sample_rate_hz=RATE).samples, samples)
    np.testing.assert_array_equal(load(samples * 1.25, sample_rate_hz=RATE).samples, samples * np.float32(1.25))


def test_an_hour_is_taken_and_a_sample_more_is_not() -> None:
    samples = np.zeros(MAX_SECONDS * 4_000, np.int8)
    samples[0] = 1
    assert load(samples, sample_rate_hz=4_000).seconds == MAX_SECONDS
    with pytest.raises(AudioError, match=r"longer than 60 minutes\. Cut it"):
        load(np.append(samples, np.int8(0)), sample_rate_hz=4_000)


def test_a_file_longer_than_an_hour_is_refused_by_its_header() -> None:
    samples = np.zeros(MAX_SECONDS * 4_000 + 1, np.int8)
    with pytest.raises(AudioError, match="longer than 60 minutes"):
        load(encoded((samples + 1).astype(np.int16), 4_000, subtype="PCM_U8"))


def test_a_streamed_header_without_a_length_is_fine() -> None:
    wav = bytearray(encoded(tone(), subtype="PCM_16"))
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000):
        wav[4:8] = wav[40:44] = struct.pack("<I", size)
        assert load(bytes(wav)).seconds == pytest.approx(0.5, abs=0.001)
    flac = bytearray(encoded(tone(1.0), kind="FLAC", subtype="PCM_16"))
    flac[21] &= 0xF0  # the 36-bit number of samples in STREAMINFO: 0 means unknown
    flac[22:26] = b"\0\0\0\0"
    assert load(bytes(flac)).seconds == 1.0


# What is cut off


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF", "AU", "W64", "RF64", "MP3"])
def test_most_of_a_sound_is_used_and_less_than_half_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) * 0.1
    data = encoded(noise, kind=kind)
    assert 2.4 <= load(data[: len(data) * 8 // 10]).seconds <= 3.6
    with pytest.raises(AudioError, match=r"cut off: .* of [34]\.\d+ s are there\. Record or copy it again"):
        load(data[: len(data) * 3 // 10])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_cut_ogg_gives_what_is_there(subtype: str) -> None:
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) * 0.1
    data = encoded(noise, kind="OGG", subtype=subtype)
    assert 1 < load(data[: len(data) * 9 // 10]).seconds < 4


# What is refused


def refused(source: Any, message: str, **options: Any) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        load(source, **options)
    assert caught.value.hint, "it must say what to do"
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "no.wav", r"There is no file '.*no\.wav'\. Check the path\.")


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder, not a sound file")


def test_device() -> None:
    refused("/dev/null", "is a device or a pipe")


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "closed.wav"
    path.write_bytes(encoded(tone()))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    refused(path, "cannot be read: Permission denied")


@pytest.mark.parametrize("name", ["a\0b.wav", "x" * 300 + ".wav"])
def test_impossible_names(name: str) -> None:
    refused(name, "cannot be read: |There is no file")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    refused(path, r"is empty \(0 bytes\)\. Record or copy it again\.")
    refused(b"", r"empty \(0 bytes\)")
    refused(io.BytesIO(), r"empty \(0 bytes\)")


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF", "CAF"])
def test_broken_header(kind: str) -> None:
    data = encoded(tone(), kind=kind)
    refused(data[:14], "broken header")


def test_no_samples() -> None:
    refused(encoded(np.zeros(0, np.float32)), "holds 0 samples")
    refused(np.zeros(0, np.float32), "holds 0 samples", sample_rate_hz=RATE)
    refused(np.zeros((0, 2), np.int16), "holds 0 samples", sample_rate_hz=RATE)
    refused(Audio(np.zeros(0, np.float32), RATE), "holds 0 samples")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_not_finite(bad: float, dtype: type) -> None:
    samples = tone().astype(dtype)
    samples[4000] = bad
    refused(samples, r"NaN or infinite samples, the first at 0\.250 s", sample_rate_hz=RATE)
    if dtype != np.float16:
        refused(encoded(samples, subtype="DOUBLE"), r"the first at 0\.250 s")


def test_infinities_that_cancel_between_channels() -> None:
    samples = np.stack([tone(), tone()], axis=1)
    samples[8] = np.inf, -np.inf
    refused(samples, "NaN or infinite", sample_rate_hz=RATE)


@pytest.mark.parametrize("peak", [17.0, 32767.0, 1e300])
def test_floats_at_the_scale_of_integers(peak: float) -> None:
    refused(tone().astype(np.float64) * 2 * peak, "where sound lies in", sample_rate_hz=RATE)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.int64])
def test_all_zeros(dtype: type) -> None:
    refused(np.zeros(RATE, dtype), "is silent: every sample is 0", sample_rate_hz=RATE)


def test_all_zeros_in_files_and_unsigned() -> None:
    refused(encoded(np.zeros(RATE, np.float32)), "is silent")
    refused(encoded(np.zeros(RATE, np.float32), subtype="PCM_U8"), "is silent")
    refused(np.full(RATE, 128, np.uint8), "is silent", sample_rate_hz=RATE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"What time is it?\n" * 30, "holds text, not sound"),
        ("Wie spät ist es in Zürich? ".encode() * 400, "holds text, not sound"),
        (b"<!doctype html><title>404</title>", "holds text, not sound"),
        (bytes(5000), "nothing but zero bytes"),
        (b"\0\0\0 ftypM4A " + bytes(range(256)) * 4, "has a broken header"),
        (np.random.default_rng(1).bytes(5000), "no sound file that can be read"),
    ],
)
def test_what_is_no_sound(data: bytes, message: str, tmp_path: Path) -> None:
    refused(data, message)
    path = tmp_path / "question.wav"
    path.write_bytes(data)
    refused(path, message)


@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"RIFF", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC", b"OggS"]))
def test_any_bytes_give_sound_or_an_audio_error(data: bytes, start: bytes) -> None:
    try:
        audio = load(start + data)
    except AudioError as error:
        assert error.hint
    else:
        assert np.isfinite(audio.samples).all()


@given(at=st.integers(0, 199), value=st.integers(0, 255))
def test_any_flipped_byte_gives_sound_or_an_audio_error(at: int, value: int) -> None:
    data = bytearray(encoded(tone(0.01)))
    data[at] = value
    try:
        audio = load(bytes(data))
    except AudioError as error:
        assert error.hint
    else:
        assert np.isfinite(audio.samples).all()


@pytest.mark.parametrize("rate", [0, -16_000, 1, 3_999, 384_001, 10**9])
def test_impossible_rates(rate: int) -> None:
    refused(tone(), f"a sample rate of {rate} Hz; 4000 to 384000 Hz are taken", sample_rate_hz=rate)


@pytest.mark.parametrize("rate", [16_000.5, "16000", 16_000.0])
def test_rates_are_whole_numbers(rate: Any) -> None:
    refused(tone(), "is no sample rate", sample_rate_hz=rate)


def test_a_file_with_an_impossible_rate() -> None:
    refused(encoded(tone(), 2_000), "a sample rate of 2000 Hz")


def test_rate_that_contradicts_the_source() -> None:
    refused(encoded(tone()), "has 16000 Hz, and sample_rate_hz says 8000", sample_rate_hz=8_000)
    refused(Audio(tone(), RATE), "has 16000 Hz, and sample_rate_hz says 8000", sample_rate_hz=8_000)
    assert load(encoded(tone()), sample_rate_hz=RATE).sample_rate_hz == RATE


def test_array_without_a_rate() -> None:
    refused(tone(), "does not know its sample rate. Pass sample_rate_hz")


@pytest.mark.parametrize("shape", [(), (2, 3, 4), (100, 80)])
def test_impossible_shapes(shape: tuple[int, ...]) -> None:
    refused(np.ones(shape, np.float32), r"has the shape \(", sample_rate_hz=RATE)


@pytest.mark.parametrize("dtype", [np.bool_, np.complex64, np.str_, object])
def test_impossible_types(dtype: type) -> None:
    refused(np.ones(100).astype(dtype), "has the type", sample_rate_hz=RATE)


@pytest.mark.parametrize("source", [None, 3, [0.1, 0.2]])
def test_impossible_sources(source: Any) -> None:
    refused(source, "cannot be read from a value of type")


def test_file_objects_that_cannot_be_read(tmp_path: Path) -> None:
    refused(io.StringIO("hello"), "is open as text. Open it with mode 'rb'")
    file = io.BytesIO(encoded(tone()))
    file.close()
    refused(file, "cannot be read: I/O operation on closed file")
    with (tmp_path / "out.wav").open("wb") as writing:
        refused(writing, "cannot be read|is empty")


# And back


def test_pcm16_round_trip() -> None:
    data = np.arange(-32768, 32768, dtype="<i2").tobytes()
    assert to_pcm16(from_pcm16(data, RATE)) == data
    assert from_pcm16(b"", RATE).samples.shape == (0,)


def test_pcm16_clips_and_takes_nan() -> None:
    audio = Audio(np.array([2, -2, 1, -1, np.nan, np.inf], np.float32), RATE)
    assert np.frombuffer(to_pcm16(audio), "<i2").tolist() == [32767, -32768, 32767, -32768, 0, 32767]


def test_pcm16_refuses_half_a_sample() -> None:
    with pytest.raises(AudioError, match="3 bytes are no whole 16-bit samples"):
        from_pcm16(b"abc", RATE)


@pytest.mark.parametrize("name", ["reply.wav", "reply.FLAC"])
def test_save_and_load(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("what was there before")
    audio = from_pcm16(to_pcm16(Audio(tone(), RATE)), RATE)
    assert save(path, audio) == path
    np.testing.assert_array_equal(load(path).samples, audio.samples)
    assert soundfile.info(path).subtype == "PCM_16"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["reply.mp3", "reply", "reply.wav.txt"])
def test_save_refuses_other_endings(name: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"End the name in \.wav or \.flac"):
        save(tmp_path / name, Audio(tone(), RATE))
    assert not os.listdir(tmp_path)


def test_save_leaves_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot be written: No such file or directory"):
        save(tmp_path / "missing" / "reply.wav", Audio(tone(), RATE))
    (tmp_path / "reply.wav").mkdir()
    with pytest.raises(AudioError, match="cannot be written: Is a directory"):
        save(tmp_path / "reply.wav", Audio(tone(), RATE))
    with pytest.raises(AudioError, match="cannot be written"):
        save(tmp_path / "a\0.wav", Audio(tone(), RATE))
    assert os.listdir(tmp_path) == ["reply.wav"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to here")
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reply.wav"
    save(path, Audio(tone(), RATE))
    before = path.read_bytes()
    monkeypatch.setattr("secrets.token_hex", lambda size: "full")
    (tmp_path / ".reply.wav.full.part").symlink_to("/dev/full")
    with pytest.raises(AudioError, match="cannot be written: No space left on device"):
        save(path, Audio(tone(0.1), RATE))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["reply.wav"]


@given(rate=st.sampled_from([4_000, 8_000, 22_050, 44_100, 48_000, 96_000, 384_000]), seconds=st.floats(0.01, 0.5))
def test_resampling_keeps_length_and_loudness(rate: int, seconds: float) -> None:
    audio = Audio(tone(seconds), RATE)
    other = resample(audio, rate)
    assert other.sample_rate_hz == rate
    assert other.samples.dtype == np.float32
    assert other.seconds == pytest.approx(audio.seconds, abs=2 / min(rate, RATE))


def test_resampling_to_the_same_rate_and_of_nothing() -> None:
    audio = Audio(tone(), RATE)
    assert resample(audio, RATE) is audio
    assert resample(Audio(np.zeros(0, np.float32), RATE), 8_000).samples.shape == (0,)
    with pytest.raises(AudioError, match="a sample rate of 100 Hz"):
        resample(audio, 100)


def test_concatenate() -> None:
    whole = concatenate([Audio(tone(), RATE), Audio(tone(0.1), RATE)])
    assert len(whole.samples) == 9_600
    with pytest.raises(AudioError, match="no sound to join"):
        concatenate([])
    with pytest.raises(AudioError, match=r"cannot be joined: \[8000, 16000\] Hz"):
        concatenate([Audio(tone(), RATE), Audio(tone(), 8_000)])
