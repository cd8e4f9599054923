"""Text out of files, and the pieces it is cut into."""

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from sayso.tools.documents.chunks import MAX_WORDS, OVERLAP_WORDS, chunk, split
from sayso.tools.documents.decode import decode
from sayso.tools.documents.extract import KINDS, Block, Document, Unreadable, extract


def make_pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    """A PDF with one line of text a page."""
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(612, 792)
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode())
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = writer._add_object(content)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


def blocks(name: str, text: str) -> list[tuple[tuple[str, ...], str]]:
    return [(block.headings, block.text) for block in extract(name, text.encode()).blocks]


def test_markdown_keeps_headings_and_loses_markup():
    text = """---
title: "The *handbook*"
---
# Shop

Welcome to **our** [shop](https://example.org "x"), _dear_ `customer`. snake_case stays.

## Returns
- Keep the receipt
- Thirty days ![clock](c.png)

| Size | Price |
|------|------:|
| S    | 10    |

Opening hours
-------------
> Nine to five <br> daily

```python
# no heading
```
<!-- a secret
note -->
"""
    document = extract("a.md", text.encode())
    assert document.title == "The *handbook*"
    assert [(block.headings, block.text) for block in document.blocks] == [
        (("Shop",), "Welcome to our shop, dear customer. snake_case stays."),
        (("Shop", "Returns"), "Keep the receipt"),
        (("Shop", "Returns"), "Thirty days clock"),
        (("Shop", "Returns"), "Size, Price S, 10"),
        (("Shop", "Opening hours"), "Nine to five daily"),
        (("Shop", "Opening hours"), "# no heading"),
    ]


def test_plain_text_takes_underlined_lines_for_headings():
    text = "=====\nGuide\n=====\n\nFirst.\nStill first.\n\nCare\n----\n\nWash cold.\n\nNot a heading - just text\n"
    assert extract("guide.rst", text.encode()).title == "Guide"
    assert blocks("guide.rst", text) == [
        (("Guide",), "First. Still first."),
        (("Guide", "Care"), "Wash cold."),
        (("Guide", "Care"), "Not a heading - just text"),
    ]


def test_html_takes_what_is_visible_in_the_main_part():
    text = """<html><head><title>Shop &amp; Co</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav><p>Outside</p><main><h1>Shop</h1><p hidden>secret</p>
<h2>Returns</h2><p>Within thirty<br>days.<ul><li>receipt<li>box</ul>
<table><tr><th>Size<th>Price</tr><tr><td>S</td><td>10</td></tr></table>
<script>alert(1)</script><div role="navigation">Next</div></main><footer>Imprint</footer>"""
    document = extract("a.html", text.encode())
    assert document.title == "Shop & Co"
    returns = ("Shop", "Returns")
    assert [(block.headings, block.text) for block in document.blocks] == [
        (returns, "Within thirty"),
        (returns, "days."),
        (returns, "receipt"),
        (returns, "box"),
        (returns, "Size, Price"),
        (returns, "S, 10"),
    ]


def test_html_without_a_main_part_is_taken_whole():
    assert blocks("a.html", "<p>One<p>Two<aside>Ad</aside>") == [((), "One"), ((), "Two")]


def test_pdf_gives_pages_and_its_title():
    document = extract("a.pdf", make_pdf("Goods may come back.", "Within thirty days.", title="Terms of sale"))
    assert document == Document(
        "Terms of sale", (Block("Goods may come back.", (), 1), Block("Within thirty days.", (), 2))
    )
    assert extract("sales_terms-2.pdf", make_pdf("x y", title="Microsoft Word - a.doc")).title == "sales terms 2"


def test_a_pdf_that_only_forbids_printing_is_read():
    data = make_pdf("Hello there.")
    writer = PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt("", "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    assert extract("a.pdf", out.getvalue()).blocks[0].text == "Hello there."


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", make_pdf("x", password="secret"), "encrypted with a password"),
        ("a.pdf", b"%PDF-1.4 and nothing else", "broken PDF"),
        ("a.pdf", b"", "broken PDF"),
        ("a.pdf", make_pdf(""), "no text in it"),
        ("a.txt", b"\x7fELF\x02\x01\x01\x00\x00\x00", "binary"),
        ("a.txt", bytes(range(1, 9)) * 50, "binary"),
        ("a.md", b"\n \n", "no text in it"),
        ("a.html", b"<script>x</script>", "no text in it"),
    ],
)
def test_what_has_no_text_is_refused_with_the_reason(name, data, reason):
    with pytest.raises(Unreadable, match=reason):
        extract(name, data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings(encoding):
    text = "Die Größe des Käufers, für die Übergabe geprüft. " * 3
    assert decode(text.encode(encoding)) == text


def test_encodings_beyond_latin_are_guessed():
    pytest.importorskip("resiliparse")
    text = "退货政策：商品可在三十天内退回。请保留收据。" * 3
    assert decode(text.encode("gb18030")) == text


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_no_bytes_do_worse_than_unreadable(suffix, data):
    try:
        document = extract("a" + suffix, data)
    except Unreadable:
        return
    assert document.title
    assert all(block.text.strip() for block in document.blocks)


@given(st.text("ab.#-=*_`[]()<>!|\n\t ~中", max_size=200))
def test_any_markup_is_read(text):
    for suffix in (".md", ".rst", ".html"):
        try:
            extract("a" + suffix, text.encode())
        except Unreadable:
            pass


def test_a_huge_line_takes_no_quadratic_time():
    line = "**a `b [c](d __e " * 100_000
    assert extract("a.md", line.encode()).blocks[0].text.startswith("**a `b [c](d __e **a")


def test_chunks_stay_under_their_heading_and_on_their_page():
    document = Document(
        "Guide",
        (
            Block("Intro.", ("Guide",)),
            Block("One.", ("Guide", "Care")),
            Block("Two.", ("Guide", "Care")),
            Block("Three.", ("Guide", "Care", "Wool")),
            Block("Four.", (), 7),
        ),
    )
    assert [(one.heading, one.page, one.text) for one in chunk(document)] == [
        ("", None, "Intro."),
        ("Care", None, "One.\nTwo."),
        ("Care > Wool", None, "Three."),
        ("", 7, "Four."),
    ]


def test_long_text_is_cut_between_sentences_with_an_overlap():
    sentences = [f"Sentence number {number} has exactly seven words." for number in range(100)]
    pieces = list(split(" ".join(sentences)))
    assert len(pieces) > 3
    for piece in pieces:
        assert piece.startswith("Sentence")
        assert piece.endswith("words.")
    for before, after in pairwise(pieces):
        first = after.split(".")[0]
        assert first in before  # the overlap
    assert all(any(sentence in piece for piece in pieces) for sentence in sentences)


@given(st.lists(st.text("ab.中\n", min_size=1, max_size=80), max_size=400).map(" ".join))
def test_no_word_is_lost_and_no_chunk_too_long(text):
    pieces = list(split(text))
    words = text.split()
    for piece in pieces:
        assert len(piece.split()) <= MAX_WORDS
    position = 0
    for piece in pieces:  # each goes on where the one before it ended, or up to the overlap earlier
        start = text.index(piece, max(0, position - OVERLAP_WORDS * 65))
        assert not text[position:start].strip()
        position = start + len(piece)
    assert not text[position:].strip()
    assert bool(pieces) == bool(words)
