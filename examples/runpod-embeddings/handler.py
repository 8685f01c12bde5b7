"""A RunPod worker that makes embeddings, with its model from your bucket: `python handler.py`.

While torch is imported, the version that CAS_MODEL, CAS_LOCK or the endpoint's pin names is restored into the Hugging
Face cache; with none of them, minilm:latest. A job is {"texts": ["a sentence", …]}.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library of Hugging Face is imported: a worker asks no hub

import cas

REPO = "sentence-transformers/all-MiniLM-L6-v2"
MOST = 256  # texts in one job


def restored() -> cas.Restored:
    """Restore the version that this machine shall run."""
    choice = cas.choose(os.environ, model="minilm")
    return cas.restore(choice.version(), seeds=["/runpod-volume/huggingface-cache/hub"])


def load() -> tuple[Any, str]:
    """Return the model, and the version that it is of."""
    with ThreadPoolExecutor(1) as aside:
        restoring = aside.submit(restored)
        import torch
        from sentence_transformers import SentenceTransformer

        done = restoring.result()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return SentenceTransformer(str(done.snapshots[REPO]), device=device), done.reference


def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Answer a job."""
    texts = job["input"].get("texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return {"error": "texts: a list of strings is wanted"}
    if not 0 < len(texts) <= MOST:
        return {"error": f"texts: 1 to {MOST} are taken, these are {len(texts)}"}
    vectors = MODEL.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    return {"embeddings": vectors.tolist(), "version": VERSION}


if __name__ == "__main__":
    import runpod

    MODEL, VERSION = load()
    runpod.serverless.start({"handler": handler})
