# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Token to wave, log-mels and prompts against the public reference code, with shared random weights.

It comes from the packages step-audio2 and s3tokenizer, which `make oracles` puts into a folder that only these tests
look into; without it they are skipped.
"""

import importlib.util
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra step-audio")

from sayso.items import AssistantReply, Audio, ToolCall, ToolOutput, ToolSpec, UserInput
from sayso.models.step_audio2.chat import SUMMARY, ChatFormat, Sound, sound_ids, tool_json
from sayso.models.step_audio2.features import embedding_count, frame_count, log_mel, mel_filters, pieces
from sayso.models.step_audio2.interleave import build
from sayso.models.step_audio2.token2wav import acoustics, write_random
from sayso.models.step_audio2.token2wav.files import read_tensors
from sayso.models.step_audio2.token2wav.flow import Flow, Prompt, Window
from sayso.models.step_audio2.token2wav.hift import Vocoder
from sayso.models.step_audio2.token2wav.model import VOCODER_PREFIX, Token2Wav
from sayso.models.step_audio2.token2wav.noise import TableNoise
from sayso.models.step_audio2.token2wav.random_weights import randomised
from sayso.models.step_audio2.token2wav.s3 import SpeechTokenizer, token_count
from sayso.models.step_audio2.token2wav.sizes import TINY_FLOW, TINY_HIFT, FlowSizes, HiftSizes, S3Sizes
from sayso.models.step_audio2.token2wav.stream import Feed
from sayso.models.step_audio2.transcript import Transcript

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS, TOKENS, PROMPT = 10, 40, 30
EXACT = 5e-5  # in float64, of numbers around 1: times and positions are float32 on both sides
ORACLES = Path(sys.prefix) / "oracles"


def slaney_filters(*, sr, n_fft, n_mels, fmin=0.0, fmax=None):
    """librosa's ``filters.mel`` as transformers has it: librosa itself would bring a compiler of 170 MB for it."""
    audio_utils = pytest.importorskip("transformers.audio_utils", reason="needs transformers")
    return audio_utils.mel_filter_bank(
        n_fft // 2 + 1, n_mels, fmin, fmax or sr / 2, sr, norm="slaney", mel_scale="slaney"
    ).T.astype(np.float32)  # fmt: skip


