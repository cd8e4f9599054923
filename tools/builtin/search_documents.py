"""`search_documents`: what the user's own documents say, with the place where they say it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from sayso import settings
from sayso.errors import SaysoError, ToolError, UsageError
from sayso.tools.tool import Tool, tool

if TYPE_CHECKING:
    from sayso.tools.documents.index import DocumentIndex, Passage
    from sayso.tools.documents.live import LiveIndex

NAME = "search_documents"
PASSAGES = 3
PASSAGE_WORDS = 80
"""Of one passage: a model should read it within a moment, and a listener bear it read out."""

_DESCRIPTION = """Search the user's own documents (handbooks, manuals, notes, contracts) for facts to answer from.
Use it before you answer a question about rules, products, procedures or anything written down there."""
_FILLER = "Let me look that up."


class DocumentPassage(BaseModel):
    """A place in a document.

    Attributes:
        source: Where it stands, as it can be spoken: "handbook, section Returns, page 3".
        passage: Its words, at most about 80.
        file: Its path below the folder that was indexed.
    """

    source: str
    passage: str
    file: str


class DocumentPassages(BaseModel):
    """What was found, the best first.

    Attributes:
        results: At most three.
        note: What else the model should know; often empty.
    """

    results: list[DocumentPassage]
    note: str


@tool(
    name=NAME,
    description=_DESCRIPTION,
    effect="read",
    untrusted=True,
    filler=_FILLER,
    examples={
        "how long do our customers have to send something back": {"query": "deadline for returning goods"},
        "what does the manual say about the red light": {"query": "red light meaning"},
    },
)
def search_documents(query: str) -> DocumentPassages:
    """Search the folders that `SAYSO_DOCUMENTS` names.

    Args:
        query: What to look for, in a few words of the documents' language.
    """
    folders = settings.document_folders()
    if not folders:
        raise ToolError("No documents are set up for search.", "Tell the user that there are none.")
    return _ask(_live(folders), query)


def documents_tool(
    *folders: str | Path,
    index: DocumentIndex | None = None,
    name: str = NAME,
    description: str = _DESCRIPTION,
    refresh_s: float | None = 300.0,
) -> Tool[..., DocumentPassages]:
    """A tool that searches these folders: ``Agent(tools=[documents_tool("~/handbook")])``.

    The folders are indexed when the tool is first called, in the background; the first answers may come from a part
    of them. ``sayso documents index FOLDER`` does it beforehand.

    Args:
        *folders: With text, Markdown, HTML and PDF files, and everything below.
        index: An index to search instead, where its name or its embedder matters.
        name: What the model calls; two sets of documents are two tools.
        description: When to use it. A line on what is in the documents helps the model most.
        refresh_s: Look for changed files when a question comes this many seconds after the last look; None: never.

    Raises:
        UsageError: Neither folders nor an index, or both.
    """
    if bool(folders) == (index is not None):
        raise UsageError("A documents tool takes either folders or an index.", 'Try documents_tool("~/handbook").')

    @cache
    def live() -> LiveIndex:
        from sayso.tools.documents.index import DocumentIndex
        from sayso.tools.documents.live import LiveIndex

        return LiveIndex(index or DocumentIndex(*folders), refresh_s)

    @tool(name=name, description=description, effect="read", untrusted=True, filler=_FILLER)
    def search(query: str) -> DocumentPassages:
        """Search documents.

        Args:
            query: What to look for, in a few words of the documents' language.
        """
        return _ask(live(), query)

    return search


@cache
def _live(folders: tuple[Path, ...]) -> LiveIndex:
    from sayso.tools.documents.index import DocumentIndex
    from sayso.tools.documents.live import LiveIndex

    return LiveIndex(DocumentIndex(*folders))


def _ask(live: LiveIndex, query: str) -> DocumentPassages:
    if not query.strip():
        raise ToolError("The query is empty.", "Give the words to look for.")
    try:
        found, note = live.search(query, PASSAGES)
    except SaysoError as error:
        raise ToolError(f"The documents cannot be searched: {error}") from error
    if not found.passages:
        note = f"Nothing in the documents fits. {note}".strip()
    return DocumentPassages(results=[_spoken(passage, query) for passage in found.passages], note=note)


def _spoken(passage: Passage, query: str) -> DocumentPassage:
    from sayso.tools.documents.ranking import best_passage

    words = best_passage(passage.text, query, PASSAGE_WORDS)
    return DocumentPassage(source=passage.citation, passage=words, file=passage.path)
