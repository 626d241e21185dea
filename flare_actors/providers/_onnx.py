"""ONNX models that run on one core: who calls decides how many run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flare_actors.providers._extras import need

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["load_session"]


def load_session(model: bytes | str) -> InferenceSession:
    """A model, from its bytes or its file; blocks while it loads.

    Raises:
        ConfigError: onnxruntime is not installed.
    """
    ort = need("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; its warnings are about the model, which nobody here can change
    session: InferenceSession = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session
