"""Indexes of documents: incremental, interrupted, from several threads and processes, over files of every kind."""

import hashlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sayso.errors import UsageError
from sayso.testing import run
from sayso.tools.documents import DocumentIndex, DocumentIndexError, index_names
from sayso.tools.documents import index as index_module
from sayso.tools.documents.provider import LocalIndex

DATA = Path(__file__).parent / "data" / "documents"
TERMS = (DATA / "terms.pdf").read_bytes()
LOCKED = (DATA / "locked.pdf").read_bytes()


class HashedWords:
    """An embedder without a model: each word has a direction of its own; knows some synonyms."""

    name = "hashed words"

    def __init__(self):
        self.texts = []

    def embed(self, texts):
        self.texts += texts
        vectors = np.full((len(texts), 64), 1e-6, np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                word = {"refund": "return", "refunds": "return", "returns": "return"}.get(word, word)
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
                vectors[row] += np.random.default_rng(seed).standard_normal(64)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "shop handbook"
    (root / "policies").mkdir(parents=True)
    (root / "policies" / "returns.md").write_text("# Handbook\n\n## Returns\n\nGoods come back in thirty days.\n")
    (root / "hours.txt").write_text("We open at nine and close at six.")
    (root / "contact.html").write_text("<title>Contact</title><p>Write to the office by mail.</p>")
    return root


@pytest.fixture
def embedder():
    return HashedWords()


@pytest.fixture
def index(folder, tmp_path, embedder):
    return DocumentIndex(folder, root=tmp_path / "indexes", embedder=embedder)


def paths(found):
    return [passage.path for passage in found.passages]


def counts(report):
    return (report.added, report.changed, report.moved, report.removed, report.unchanged, report.embedded)


def test_what_is_found_says_where_it_stands(index, folder):
    (folder / "terms.pdf").write_bytes(TERMS)
    index.update()
    passage = index.search("goods come back").passages[0]
    assert (passage.citation, passage.path) == ("Handbook, section Returns", "policies/returns.md")
    assert passage.file == folder / "policies" / "returns.md"
    assert passage.modified == pytest.approx(passage.file.stat().st_mtime)
    assert index.search("warranty").passages[0].citation == "Terms of sale, page 2"
    assert index.search("open at nine").passages[0].citation == "hours"


def test_words_and_meaning_are_both_searched(index):
    index.update()
    assert paths(index.search("refund", by="words")) == []
    with pytest.raises(UsageError, match="Use both, words, meaning"):
        index.search("refund", by="sense")  # type: ignore[arg-type]
    assert paths(index.search("refund", by="meaning")) == ["policies/returns.md"]
    assert paths(index.search("refund")) == ["policies/returns.md"]
    assert paths(index.search("come back in thirty days"))[0] == "policies/returns.md"


def test_only_what_changed_is_read_and_embedded(index, folder, embedder):
    assert counts(index.update()) == (3, 0, 0, 0, 0, 3)
    embedder.texts.clear()
    assert counts(index.update()) == (0, 0, 0, 0, 3, 0)
    hours = folder / "hours.txt"
    os.utime(hours, ns=(1, 1))
    assert counts(index.update()) == (0, 0, 0, 0, 3, 0)  # touched, with the same content
    hours.write_text("We are closed on Mondays, always.")
    assert counts(index.update()) == (0, 1, 0, 0, 2, 1)
    assert embedder.texts == ["hours. We are closed on Mondays, always."]
    assert paths(index.search("mondays")) == ["hours.txt"]
    assert paths(index.search("nine", by="words")) == []


def test_files_that_move_keep_their_vectors_and_files_that_go_leave(index, folder, embedder):
    index.update()
    embedder.texts.clear()
    (folder / "policies" / "returns.md").rename(folder / "old returns.md")
    (folder / "hours.txt").unlink()
    assert counts(index.update()) == (1, 0, 1, 2, 1, 0)
    assert embedder.texts == []
    assert paths(index.search("goods come back", by="words")) == ["old returns.md"]
    assert index.search("open at nine", by="words").passages == ()
    status = index.status()
    assert (status.documents, status.chunks, status.embedded) == (2, 2, 2)
    with sqlite3.connect(index.path) as connection:
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM words").fetchone() == (2,)
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    connection.close()


def test_files_without_text_are_reported_and_never_fatal(index, folder, monkeypatch):
    (folder / "locked.pdf").write_bytes(LOCKED)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    (folder / "junk.txt").write_bytes(b"\0\1\2\3" * 100)
    (folder / "empty.md").write_bytes(b"")
    (folder / "picture.png").write_bytes(b"no kind that is looked at")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / "huge.txt").write_text("x" * 2000)
    (folder / "dangling.txt").symlink_to(folder / "nowhere.txt")
    os.mkfifo(folder / "pipe.txt")
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("a name that is no UTF-8")
    monkeypatch.setattr("sayso.tools.documents.extract.MAX_BYTES", 1000)
    expected = {
        "locked.pdf": "encrypted with a password",
        "broken.pdf": "broken PDF",
        "junk.txt": "binary, not text",
        "empty.md": "no text in it",
        "huge.txt": "larger than 0 MB",
        "dangling.txt": "no such file or directory",
        "pipe.txt": "no regular file",
        "caf\ufffd.txt": "its name is not UTF-8",
    }
    for _ in range(2):  # the second run remembers
        report = index.update()
        assert {one.path: one.reason for one in report.skipped} == expected
        assert report.added + report.unchanged == 3
    status = index.status()
    assert (status.documents, status.problems) == (3, 5)


