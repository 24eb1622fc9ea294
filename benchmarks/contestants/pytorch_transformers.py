"""PyTorch with transformers, padded to the longest review of the batch; with --grouped in batches grouped by length.

Set up as Hugging Face's Trainer does it by default with this PyTorch: fused AdamW, transformers' own choice of
attention (scaled_dot_product_attention), on all cores. Left out is what would only slow it down: the Trainer's own
bookkeeping and its clipping of gradients. --bfloat16 is the Trainer's `bf16`: autocast. --compile is its
`torch_compile`, for batches of any width at once; it needs a C++ compiler, and its compilation is reported apart.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch._dynamo.utils import calculate_time_spent
from transformers import DistilBertForSequenceClassification
from transformers.trainer_pt_utils import get_length_grouped_indices

from benchmarks.contestants import clock as clocks


def main() -> None:
    """Train for the given steps."""
    options = clocks.arguments()
    torch.set_num_threads(clocks.cores())
    clock = clocks.StepClock()
    case = np.load(options.case / "batches.npz")
    if options.grouped:
        check_grouping(case, options.batch_size)
    model = DistilBertForSequenceClassification.from_pretrained(options.weights)
    model.train()
    step: Any = torch.compile(model, dynamic=True) if options.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, fused=True)
    for rows in case["grouped" if options.grouped else "mixed"][: options.steps]:
        width = int(case["lengths"][rows].max())
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            output = step(
                input_ids=torch.from_numpy(case["ids"][rows, :width]),
                attention_mask=torch.from_numpy(case["mask"][rows, :width]),
                labels=torch.from_numpy(case["labels"][rows]),
            )
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clock.step_ended(output.loss.item())
    attention = model.config._attn_implementation  # noqa: SLF001 - there is no other way to ask
    compiled = {"compile_seconds": calculate_time_spent()["total_wall_time"]} if options.compile else {}
    clock.report(
        compute=f"{'bfloat16' if options.bfloat16 else 'float32'}, {attention} attention",
        versions={"torch": torch.__version__, "transformers": version("transformers"), "threads": clocks.cores()},
        **compiled,
    )


def check_grouping(case: np.lib.npyio.NpzFile, batch_size: int) -> None:
    """Stop unless the plan's megabatch is cut into batches as transformers' LengthGroupedSampler cuts one."""
    lengths = case["lengths"][case["megabatch"]]
    batches = len(lengths) // batch_size
    theirs = get_length_grouped_indices(lengths.tolist(), batch_size, mega_batch_mult=batches)  # type: ignore[no-untyped-call]
    if not np.array_equal(lengths[theirs], lengths):
        raise SystemExit("the plan's batches are not as long as those of transformers' get_length_grouped_indices")


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
