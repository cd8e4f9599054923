"""Search in documents: ``python -m benchmarks.documents``. Indexing 10,000 files, queries, and what is found.

Speed: the corpus is made from the docstrings of Python's standard library (real text, the same for one version of
Python): files of 40 to 200 words in Markdown, HTML, plain text and PDF. Queries are first sentences of docstrings, five
words of each.

Quality: `benchmarks/documents_corpus` holds a small handbook and questions to it, each with the section that answers
it: 70 in other words than the text's, as people speak, and 30 that name a word, a number or a code. The three ways to
rank are compared on the same index.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import random
import re
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report import Row, machine, show, write
from sayso.tools.documents import DocumentIndex, IndexReport, Progress

if TYPE_CHECKING:
    from sayso.tools.documents.index import By

CORPUS = Path(__file__).parent / "documents_corpus"
KINDS = ("md",) * 14 + ("html",) * 3 + ("txt",) * 2 + ("pdf",)  # of 20 files
QUERIES = 300
WAYS: tuple[By, ...] = ("words", "meaning", "both")


def paragraphs() -> list[str]:
    """Paragraphs of at least 20 words from the docstrings of the standard library, in order of file and place."""
    found: dict[str, None] = {}
    library = Path(sysconfig.get_path("stdlib"))
    for file in sorted(library.rglob("*.py")):
        if {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(file.relative_to(library).parts):
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                found |= dict.fromkeys(" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return [text for text in found if len(text.split()) >= 20 and text.isascii()]


def make_corpus(folder: Path, count: int) -> list[str]:
    """Write ``count`` files, seeded; the paragraphs they are made of."""
    pool, random_ = paragraphs(), random.Random(0)
    for number in range(count):
        wanted, texts = random_.randint(40, 200), list[str]()
        start = random_.randrange(len(pool))
        while sum(len(text.split()) for text in texts) < wanted:
            left = wanted - sum(len(text.split()) for text in texts)
            texts.append(" ".join(pool[(start + len(texts)) % len(pool)].split()[: max(20, left)]))
        texts[0] = f"Note {number}: {texts[0]}"  # no two files are alike
        kind = random_.choice(KINDS)
        place = folder / f"{number // 100:03}"
        place.mkdir(exist_ok=True)
        (place / f"note-{number:05}.{kind}").write_bytes(_file(kind, f"Note {number}", texts))
    return pool


def _file(kind: str, title: str, texts: list[str]) -> bytes:
    if kind == "pdf":
        return _pdf(texts)
    if kind == "html":
        body = "".join(f"<p>{escape(text)}</p>" for text in texts)
        return f"<html><head><title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>".encode()
    heading = f"# {title}\n\n" if kind == "md" else ""
    return (heading + "\n\n".join(texts)).encode()


def _pdf(texts: list[str]) -> bytes:
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    name = NameObject
    writer = PdfWriter()
    font = DictionaryObject({name("/Type"): name("/Font"), name("/Subtype"): name("/Type1")})
    font[name("/BaseFont")] = name("/Helvetica")
    for text in texts:
        page = writer.add_blank_page(612, 792)
        lines = [re.sub(r"([()\\])", r"\\\1", line) for line in re.findall(r".{1,80}(?:\s|$)", text)]
        content = DecodedStreamObject()
        content.set_data(
            ("BT /F1 9 Tf 12 TL 50 740 Td " + "".join(f"({line}) Tj T* " for line in lines) + "ET").encode()
        )
        page[name("/Resources")] = DictionaryObject({name("/Font"): DictionaryObject({name("/F1"): font})})
        page[name("/Contents")] = content
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


def timed_update(index: DocumentIndex) -> tuple[IndexReport, float]:
    """Bring ``index`` up to date; the report, and the seconds until it could be searched by words."""
    begun = time.perf_counter()
    readable = [0.0]

    def tell(progress: Progress) -> None:
        if progress.phase == "reading":
            readable[0] = time.perf_counter() - begun

    return index.update(tell), readable[0]


def speed(count: int, work: Path) -> list[Row]:
    """Index ``count`` files, index them again after few changes, search."""
    folder = work / "files"
    folder.mkdir()
    pool = make_corpus(folder, count)
    index = DocumentIndex(folder, root=work / "indexes")
    rows: list[Row] = []
    report, readable_s = timed_update(index)
    status = index.status()
    rows.append({"what": f"read {count} files (searchable by words)", "seconds": round(readable_s, 1)})
    rows.append({"what": f"and embed {report.embedded} chunks", "seconds": round(report.seconds - readable_s, 1)})
    rows.append({"what": "all, from nothing", "seconds": round(report.seconds, 1)})
    rows.append({"what": "again, nothing changed", "seconds": round(index.update().seconds, 2)})
    for file in sorted(folder.rglob("*.md"))[:10]:
        file.write_text(file.read_text(encoding="utf-8") + "\n\nA line that was added today.\n", encoding="utf-8")
    rows.append({"what": "again, 10 files changed", "seconds": round(index.update().seconds, 2)})
    queries = [" ".join(text.split()[:5]) for text in random.Random(1).sample(pool, QUERIES)]
    for way in WAYS:
        begun = time.perf_counter()
        index.search(queries[0], by=way)
        first_ms = (time.perf_counter() - begun) * 1e3
        times_ms = [_search_ms(index, query, way) for query in queries]
        p50, p95 = np.percentile(times_ms, [50, 95])
        name = {"both": "hybrid"}.get(way, way)
        rows.append(
            {"what": f"query, {name}", "p50 ms": round(p50, 1), "p95 ms": round(p95, 1), "first ms": round(first_ms)}
        )
    rows.append({"what": "index file", "MB": round(status.size_bytes / 1e6, 1)})
    return rows


def _search_ms(index: DocumentIndex, query: str, by: By) -> float:
    begun = time.perf_counter()
    index.search(query, by=by)
    return (time.perf_counter() - begun) * 1e3


def questions() -> Iterator[tuple[str, str, str]]:
    """Each question's kind, its words, and the file and section that answers it: ``returns.md#Refunds``."""
    for line in (CORPUS / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield row["kind"], row["question"], row["answer"]


def quality(work: Path) -> list[Row]:
    """Recall at 1 and 5 of each way to rank, and the mean reciprocal rank among the first 10."""
    index = DocumentIndex(CORPUS, name="quality", root=work)
    index.update()
    asked = list(questions())
    rows: list[Row] = []
    for kind in ("paraphrase", "keywords", "all"):
        chosen = [(question, answer) for its, question, answer in asked if kind in (its, "all")]
        for way in WAYS:
            ranks = [_rank(index, question, answer, way) for question, answer in chosen]
            name = {"words": "words (FTS5 BM25)", "meaning": "meaning (MiniLM)", "both": "hybrid (RRF)"}[way]
            what = f"{len(chosen)} questions ({kind}), {name}"
            reciprocal = sum(1 / rank for rank in ranks if rank) / len(ranks)
            shares = {"recall@1": _share(ranks, 1), "recall@5": _share(ranks, 5), "MRR@10": round(reciprocal, 3)}
            rows.append({"what": what, **shares})
    return rows


def _share(ranks: list[int], most: int) -> float:
    return round(sum(0 < rank <= most for rank in ranks) / len(ranks), 3)


def _rank(index: DocumentIndex, question: str, answer: str, by: By) -> int:
    """From 1; 0 where the answer is not among the first 10."""
    found = index.search(question, 10, by=by).passages
    places = [f"{passage.path}#{passage.heading.rpartition(' > ')[2]}" for passage in found]
    return places.index(answer) + 1 if answer in places else 0


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000, help="files of the speed corpus")
    parser.add_argument("--only-quality", action="store_true", help="print the comparison of rankings, write nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        found = quality(Path(work) / "quality")
        show("documents: what is found", found)
        if arguments.only_quality:
            return
        load_before = machine()["load_1min"]
        rows = [*speed(arguments.documents, Path(work)), *found]
    notes = [
        f"corpus: {arguments.documents} files of 40 to 200 words from the docstrings of this Python's standard library",
        "quality: paraphrases share almost no word with the section to be found; keywords name one",
        f"1 minute load of the machine before: {load_before}; at the end it is in the title, its own share included",
    ]
    write("documents", rows, notes)


if __name__ == "__main__":
    main()
