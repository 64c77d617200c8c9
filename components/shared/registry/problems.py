"""Messages about files from a registry that are not what they should be."""

from pydantic import ValidationError

from components.shared.storage.names import shown


def problems_of(error: ValidationError) -> str:
    """Say what is wrong with a file, without control characters from it."""
    sentences = []
    for problem in error.errors()[:3]:
        message = problem["msg"].removeprefix("Value error, ")
        parts = [str(part) for part in problem["loc"]]
        if parts and parts[-1] != "[key]":  # the message about a key quotes the key
            message = ".".join(p if p.isidentifier() else shown(p) for p in parts) + f": {message}"
        sentences.append(message)
    return "; ".join(sentences)
