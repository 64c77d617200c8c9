"""Which backend Keras computes with: one process, one backend."""

import os
import sys
from typing import Literal


def choose(backend: Literal["jax", "tensorflow"]) -> None:
    """Sets Keras's backend for this process; to be called before keras is imported.

    On JAX it also makes TensorFlow unavailable to this process. Keras 3.15
    imports TensorFlow where it is installed just to ask whether an object is
    one of its own, when a model is saved for instance, which takes 4 s.

    Args:
        backend: The backend; what `KERAS_BACKEND` said before does not count.

    Raises:
        RuntimeError: If keras runs on another backend already.
    """
    keras = sys.modules.get("keras")
    if keras is None:
        os.environ["KERAS_BACKEND"] = backend
    elif keras.backend.backend() != backend:
        raise RuntimeError(
            f"keras runs on {keras.backend.backend()} in this process; {backend} needs another one"
        )
    if backend == "jax":
        sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
