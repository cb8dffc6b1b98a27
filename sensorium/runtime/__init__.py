"""An exported model in use: onnxruntime and numpy, no torch.

Everything here, and whatever it imports, works without torch, polars, pyarrow, scipy and scikit-learn.
"""

from sensorium.runtime.runtime import Runtime

__all__ = ["Runtime"]