def test_a_file_that_was_mended_is_taken_in(index, folder):
    (folder / "terms.pdf").write_bytes(b"broken")
    assert len(index.update().skipped) == 1
    (folder / "terms.pdf").write_bytes(TERMS)
    report = index.update()
    assert (report.skipped, report.changed) == ([], 1)
    assert paths(index.search("warranty", by="words")) == ["terms.pdf"]


def test_links_that_form_a_loop_end(index, folder):
    (folder / "policies" / "up").symlink_to(folder)
    (folder / "policies" / "self").symlink_to("self")
    report = index.update()
    assert report.added == 3
    assert [one.path for one in report.skipped] in ([], ["policies/self"])


def test_what_may_not_be_read_is_reported(index, folder):
    (folder / "hours.txt").chmod(0)
    if os.access(folder / "hours.txt", os.R_OK):
        pytest.skip("this user may read everything")
    (folder / "policies").chmod(0)
    try:
        report = index.update()
    finally:
        (folder / "policies").chmod(0o700)
    assert {one.path: one.reason for one in report.skipped} == {
        "hours.txt": "permission denied",
        "policies": "permission denied",
    }


def test_a_run_that_is_broken_off_leaves_an_index_that_answers(index, folder):
    for number in range(100):
        (folder / f"note {number:03}.txt").write_text(f"Number {number} is about subject{number}.")

    def stop(progress):
        if progress.done == 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.update(stop)
    done = index.status().documents
    assert 60 <= done <= 80
    assert len(index.search("subject5", by="words").passages) == 1
    report = index.update()
    assert report.added == 103 - done
    assert index.status().embedded == 103


_ENDLESS = """
import sys
from test_documents_index import HashedWords
from sayso.tools.documents import DocumentIndex

def tell(progress):
    if progress.phase == sys.argv[3] and progress.done >= 64:
        print("ready", flush=True)
        sys.stdin.read()

DocumentIndex(sys.argv[1], root=__import__("pathlib").Path(sys.argv[2]), embedder=HashedWords()).update(tell)
print("done", flush=True)
"""


def start_process(folder: Path, root: Path, phase: str) -> subprocess.Popen:
    here = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, here))}
    command = [sys.executable, "-c", _ENDLESS, str(folder), str(root), phase]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("phase", ["reading", "embedding"])
def test_a_killed_run_leaves_an_index_that_answers_and_no_lock(index, folder, phase):
    for number in range(100):
        (folder / f"note {number:03}.txt").write_text(f"Number {number} is about subject{number}.")
    with start_process(folder, index.path.parent, phase) as process:
        assert process.stdout.readline() == "ready\n"
        assert index.search("subject5").passages  # while it runs
        process.send_signal(signal.SIGKILL)
    assert index.search("subject5").passages
    report = index.update()
    assert report.unchanged + report.added == 103
    status = index.status()
    assert (status.documents, status.chunks, status.embedded) == (103, 103, 103)


def test_a_second_run_waits_for_the_first(index, folder):
    for number in range(100):
        (folder / f"note {number:03}.txt").write_text(f"Number {number} is about subject{number}.")
    phases = []
    waiting = threading.Event()

    def tell(progress):
        phases.append(progress.phase)
        waiting.set()

    with start_process(folder, index.path.parent, "reading") as process:
        assert process.stdout.readline() == "ready\n"
        reports = []
        second = threading.Thread(target=lambda: reports.append(index.update(tell)))
        second.start()
        assert waiting.wait(30)
        assert phases == ["waiting"]
        process.stdin.close()
        second.join(60)
    assert (reports[0].added, reports[0].unchanged, reports[0].embedded) == (0, 103, 0)


