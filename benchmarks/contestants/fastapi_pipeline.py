"""What most people put a transformers model behind: FastAPI, and a text-classification pipeline in PyTorch.

    python -m benchmarks.contestants.fastapi_pipeline CHECKPOINT PORT

A synchronous endpoint, so that FastAPI runs requests in its threads; each request is a call of the pipeline.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from transformers.pipelines import pipeline


def main() -> None:
    """Serve until killed."""
    folder, port = sys.argv[1], int(sys.argv[2])
    classify = pipeline("text-classification", model=folder, tokenizer=folder, top_k=None, device=-1, framework="pt")
    app = FastAPI()

    @app.get("/ping")
    def ping() -> dict[str, str]:
        return {}

    @app.post("/invocations")
    def invoke(request: dict[str, list[str]]) -> dict[str, Any]:
        with torch.inference_mode():
            return {"predictions": classify(request["instances"], truncation=True)}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
