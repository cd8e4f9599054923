# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Prompt voices, and the files of a token2wav folder with all that can be wrong with them."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra step-audio")
onnx = pytest.importorskip("onnx", reason="needs the extra step-audio")
pytest.importorskip("onnxruntime", reason="needs the extra step-audio")

from sayso.errors import AudioError, ModelMissingError, UsageError
from sayso.items import Audio
from sayso.models.step_audio2.token2wav import Token2Wav, Voice, write_random
from sayso.models.step_audio2.token2wav.acoustics import log_mel
from sayso.models.step_audio2.token2wav.campplus import SpeakerNet
from sayso.models.step_audio2.token2wav.files import read_tensors
from sayso.models.step_audio2.token2wav.model import load_tokenizer
from sayso.models.step_audio2.token2wav.random_weights import randomised
from sayso.models.step_audio2.token2wav.s3 import SpeechTokenizer
from sayso.models.step_audio2.token2wav.s3_onnx import read_weights, write_weights
from sayso.models.step_audio2.token2wav.sizes import TINY_FLOW, TINY_S3, FlowSizes, flow_yaml, read_flow_sizes
from sayso.models.step_audio2.token2wav.voices import VoiceMaker, fingerprint, fitted
from sayso.speech.audio import save


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_random(tmp_path_factory.mktemp("made"), tiny=True, seed=1)


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "token2wav"))


def clip(seconds=1.0, rate=24_000, seed=0):
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return Audio(samples.astype(np.float32), rate)