def test_searches_from_many_threads_during_a_run(index, folder):
    index.update()
    for number in range(200):
        (folder / f"note {number:03}.txt").write_text(f"Number {number} is about goods.")
    found, errors = [], []

    def ask():
        try:
            while index.status().embedded < 203:
                found.append(index.search("goods come back").passages[0].path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    index.update()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert set(found) <= {"policies/returns.md"}


def test_without_the_model_words_are_searched_and_that_is_said(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "empty cache"))
    index_module._only_minilm.cache_clear()
    index = DocumentIndex(folder)
    report = index.update()
    assert "by words alone" in report.note
    assert "sayso models pull minilm" in report.note
    found = index.search("goods come back")
    assert paths(found) == ["policies/returns.md"]
    assert found.note == report.note
    index_module._only_minilm.cache_clear()
    later = DocumentIndex(folder, embedder=HashedWords())  # the model has come: vectors are added
    assert later.search("refund").passages == ()
    assert counts(later.update()) == (0, 0, 0, 0, 3, 3)
    assert paths(later.search("refund")) == ["policies/returns.md"]


def test_another_embedder_embeds_again(index, folder, tmp_path):
    index.update()
    other = HashedWords()
    other.name = "another"
    index = DocumentIndex(folder, root=tmp_path / "indexes", embedder=other)
    assert paths(index.search("refund")) == []  # never compared with vectors of another model
    assert index.update().embedded == 3
    assert paths(index.search("refund")) == ["policies/returns.md"]


def test_an_index_that_was_not_made_yet_is_empty(index):
    assert index.search("anything").passages == ()
    assert index.status().documents == 0
    assert not index.path.exists()


def test_nothing_is_found_for_nothing(index):
    index.update()
    assert index.search(" \n").passages == ()
    assert index.search("goods", 0).passages == ()
    assert len(index.search("goods come back " * 500, 2).passages) <= 2


def test_indexes_have_names(folder, tmp_path, embedder):
    root = tmp_path / "indexes"
    assert index_names(root) == []
    DocumentIndex(folder, name="shop", root=root, embedder=embedder).update()
    assert index_names(root) == ["shop"]
    again = DocumentIndex.open("shop", root=root, embedder=embedder)
    assert again.folders == (folder,)
    assert paths(again.search("mail")) == ["contact.html"]
    assert DocumentIndex(folder).name == DocumentIndex(str(folder) + "/").name
    assert DocumentIndex(folder).name.startswith("shop-handbook-")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65])
def test_bad_names_are_refused(folder, name):
    with pytest.raises(UsageError, match="no name for an index"):
        DocumentIndex(folder, name=name)


def test_errors_say_what_to_do(folder, tmp_path, embedder):
    with pytest.raises(UsageError, match="at least one folder"):
        DocumentIndex()
    with pytest.raises(UsageError, match="no index of documents 'x'; there are: none yet"):
        DocumentIndex.open("x", root=tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        DocumentIndex(tmp_path / "nowhere", root=tmp_path).update()
    index = DocumentIndex(folder, name="x", root=tmp_path, embedder=embedder)
    index.path.write_bytes(b"this is no database, whatever its name says" * 40)
    for action in (index.update, lambda: index.search("x"), index.status):
        with pytest.raises(DocumentIndexError, match="delete the file and index again"):
            action()
    index.path.unlink()
    index.update()
    with sqlite3.connect(index.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DocumentIndexError, match="has version 99; this sayso reads 1"):
        index.search("x")
    (tmp_path / "file").write_text("")
    with pytest.raises(DocumentIndexError, match="cannot be written"):
        DocumentIndex(folder, root=tmp_path / "file" / "below", embedder=embedder).update()


def test_a_folder_that_vanished_takes_nothing_with_it(index, folder):
    index.update()
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(UsageError):
        index.update()
    assert index.status().documents == 3


def test_the_index_is_a_provider_of_web_search(index):
    index.update()
    provider = LocalIndex(index)
    hit = run(provider.search("goods come back", 3, "us", "en"))[0]
    assert (hit.title, hit.site, hit.url) == ("Handbook, section Returns", "Handbook", "")
    assert hit.passage == "Goods come back in thirty days."
    assert provider.offline


@pytest.mark.models
def test_minilm_finds_what_words_do_not(folder, tmp_path, model_path):
    model_path("minilm")
    index = DocumentIndex(folder, root=tmp_path / "indexes")
    assert index.update().note == ""
    assert paths(index.search("can I get a refund for a purchase", by="words")) == []
    assert paths(index.search("can I get a refund for a purchase"))[:1] == ["policies/returns.md"]
