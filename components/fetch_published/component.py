"""The Kubeflow interface of fetch_published."""

from kfp import dsl

from components.images import MODEL


@dsl.component(base_image=MODEL, install_kfp_package=False)
def fetch_published(location: str, known_version: str, published: dsl.Output[dsl.Model]) -> None:
    """Fetches the model that is published now.

    Args:
        location: Where models are published; empty, if nowhere.
        known_version: Stands for the latest version, for caching.
        published: What later steps need of it; nothing but a note, if there is none.
    """
    from components.fetch_published.job import fetch_published as job
    from components.step import run_step

    published.metadata.update(
        run_step("fetch_published", job, location=location, published=published.path),
        known_version=known_version,
    )