def stubs():
    """In place of what the reference asks for beside itself, and what it loads files with."""
    names = ("torchaudio", "torchaudio.compliance", "torchaudio.compliance.kaldi", "librosa", "librosa.filters")
    missing = {name for name in ("torchaudio", "librosa") if importlib.util.find_spec(name) is None}
    found = {name: types.ModuleType(name) for name in names if name.split(".")[0] in missing}
    for name, module in found.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(found[parent], child, module)
    if "librosa" in missing:
        found["librosa.filters"].mel = slaney_filters
    if importlib.util.find_spec("hyperpyyaml") is None:
        found["hyperpyyaml"] = types.ModuleType("hyperpyyaml")
        found["hyperpyyaml"].load_hyperpyyaml = None
    return found


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # the reference compiles; eager gives the same
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def oracle(name):
    """A module of the reference; nothing that it was loaded with is left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(ORACLES)])
        for stub, module in stubs().items():
            patch.setitem(sys.modules, stub, module)
        return pytest.importorskip(name, reason="needs the reference code: make oracles")


def reference_flow(sizes):
    encoder = oracle("cosyvoice2.transformer.upsample_encoder_v2").UpsampleConformerEncoderV2(
        sizes.hidden, sizes.hidden, "linear", 3, sizes.encoder_layers, sizes.up_layers, 2, 2, sizes.encoder_heads,
        "rel_pos_espnet", "rel_selfattn", True, sizes.feed_forward, 0.1, 0.1, 0.1, True,
    )  # fmt: skip
    estimator = oracle("cosyvoice2.flow.decoder_dit").DiT(
        320, 80, sizes.estimator_mlp / sizes.estimator_hidden, sizes.estimator_layers, sizes.estimator_heads,
        sizes.estimator_head_dim, sizes.estimator_hidden,
    )  # fmt: skip
    matching = oracle("cosyvoice2.flow.flow_matching")
    # The reference sizes its buffers for the public checkpoint only: 2 GB, which are not touched here.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "zeros", torch.empty)
        decoder = matching.CausalConditionalCFM(estimator, sizes.guidance)
    layers, heads, width = sizes.estimator_layers, sizes.estimator_heads, 2 * sizes.estimator_head_dim
    estimator.att_cache_buffer = torch.zeros(layers, 2, heads, 1000, width)
    estimator.cnn_cache_buffer = torch.zeros(layers, 2, 2 * sizes.estimator_hidden, 2)
    decoder.att_cache_buffer = torch.zeros(16, layers, 2, heads, 1000, width)
    decoder.cnn_cache_buffer = torch.zeros(16, layers, 2, 2 * sizes.estimator_hidden, 2)
    flow = oracle("cosyvoice2.flow.flow").CausalMaskedDiffWithXvec(sizes.hidden, 80, 192, "mel", 6561, encoder, decoder)
    return flow.eval()


def shared(sizes=TINY_FLOW):
    """Ours and theirs in float64, where a wrong epsilon or another GELU shows."""
    ours, theirs = randomised(Flow(sizes), 3).double(), reference_flow(sizes).double()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def prompt(tokens=PROMPT):
    generator = torch.Generator().manual_seed(5)
    return Prompt(
        torch.randint(0, 6561, (tokens,), generator=generator),
        torch.randn(2 * tokens, 80, generator=generator, dtype=torch.float64),
        torch.randn(192, generator=generator, dtype=torch.float64),
    )


def spoken(tokens):
    return torch.randint(0, 6561, (tokens,), generator=torch.Generator().manual_seed(6))


def test_the_state_dicts_of_the_public_sizes_have_the_names_and_shapes_of_the_reference():
    hifigan, tokenizer = oracle("flashcosyvoice.modules.hifigan"), oracle("s3tokenizer.model_v2")
    reference_flow(TINY_FLOW)  # imports what the next ones need
    with torch.device("meta"):
        hift, s3, flow = hifigan.HiFTGenerator(), tokenizer.S3TokenizerV2("v2"), reference_flow(FlowSizes())
        pairs = [(Flow(FlowSizes()), flow), (Vocoder(HiftSizes()), hift), (SpeechTokenizer(S3Sizes()), s3)]
    for ours, theirs in pairs:
        assert {k: v.shape for k, v in ours.state_dict().items()} == {
            k: v.shape for k, v in theirs.state_dict().items()
        }
        # What an eps does may not show in random numbers.
        expected = {name: one.eps for name, one in theirs.named_modules() if isinstance(one, torch.nn.LayerNorm)}
        found = {name: one.eps for name, one in ours.named_modules() if isinstance(one, torch.nn.LayerNorm)}
        assert found.items() <= expected.items()


def test_the_flow_model_gives_what_the_reference_gives():
    ours, theirs = shared()
    voice, tokens = prompt(), spoken(TOKENS)
    table = theirs.decoder.rand_noise[0].T
    lengths = [torch.tensor([n]) for n in (TOKENS, PROMPT, 2 * PROMPT)]
    expected = theirs.inference(
        tokens[None],
        lengths[0],
        voice.tokens[None],
        lengths[1],
        voice.mel[None],
        lengths[2],
        voice.speaker[None],
        STEPS,
    )[0].T
    found = ours.mel([voice], [tokens], [table[: 2 * (PROMPT + TOKENS)]])[0]
    assert expected.std() > 0.3
    torch.testing.assert_close(found, expected, atol=EXACT, rtol=0)


def stream_beside_the_reference(ours, theirs, voice, tokens, atol):
    """Both in chunks, with the reference's way to forget; each chunk has to agree."""
    table, speaker, frames = theirs.decoder.rand_noise[0].T, voice.speaker[None], len(voice.mel)
    padded = torch.cat([voice.tokens, voice.tokens[:3]])[None]
    cache = theirs.setup_cache(padded, voice.mel[None], speaker, n_timesteps=STEPS)
    state = ours.prime(voice, table[:frames])
    window, noise = Window(reference_faults=True), TableNoise(table)
    for start in range(0, len(tokens), 25):
        last = start + 28 > len(tokens)
        chunk = tokens[None, start:] if last else tokens[None, start : start + 28]
        expected, cache = theirs.inference_chunk(chunk, speaker, cache, last, STEPS)
        cache = {key: value.clone() for key, value in cache.items()}  # its buffers are shared
        attention = cache["estimator_att_cache"]
        if attention.shape[4] > frames + 100:  # as token2wav.py does
            parts = [attention[:, :, :, :, :frames], attention[:, :, :, :, -100:]]
            cache["estimator_att_cache"] = torch.cat(parts, dim=4)
        drawn = noise.frames(expected.shape[2], state.context_frames)[None]
        mel, (state,) = ours.chunk([state], chunk, drawn, last=last, window=window)
        torch.testing.assert_close(mel[0], expected[0].T, atol=atol, rtol=0)
        if last:
            break