class Counted:
    """Stand-ins for both networks that count how often they are asked."""

    def __init__(self):
        self.asked = 0

    def tokenize(self, mel):
        self.asked += 1
        return torch.arange(mel.shape[1] // 4)

    def embed(self, samples):
        return torch.full((192,), float(len(samples)))


@pytest.mark.parametrize(("seconds", "rate", "tokens"), [(9.04, 48_000, 226), (7.70, 48_000, 193), (1.0, 44_100, 25)])
def test_a_clip_becomes_tokens_and_twice_as_many_frames(made, seconds, rate, tokens):
    voice = Token2Wav.load(made).voice(clip(seconds, rate))
    assert voice.tokens.shape == (tokens,)
    assert voice.mel.shape == (2 * tokens, 80)
    assert voice.seconds == pytest.approx(seconds, abs=0.04)


def test_a_clip_may_be_a_path_bytes_or_a_default_voice(made, tmp_path):
    model, path = Token2Wav.load(made), save(tmp_path / "clip.wav", clip())
    voice = model.voice(path)
    assert model.voice(str(path)).key == model.voice(path.read_bytes()).key == voice.key
    assert model.voice(voice) is voice
    assert model.default_voices == ["default_female", "default_male"]
    assert model.voice("default_female").key != model.voice("default_male").key
    with pytest.raises(AudioError):
        model.voice("default_child")


def test_default_clips_are_also_found_in_the_checkpoint_s_assets(folder):
    assets = folder.parent / "assets"
    assets.mkdir()
    (folder / "default_male.wav").rename(assets / "default_male.wav")
    (folder / "default_female.wav").unlink()
    assert Token2Wav.load(folder).default_voices == ["default_male"]


@pytest.mark.parametrize("seconds", [0.4, 61.0])
def test_a_clip_that_is_too_short_or_too_long_is_refused(made, seconds):
    with pytest.raises(AudioError, match=rf"{seconds:.1f} s cannot be used.*0.5 to 60 s"):
        Token2Wav.load(made).voice(clip(seconds, 8_000))


def test_a_prompt_of_more_than_half_a_minute_is_tokenized_in_windows(made):
    voice = Token2Wav.load(made).voice(clip(40.0, 16_000))
    assert voice.mel.shape == (2 * len(voice.tokens), 80)
    assert len(voice.tokens) == 40 * 25


def test_a_prepared_voice_is_kept_on_disk_by_content(tmp_path):
    networks = Counted()

    def maker(files="a"):
        return VoiceMaker(networks.tokenize, networks.embed, files, tmp_path / "voices")

    first = maker().prepare(clip())
    again = maker().prepare(clip())
    assert networks.asked == 1
    assert again.key == first.key
    for name in ("tokens", "mel", "speaker"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert maker().prepare(clip(seed=1)).key != first.key
    assert maker("other files").prepare(clip()).key != first.key
    assert networks.asked == 3
    assert sorted(p.suffix for p in (tmp_path / "voices").iterdir()) == [".npz"] * 3


def test_a_voice_prepared_lately_is_kept_in_memory():
    networks = Counted()
    maker = VoiceMaker(networks.tokenize, networks.embed, "", None)
    assert maker.prepare(clip()) is maker.prepare(clip())
    for seed in range(1, 18):
        maker.prepare(clip(0.5, 8_000, seed))
    assert networks.asked == 18
    maker.prepare(clip())
    assert networks.asked == 19


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_kept_voice_that_does_not_read_is_made_again(tmp_path, damage):
    networks = Counted()

    def maker():
        return VoiceMaker(networks.tokenize, networks.embed, "", tmp_path)

    expected = maker().prepare(clip())
    path = tmp_path / f"{expected.key}.npz"
    if damage is None:
        np.savez(path, tokens=expected.tokens[:-1], mel=expected.mel, speaker=expected.speaker)
    else:
        path.write_bytes(damage)
    np.testing.assert_array_equal(maker().prepare(clip()).mel, expected.mel)
    assert networks.asked == 2
    maker().prepare(clip())
    assert networks.asked == 2


def test_a_kept_voice_runs_no_code(tmp_path):
    networks = Counted()

    def maker():
        return VoiceMaker(networks.tokenize, networks.embed, "", tmp_path)

    voice = maker().prepare(clip())
    evil = np.array([Evil(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / f"{voice.key}.npz", tokens=evil, mel=voice.mel, speaker=voice.speaker)
    maker().prepare(clip())
    assert not (tmp_path / "ran").exists()
    assert networks.asked == 2


def test_a_mel_is_cut_or_filled_to_the_tokens():
    mel = torch.arange(6.0)[:, None].expand(6, 80)
    assert fitted(mel, 4)[:, 0].tolist() == [0, 1, 2, 3]
    assert fitted(mel, 9)[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 5, 5, 5]


@pytest.mark.parametrize(
    ("tokens", "frames", "speaker"), [(0, 0, 192), (3, 5, 192), (3, 6, 80), (6562, 13124, 192)], ids=str
)
def test_a_voice_that_does_not_fit_together_is_refused(tokens, frames, speaker):
    with pytest.raises(UsageError, match="does not fit together"):
        Voice("k", np.arange(tokens), np.zeros((frames, 80), np.float32), np.zeros(speaker, np.float32))


def test_a_voice_that_is_not_finite_is_refused():
    with pytest.raises(UsageError, match="not finite"):
        Voice("k", np.arange(2), np.full((4, 80), np.nan, np.float32), np.zeros(192, np.float32))


# ---- files ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_folder(made, tmp_path):
    again, other = (write_random(tmp_path / str(seed), tiny=True, seed=seed) for seed in (1, 2))
    for name in ("flow.pt", "hift.pt"):
        first, second, third = (read_tensors(f / name) for f in (made, again, other))
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert any(not torch.equal(first[key], third[key]) for key in first)
    assert (made / "campplus.onnx").read_bytes() == (again / "campplus.onnx").read_bytes()


def test_the_sizes_are_read_from_the_yaml(checkpoint_files, tmp_path):
    assert read_flow_sizes(checkpoint_files / "token2wav" / "flow.yaml") == FlowSizes()
    (tmp_path / "flow.yaml").write_text(flow_yaml(TINY_FLOW))
    assert read_flow_sizes(tmp_path / "flow.yaml") == TINY_FLOW


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("vocab_size: 6561", "vocab_size: 4096", "vocab_size is 4096, expected 6561"),
        ("depth: 2", "deep: 2", "KeyError.*depth"),
        ("flow: !new", "flow: [!new", "not YAML"),
        ("flow: !new:cosyvoice2", "flow: !!python/object/apply:os.system", "not YAML"),
        ("normalize_before: True", "normalize_before: False", "normalize_before is False"),
        ("attention_heads: 2", "attention_heads: 0", "cannot be built"),
        ("attention_heads: 2", "attention_heads: 5", "cannot be built"),
        ("num_blocks: 2", "num_blocks: several", "invalid literal"),
    ],
)
def test_a_yaml_that_says_something_else_is_refused(folder, before, after, message):
    path = folder / "flow.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(UsageError, match=message):
        Token2Wav.load(folder)


@pytest.mark.parametrize("name", ["flow.yaml", "flow.pt", "hift.pt"])
def test_a_file_that_is_not_there_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelMissingError, match=rf"{name} is not there"):
        Token2Wav.load(folder)


@pytest.mark.parametrize("name", ["campplus.onnx", "speech_tokenizer_v2_25hz.onnx"])
def test_a_file_that_only_new_voices_need_is_missed_only_there(folder, name):
    voice = Token2Wav.load(folder).voice("default_male")
    (folder / name).unlink()
    model = Token2Wav.load(folder)
    assert len(model.synthesize([1, 2], voice)) == 2 * 960
    with pytest.raises(ModelMissingError, match=rf"{name} is not there"):
        model.voice("default_male")


@pytest.mark.parametrize("name", ["flow.pt", "hift.pt"])
def test_a_file_that_is_cut_off_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    for kept in (0, 100, len(whole) // 2):
        (folder / name).write_bytes(whole[:kept])
        with pytest.raises(UsageError, match=rf"{name} cannot be read.*Fetch it again"):
            Token2Wav.load(folder)


@pytest.mark.parametrize("name", ["flow.pt", "hift.pt"])
def test_a_file_that_holds_something_else_is_refused(folder, name):
    (folder / name).write_bytes(b"junk")
    with pytest.raises(UsageError, match=rf"{name} cannot be read: .*Fetch it again"):
        Token2Wav.load(folder)
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 623209408\n")
    with pytest.raises(ModelMissingError, match=rf"{name} is a pointer of Git LFS.*git lfs pull"):
        Token2Wav.load(folder)


def replaced(path, value, **options):
    """Write a file anew without touching the one that is mapped into memory."""
    torch.save(value, path.with_suffix(".new"), **options)
    path.with_suffix(".new").replace(path)


class Evil:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
def test_a_file_with_code_in_it_is_refused_and_not_run(folder, tmp_path, write):
    write({"input_embedding.weight": Evil(tmp_path / "ran")}, folder / "flow.pt")
    with pytest.raises(UsageError, match=r"flow.pt cannot be read"):
        Token2Wav.load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("value", "message"), [([1, 2], "no table"), ({"a": 1}, "more than named weights")])
def test_a_file_of_something_else_is_refused(folder, value, message):
    torch.save(value, folder / "hift.pt")
    with pytest.raises(UsageError, match=message):
        Token2Wav.load(folder)


def test_weights_that_are_missing_unknown_or_of_another_shape_are_named(folder):
    path = folder / "flow.pt"
    weights = read_tensors(path)
    replaced(path, {k: v for k, v in weights.items() if "up_layer" not in k} | {"extra": torch.zeros(1)})
    with pytest.raises(UsageError, match=r"2 weights are missing \(encoder.up_layer.conv.bias.*1 are unknown \(extra"):
        Token2Wav.load(folder)
    replaced(path, weights | {"encoder_proj.bias": torch.zeros(3)})
    with pytest.raises(UsageError, match=r"encoder_proj.bias has the shape \(3,\), expected \(80,\)"):
        Token2Wav.load(folder)


def test_a_vocoder_file_that_is_none_is_refused(folder):
    torch.save({"weight": torch.zeros(3)}, folder / "hift.pt")
    with pytest.raises(UsageError, match=r"hift.pt is no vocoder"):
        Token2Wav.load(folder)
    bad = {"conv_pre.bias": torch.zeros(5), "f0_predictor.classifier.weight": torch.zeros(1, 8)}
    torch.save(bad, folder / "hift.pt")
    with pytest.raises(UsageError, match=r"hift.pt is no vocoder"):
        Token2Wav.load(folder)


def test_files_of_an_old_torch_and_without_the_prefix_load_too(folder):
    before = Token2Wav.load(folder)
    voice = before.voice("default_male")
    weights = read_tensors(folder / "hift.pt", "generator.")
    replaced(folder / "hift.pt", weights, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(
        Token2Wav.load(folder).synthesize([1, 2, 3], voice), before.synthesize([1, 2, 3], voice)
    )


def test_the_speech_tokenizer_comes_out_of_an_onnx_file_as_it_went_in(tmp_path):
    weights = randomised(SpeechTokenizer(TINY_S3), 3).state_dict()
    write_weights(weights, tmp_path / "s3.onnx")
    read = read_weights(tmp_path / "s3.onnx")
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)
    names = {node.name for node in onnx.load(tmp_path / "s3.onnx").graph.node}
    assert {"/blocks.0/mlp/mlp.0/MatMul", "/blocks.0/attn/query/Add", "/blocks.0/attn/fsmn_block/Conv"} <= names
    mel = log_mel(torch.randn(16_000, generator=torch.Generator().manual_seed(0)))
    assert load_tokenizer(tmp_path / "s3.onnx")(mel).shape == (25,)


def test_norms_exported_as_products_and_sums_are_read_too(tmp_path):
    node, array = onnx.helper.make_node, onnx.numpy_helper.from_array
    nodes = [
        node("Mul", ["x", "a"], ["y"], name="/blocks.3/attn_ln/Mul"),
        node("Add", ["y", "b"], ["z"], name="/blocks.3/attn_ln/Add_1"),
        node("Add", ["z", "c"], ["w"], name="/somewhere/else/Add"),
    ]
    stored = [array(np.full(4, n, np.float32), name) for n, name in enumerate("abc")]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], stored)), tmp_path / "s3.onnx")
    read = read_weights(tmp_path / "s3.onnx")
    assert {name: float(value[0]) for name, value in read.items()} == {
        "encoder.blocks.3.attn_ln.weight": 0,
        "encoder.blocks.3.attn_ln.bias": 1,
    }


def test_onnx_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "some.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(UsageError, match="cannot be read as ONNX"):
        load_tokenizer(path)
    with pytest.raises(UsageError, match="cannot be run by onnxruntime"):
        SpeakerNet(path).embed(torch.zeros(16_000))
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [], [])), path)
    with pytest.raises(UsageError, match="no speech tokenizer"):
        load_tokenizer(path)


def test_the_fingerprint_follows_the_files(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 200_000)
    first = fingerprint(path)
    path.write_bytes(b"x" * 199_999 + b"y")
    assert fingerprint(path) != first
    assert fingerprint(tmp_path / "none") == fingerprint()
