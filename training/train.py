"""Makes the classifier's weights: ``python -m training.train`` (about a minute on one core)."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gateway.embedding import load_embedder
from gateway.weights import default_path
from training import corpus
from training.fit import DEFAULT, encode, fit
from training.lexicon import LEXICON, load_lexicon

if TYPE_CHECKING:
    from router_core.classifier import ClassifierModel


def main(argv: list[str] | None = None) -> int:
    """Train on the whole corpus and write the weight file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=default_path(), help="weight file to write (default: %(default)s)")
    args = parser.parse_args(argv)
    embedder = load_embedder()
    if embedder is None:
        print("wordllama's rows are missing: install the locked requirements", file=sys.stderr)
        return 1
    rows = corpus.load()
    lexicon = load_lexicon()
    model = fit(rows, encode(rows, embedder, lexicon), lexicon, DEFAULT, corpus_version())
    save(model, args.out)
    print(f"{len(rows)} rows, {len(model.names)} terms -> {args.out} ({args.out.stat().st_size / 1e6:.2f} MB)")
    return 0


def corpus_version() -> str:
    """Return a short digest of the corpus's files: which corpus made which weights."""
    digest = hashlib.sha256()
    for path in [LEXICON, *sorted(corpus.ROOT.glob("*/*.txt"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def save(model: ClassifierModel, path: Path) -> None:
    """Write ``model`` to ``path`` at once (a reader never sees half a file)."""
    meta = {
        "classes": [str(c) for c in model.classes],
        "system_weight": model.system_weight,
        "temperature": model.temperature,
        "abstain_below": model.abstain_below,
        "version": model.version,
        "words": dict(model.lexicon.words),
        "stems": dict(model.lexicon.stems),
    }
    scratch = path.with_suffix(".part.npz")
    np.savez_compressed(
        scratch,
        meta=np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8),
        names=np.frombuffer("\n".join(model.names).encode(), dtype=np.uint8),
        term_weights=model.term_weights,
        term_scale=model.term_scale,
        embedding_weights=model.embedding_weights.astype(np.float16),
        dense_weights=model.dense_weights,
        bias=model.bias,
    )
    scratch.replace(path)


if __name__ == "__main__":
    sys.exit(main())