@pytest.mark.parametrize("prompt_tokens", [30, 60, 90])
def test_streamed_chunks_with_the_reference_s_trimming_give_what_the_reference_gives(prompt_tokens):
    stream_beside_the_reference(*shared(), prompt(prompt_tokens), spoken(25 * 6 + 17), EXACT)


@pytest.mark.skipif("SAYSO_FULL_SIZE" not in os.environ, reason="takes a minute; SAYSO_FULL_SIZE=1 runs it")
def test_streamed_chunks_of_the_public_size_give_what_the_reference_gives():
    ours, theirs = (flow.float() for flow in shared(FlowSizes()))
    voice = Prompt(prompt().tokens, prompt().mel.float(), prompt().speaker.float())
    stream_beside_the_reference(ours, theirs, voice, spoken(25 * 2 + 17), 5e-4)


def test_the_vocoder_gives_what_the_reference_gives(monkeypatch):
    hifigan = oracle("flashcosyvoice.modules.hifigan")
    pitch = hifigan.ConvRNNF0Predictor(cond_channels=TINY_HIFT.pitch_channels)
    theirs = hifigan.HiFTGenerator(base_channels=TINY_HIFT.channels, f0_predictor=pitch).eval()
    ours = randomised(Vocoder(TINY_HIFT), 4)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    generator = torch.Generator().manual_seed(1)
    mel, noise = torch.randn(2, 80, 31, generator=generator), torch.randn(2, 31 * 480, 9, generator=generator)
    monkeypatch.setattr(torch, "randn_like", lambda like: noise[:, : like.shape[1], : like.shape[2]])
    expected, source = theirs(mel)
    found_source = ours.m_source(ours.f0_predictor(mel), noise)
    assert (theirs.f0_predictor(mel) > 10).float().mean() > 0.5
    torch.testing.assert_close(found_source, source, atol=2e-4, rtol=1e-3)
    wave = ours.fused()(mel, source)
    assert wave.std() > 0.005
    torch.testing.assert_close(wave, expected, atol=1e-5, rtol=1e-4)


