"""One way to compute the training step: compiled or not, and in which dtype."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Mode:
    """What `use_xla` and `use_amp` come down to."""

    xla: bool
    """Whether XLA compiles the step; batches then come in few shapes."""
    compute_dtype: str
    """Of the matrix products: float32, bfloat16 or float16. Variables, loss and logits are float32."""

    @property
    def amp(self) -> bool:
        """Whether the products are computed in another dtype than the variables have."""
        return self.compute_dtype != FLOAT32

    @property
    def policy(self) -> str:
        """Keras's name for the dtypes of the layers."""
        return f"mixed_{self.compute_dtype}" if self.amp else FLOAT32

    def __str__(self) -> str:
        return f"{self.compute_dtype} with{'' if self.xla else 'out'} XLA"
