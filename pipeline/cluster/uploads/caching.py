"""Turns caching off in a compiled pipeline."""

import yaml


def without_caching(compiled: str) -> str:
    """Return the compiled pipeline with caching off in every task, including tasks in loops.

    Args:
        compiled: The compiled pipeline, as YAML.
    """
    # kfp 2.17 ignores enable_caching for a run of an uploaded version, and otherwise changes only
    # the tasks outside loops.
    documents = list(yaml.safe_load_all(compiled))
    specification = documents[0]
    for component in [specification["root"], *specification.get("components", {}).values()]:
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {"enableCache": False}
    return yaml.safe_dump_all(documents, sort_keys=True)