def test_a_stream_with_the_reference_s_faults_is_the_reference_s_stream(monkeypatch, tmp_path):
    reference = oracle("token2wav")
    hifigan = oracle("flashcosyvoice.modules.hifigan")
    folder = write_random(tmp_path, tiny=True, seed=2)
    ours = Token2Wav.load(folder, reference_faults=True)
    voice = ours.voice("default_male")
    theirs = reference.Token2wav.__new__(reference.Token2wav)
    theirs.float16, theirs.mel_cache_len, theirs.source_cache_len = False, 8, 8 * 480
    theirs.flow = reference_flow(TINY_FLOW)
    theirs.flow.load_state_dict(read_tensors(folder / "flow.pt"), strict=True)
    pitch = hifigan.ConvRNNF0Predictor(cond_channels=TINY_HIFT.pitch_channels)
    theirs.hift = hifigan.HiFTGenerator(base_channels=TINY_HIFT.channels, f0_predictor=pitch).eval()
    theirs.hift.load_state_dict(read_tensors(folder / "hift.pt", VOCODER_PREFIX), strict=True)
    theirs.speech_window = torch.from_numpy(np.hamming(2 * theirs.source_cache_len))
    tokens, mel, speaker = (torch.from_numpy(a)[None] for a in (voice.tokens, voice.mel, voice.speaker))
    theirs.cache = {"clip": (tokens, None, speaker, mel, None)}
    tensor, zeros = torch.tensor, torch.zeros
    monkeypatch.setattr(torch, "tensor", lambda *a, device=None, **k: tensor(*a, **k))
    monkeypatch.setattr(torch, "zeros", lambda *a, device=None, **k: zeros(*a, **k))
    theirs.set_stream_cache("clip")
    noise = TableNoise(theirs.flow.decoder.rand_noise[0].T, seed=9)
    mirror = TableNoise(noise._table, seed=9)
    monkeypatch.setattr(torch, "randn_like", lambda like: mirror.samples(like.shape[1])[None, :, : like.shape[2]])
    ours._table = noise._table
    stream = ours.stream(voice, noise=noise)
    ids = spoken(25 * 4 + 20).tolist()
    for start in range(0, len(ids), 25):
        last = start + 28 > len(ids)
        pcm = theirs.stream(ids[start:] if last else ids[start : start + 28], "clip", last_chunk=last)
        expected = np.frombuffer(pcm, "<i2").astype(np.float64) / 32767
        due = ids[start + 3 if start else 0 : None if last else start + 28]
        (found,) = ours.advance([Feed(stream, tuple(due), last=last)])
        assert len(found) == len(expected)
        assert np.abs(expected).max() > 0.01
        # The reference adds phases up in float32, which a few loud samples show.
        np.testing.assert_allclose(found, expected, atol=3e-3)
        assert np.abs(found - expected).mean() < 5e-5
        if last:
            break


@pytest.mark.parametrize("frames", [300, 904, 3000, 3100, 5900])
def test_the_speech_tokenizer_gives_the_reference_s_tokens(frames):
    module = oracle("s3tokenizer.model_v2")
    config = module.ModelConfig(n_audio_state=64, n_audio_head=1, n_audio_layer=2)
    theirs = module.S3TokenizerV2("speech_tokenizer_v2_25hz", config).eval()
    ours = randomised(SpeechTokenizer(S3Sizes(64, 2)), 8)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    mel = torch.randn(128, frames, generator=torch.Generator().manual_seed(frames))
    codes, lengths = theirs.quantize(mel[None], torch.tensor([frames]))
    expected, found = codes[0, : int(lengths[0])], ours(mel)
    if frames <= 3000:
        assert len(found) == token_count(frames)
    assert len(found) == len(expected)
    assert len(found.unique()) > 20
    # A rounding on the edge between two digits may fall either way.
    assert (found == expected).float().mean() > 0.995


def test_mels_of_voices_are_those_of_the_reference():
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(24_000, generator=generator) * 0.1
    for rate, fft, bins in ((16_000, 400, 128), (24_000, 1920, 80)):
        expected = slaney_filters(sr=rate, n_fft=fft, n_mels=bins, fmax=8000)
        np.testing.assert_allclose(mel_filters(bins, rate_hz=rate, fft=fft), expected, atol=1e-7)
    reference = oracle("flashcosyvoice.utils.audio").mel_spectrogram(wave[None])[0].T
    torch.testing.assert_close(acoustics.voice_mel(wave), reference, atol=1e-4, rtol=1e-4)
    utils = oracle("s3tokenizer.utils")
    filters = torch.as_tensor(mel_filters(128))
    utils._mel_filters = lambda device, bins: filters
    torch.testing.assert_close(acoustics.log_mel(wave), utils.log_mel_spectrogram(wave), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [321, 8000, 47_999, 25 * 16_000])
