"""The Kubeflow interface of fetch_published."""

from kfp import dsl

from components.shared.runtime.images import MODEL_IMAGE


@dsl.component(base_image=MODEL_IMAGE, install_kfp_package=False)
def fetch_published(
    location: str, number: int, purpose: str, published: dsl.Output[dsl.Model]
) -> None:
    """Fetch the version of a history entry.

    Args:
        location: The registry; empty if models are not published.
        number: The entry's number, as resolve returns it; 0 for none.
        purpose: `comparison` or `warm start`. Each purpose has its own cache entries,
            so that the two fetches of a run never share one.
        published: The parts of the version that later steps need, and
            `published.json`, which names it or says that there is none.
    """
    from components.fetch_published.job import fetch_published as job
    from components.shared.runtime.step import run_step

    published.metadata.update(
        run_step(
            "fetch_published", job, location=location, number=number, published=published.path,
            purpose=purpose,
        )
    )  # fmt: skip
