"""The Keras backend of this process.

A process has one backend, chosen before keras is imported. So the entry of a process
(a component's body, a process of `tune` or `compare`, a script) calls `use_jax` or
`use_tensorflow`, then imports the job. The job calls `require_jax` or
`require_tensorflow`, and fails if its process has not done so.
"""

import os
import sys


def use_jax() -> None:
    """Make Keras compute on JAX in this process, without TensorFlow.

    `import tensorflow` fails from here on, as if it were not installed: Keras 3.15.1
    imports TensorFlow if it can, although it computes on JAX, to ask whether an object
    is one of TensorFlow's (`keras.src.saving.serialization_lib`, when a model is saved
    or loaded). That import takes 4 s and half a gigabyte of memory. An entry of None in
    `sys.modules` is Python's documented way of making an import fail.

    `KERAS_BACKEND` has no effect. Call this before keras is imported; calling it
    again does nothing.

    Raises:
        RuntimeError: If Keras already computes on another backend.

    Example:
    ```python
    use_jax()

    from components.train.job import train
    ```
    """
    _choose("jax")
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]


def use_tensorflow() -> None:
    """Make Keras compute on TensorFlow in this process.

    TensorFlow logs errors only, unless `TF_CPP_MIN_LOG_LEVEL` is set. `KERAS_BACKEND`
    has no effect. Call this before keras is imported; calling it again does nothing.

    Raises:
        RuntimeError: If Keras already computes on another backend.
    """
    _choose("tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def require_jax() -> None:
    """Check that Keras computes on JAX in this process.

    Raises:
        RuntimeError: If it does not.
    """
    _require("jax")


def require_tensorflow() -> None:
    """Check that Keras computes on TensorFlow in this process.

    Raises:
        RuntimeError: If it does not.
    """
    _require("tensorflow")


def _choose(backend: str) -> None:
    keras = sys.modules.get("keras")
    if keras is None:
        os.environ["KERAS_BACKEND"] = backend
    elif keras.backend.backend() != backend:
        raise RuntimeError(
            f"Keras already computes on {keras.backend.backend()} in this process; {backend} "
            "needs a process of its own."
        )


def _require(backend: str) -> None:
    import keras

    if keras.backend.backend() != backend:
        raise RuntimeError(
            f"Keras computes on {keras.backend.backend()} in this process, but this job needs "
            f"{backend}. Call components.shared.runtime.keras_backend.use_{backend}() before "
            "importing the job."
        )
