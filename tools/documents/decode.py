"""Bytes to text, whatever their encoding."""

from __future__ import annotations

import codecs

_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 32 << 10
_CONTROL = frozenset(range(32)) - {7, 8, 9, 10, 12, 13, 27}


def decode(data: bytes) -> str | None:
    """``data`` as text, or None where it is binary.

    In order: a byte order mark; UTF-8; what resiliparse finds likely, where that is installed; Windows-1252.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    sample = data[:_SAMPLE_BYTES]
    if b"\0" in sample or sum(byte in _CONTROL for byte in sample) > len(sample) // 20:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_guess(sample), "replace")


def _guess(sample: bytes) -> str:
    try:
        from resiliparse.parse.encoding import detect_encoding
    except ImportError:
        return "cp1252"
    found = detect_encoding(sample, from_html_meta=True)
    try:
        return codecs.lookup(found).name if found else "cp1252"
    except LookupError:
        return "cp1252"
