"""The user's documents as a provider of `web_search`, for a machine without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from sayso import settings
from sayso.errors import SaysoError
from sayso.tools.documents.index import DocumentIndex
from sayso.tools.documents.ranking import best_passage
from sayso.tools.search.provider import Hit, SearchError

PASSAGE_WORDS = 60


class LocalIndex:
    """Asks an index of documents; it is not brought up to date here.

    Args:
        index: What is searched.
    """

    name = "the local index"
    offline = True

    def __init__(self, index: DocumentIndex) -> None:
        self._index = index

    async def search(self, query: str, count: int, region: str, language: str) -> Sequence[Hit]:
        """See `Provider`; region and language make no difference."""
        try:
            found = await asyncio.to_thread(self._index.search, query, count)
        except SaysoError as error:
            raise SearchError(f"the local index failed: {error}") from error
        return [
            Hit(
                title=passage.citation,
                url="",
                passage=best_passage(passage.text, query, PASSAGE_WORDS),
                date=datetime.fromtimestamp(passage.modified, UTC).date().isoformat(),
                site=passage.title,
            )
            for passage in found.passages
        ]


def local_index() -> LocalIndex | None:
    """The provider of the folders that `SAYSO_DOCUMENTS` names, or None where it names none."""
    folders = settings.document_folders()
    return LocalIndex(DocumentIndex(*folders)) if folders else None
