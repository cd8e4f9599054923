"""Text to vectors: all-MiniLM-L6-v2 on onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sayso.errors import ModelMissingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ARTEFACT = "minilm"
MAX_TOKENS = 256
"""What the model was made for (its model card: longer input is truncated)."""
BATCH_TOKENS = 1024
"""Of one run, padding included: larger batches leave the processor's cache and are slower."""
THREADS = 2
"""Batches run at once, each on one core: a short query then waits for no second thread, which on a busy machine cost
more than it gave (4 ms instead of 10 to 16 ms a query at a load of 4 on 2 cores)."""


class Embedder(Protocol):
    """Something that turns texts into vectors; an index keeps the vectors of one embedder only.

    Attributes:
        name: Which model it is. An index made with another one is embedded again.
    """

    name: str

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of length 1 a text: shape (texts, dimensions), float32."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2: 384 dimensions, English, 256 word pieces.

    The vector of a text is the mean of the last hidden states of its word pieces, scaled to length 1 (the usage
    example of the model card of sentence-transformers/all-MiniLM-L6-v2).

    Raises:
        ModelMissingError: The model is not on this machine, or the packages that run it are not.
    """

    name = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        from sayso.models.store import Store

        try:
            import onnxruntime
            from tokenizers.implementations import BertWordPieceTokenizer
        except ImportError as error:
            raise ModelMissingError(
                f"The package {error.name} is not installed.", "Install it with: pip install 'sayso[documents]'"
            ) from None
        folder = Store().path(ARTEFACT)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer: Any = BertWordPieceTokenizer(vocab=read_vocabulary(folder), lowercase=True)
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Embedder`. Texts of similar length are run together, so that little is padding."""
        import numpy as np

        encoded: list[list[int]] = [one.ids for one in self._tokenizer.encode_batch(list(texts))]
        vectors = np.zeros((len(texts), 384), np.float32)
        groups = batches([len(ids) for ids in encoded])
        work = [[encoded[index] for index in group] for group in groups]
        if len(work) == 1:
            vectors[groups[0]] = self._run(work[0])
            return vectors
        with ThreadPoolExecutor(THREADS) as threads:
            for group, found in zip(groups, threads.map(self._run, work), strict=True):
                vectors[group] = found
        return vectors

    def _run(self, batch: list[list[int]]) -> NDArray[np.float32]:
        import numpy as np

        longest = max(map(len, batch))
        ids = np.array([one + [0] * (longest - len(one)) for one in batch], np.int64)
        mask = np.array([[1] * len(one) + [0] * (longest - len(one)) for one in batch], np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden: NDArray[np.float32] = self._session.run(None, inputs)[0]
        mean = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)


def batches(lengths: Sequence[int], most_tokens: int = BATCH_TOKENS) -> list[list[int]]:
    """Indices of texts in groups of similar length, the longest first; a group padded fits ``most_tokens``."""
    groups: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if not groups or len(groups[-1]) >= room:
            groups.append([])
            room = max(1, most_tokens // max(1, lengths[index]))
        groups[-1].append(index)
    return groups


def read_vocabulary(folder: Path) -> dict[str, int]:
    """BERT's uncased vocabulary: word piece to number.

    ``vocab.json`` is a list that marks the pieces that begin a word ("▁return", "ing"); BERT, and the tokenizer here,
    mark those that go on with one ("return", "##ing"). A folder of one's own may hold BERT's ``vocab.txt`` instead.
    """
    if (plain := folder / "vocab.txt").is_file():
        pieces = plain.read_text(encoding="utf-8").splitlines()
    else:
        pieces = [_in_bert_form(piece) for piece in json.loads((folder / "vocab.json").read_text(encoding="utf-8"))]
    return {piece: number for number, piece in enumerate(pieces)}


def _in_bert_form(piece: str) -> str:
    if piece == "▁":
        return "[unused0]"
    if piece.startswith("▁"):
        return piece[1:]
    special = len(piece) > 2 and piece.startswith("[") and piece.endswith("]")
    return piece if special else f"##{piece}"
