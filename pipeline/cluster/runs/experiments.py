"""Finds and creates experiments, which runs and schedules belong to."""

from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.cluster import Cluster


def find_experiment(cluster: Cluster, name: str) -> Any:
    """Return the experiment with this name; None if it does not exist."""
    found = cluster.named(
        f"looking for the experiment {name}",
        kfp_server_api.ExperimentServiceApi.experiment_service_list_experiments,
        "experiments",
        name,
        namespace=cluster.namespace,
    )
    return next(iter(found), None)


def experiment(cluster: Cluster, name: str) -> str:
    """Return the id of the experiment with this name; create it if it does not exist.

    Raises:
        InputError: If the experiment is archived.
        ClusterError: If the server refuses or cannot be reached.
    """
    found, _ = cluster.create_once(
        find=lambda: find_experiment(cluster, name),
        create=lambda: cluster.send(
            f"creating the experiment {name}",
            kfp_server_api.ExperimentServiceApi.experiment_service_create_experiment,
            experiment=kfp_server_api.V2beta1Experiment(
                display_name=name, namespace=cluster.namespace
            ),
        ),
    )
    if found.storage_state == "ARCHIVED":
        raise InputError(
            f"--experiment {name} is archived. Restore it in the UI, or choose another experiment."
        )
    return str(found.experiment_id)