def test_what_is_heard_has_the_log_mels_and_the_lengths_of_the_reference(samples):
    utils = oracle("utils")
    ramp = np.linspace(0, 0.3, samples)
    wave = (np.random.default_rng(samples).standard_normal(samples) * ramp).astype(np.float32)
    expected = utils.log_mel_spectrogram(wave)
    torch.testing.assert_close(log_mel(wave), expected, atol=1e-5, rtol=0)
    _, lengths = utils.padding_mels([expected])
    assert frame_count(samples) == expected.shape[1] == int(lengths[0]) + 2
    assert embedding_count(expected.shape[1]) == utils.compute_token_num(expected.shape[1])


def test_the_filter_bank_is_kaldi_s():
    audio_utils = pytest.importorskip("transformers.audio_utils", reason="needs transformers")
    wave = torch.randn(16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    filters = audio_utils.mel_filter_bank(
        num_frequency_bins=257, num_mel_filters=80, min_frequency=20, max_frequency=8000, sampling_rate=16_000,
        mel_scale="kaldi", triangularize_in_mel_space=True,
    )  # fmt: skip
    expected = audio_utils.spectrogram(
        wave.numpy(), audio_utils.window_function(400, "povey", periodic=False), frame_length=400, hop_length=160,
        fft_length=512, power=2.0, center=False, preemphasis=0.97, mel_filters=filters, log_mel="log",
        mel_floor=1.192092955078125e-07, remove_dc_offset=True,
    ).T  # fmt: skip
    expected = expected - expected.mean(axis=0)
    np.testing.assert_allclose(acoustics.filter_bank(wave).numpy(), expected, atol=5e-4)


def test_a_conversation_has_the_ids_that_the_reference_makes_of_it(checkpoint_files, step_tokenizer, monkeypatch):
    reference = oracle("stepaudio2")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    heard = Audio(np.random.default_rng(0).normal(0, 0.1, 33 * 16_000).astype(np.float32), 16_000)
    tools = [ToolSpec("search", "搜索工具", {"type": "object", "properties": {"query": {"type": "string"}}})]
    words, found = "让我查一下。 One moment", "上海今天多云\n26 °C"
    call = step_tokenizer.encode_marked('<tool_call>function\nsearch\n{"query": "上海天气"}</tool_call>')
    ids = build(step_tokenizer, step_tokenizer.encode(words), range(90), call)
    text, speech = {"type": "text"}, {"type": "text", "text": "<tts_start>"}
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "tool_json_schemas", "content": tool_json(tools)},
        {"role": "user", "content": [{"type": "audio", "audio": "question.wav"}]},
        {"role": "assistant", "content": [speech, {"type": "token", "token": ids}]},
        {"role": "input", "content": [text | {"text": found}, text | {"text": f"\n\n\n{SUMMARY}"}]},
        {"role": "assistant", "content": "<tts_start>", "eot": False},
    ]
    monkeypatch.setattr(reference, "load_audio", lambda path: torch.from_numpy(heard.samples))
    theirs = transformers.Qwen2Tokenizer.from_pretrained(checkpoint_files)
    parts, mels = reference.StepAudio2.apply_chat_template(None, messages)
    expected = [token_id for part in parts for token_id in (part if isinstance(part, list) else theirs.encode(part))]
    talk = Transcript(ChatFormat(step_tokenizer), "You are a helpful assistant.", tools)
    items = [UserInput("", heard)]
    talk.prompt(items)
    talk.generated([*ids, step_tokenizer.eot])
    items += [AssistantReply(words), ToolCall("1", "search", {"query": "上海天气"}), ToolOutput("1", "search", found)]
    prompt_ids = []
    for segment in talk.prompt(items, "speak"):
        if isinstance(segment, Sound):
            patches = [embedding_count(frame_count(len(piece))) for piece in pieces(segment.audio.samples)]
            assert len(patches) == len(mels) == 2
            prompt_ids += sound_ids(step_tokenizer, patches)
        else:
            prompt_ids += segment
    assert prompt_ids == expected
