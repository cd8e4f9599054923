"""Search in folders of documents: by words and by meaning, with citations.

Example:
    index = DocumentIndex("~/handbook")
    index.update()
    print(index.search("how long may I keep it").passages[0].citation)
"""

from sayso.tools.documents.database import DocumentIndexError
from sayso.tools.documents.embed import Embedder
from sayso.tools.documents.index import DocumentIndex, IndexStatus, Passage, Search, index_names
from sayso.tools.documents.update import IndexReport, Progress, Skipped

__all__ = [
    "DocumentIndex",
    "DocumentIndexError",
    "Embedder",
    "IndexReport",
    "IndexStatus",
    "Passage",
    "Progress",
    "Search",
    "Skipped",
    "index_names",
]
