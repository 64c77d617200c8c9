"""The Kubeflow interface of fetch_published."""

from kfp import dsl

from components.shared.runtime.images import MODEL_IMAGE


@dsl.component(base_image=MODEL_IMAGE, install_kfp_package=False)
def fetch_published(
    location: str, number: int, purpose: str, published: dsl.Output[dsl.Model]
) -> None:
    """Fetches the version that an entry of the history made the live one.

    Args:
        location: Where models are published; empty if nowhere.
        number: The entry's number, as resolve returns it; 0 for no model.
        purpose: What it is for, `comparison` or `warm start`. Each purpose has cache
            entries of its own, so that two fetches of a run never swap theirs.
        published: The parts of the version that later steps need; only a note
            that says so if there is no model.
    """
    from components.fetch_published.job import fetch_published as job
    from components.shared.runtime.step import run_step

    published.metadata.update(
        run_step(
            "fetch_published", job, location=location, number=number, published=published.path,
            purpose=purpose,
        )
    )  # fmt: skip
