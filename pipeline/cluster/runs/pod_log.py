"""Reads the log of a step's pod through KFP's API server or its UI server."""

import http.client
import json
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from components.shared.kubeflow.argo_nodes import pod_names
from components.shared.runtime.bounded_http import Answer, NoRedirect, exchange
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.errors import ClusterError

# Of a log, as the API server cannot send only its end; or of a workflow, which has 1 MB here.
_MAX_BYTES = 16 * 2**20
_SECONDS = 20.0


@dataclass(frozen=True)
class Pod:
    """A pod of a run.

    Args:
        node_id: Argo's id of its node.
        names: Possible names of the pod, the most likely first.
        message: Argo's message, e.g. `OOMKilled (exit code 137)`.
        is_certain: Whether the first name is certainly the pod's.
    """

    node_id: str
    names: tuple[str, ...]
    message: str = ""
    is_certain: bool = False


def find_pod(
    cluster: Cluster, run_id: str, node_id: str, *, template: str = "", is_driver: bool = False
) -> Pod:
    """Find a pod's name and Argo's message about it.

    Both are in the workflow, which only version v1beta1 of KFP's API shows
    (2.17.0, backend/src/apiserver/server/api_converter.go, toApiRunDetailV1).
    Without the workflow, the name follows from KFP's naming scheme.

    Args:
        cluster: The server.
        run_id: The run's id.
        node_id: Argo's id of the pod's node.
        template: The name of the pod's template; empty if it is unknown.
        is_driver: Whether the pod is a step's driver.
    """
    node = _nodes(cluster, run_id).get(node_id)
    node = node if isinstance(node, Mapping) else {}
    known = node.get("templateName")
    message = node.get("message")
    named = known if isinstance(known, str) and known else template
    workflow, _, number = node_id.rpartition("-")
    names = [f"{workflow}-{named}-{number}"] if named else []
    names += [name for name in pod_names(node_id, is_driver=is_driver) if name not in names]
    return Pod(
        node_id,
        tuple([names[0], node_id] if known else names),
        message if isinstance(message, str) else "",
        is_certain=bool(named),
    )


def read_log(cluster: Cluster, run: Mapping[str, Any], pod: Pod) -> tuple[str, bool] | None:
    """Read the log of a pod, from the pod or from the archive.

    The API server has a path for logs (2.17.0: backend/src/apiserver/main.go), which the
    UI's server does not forward; that server has its own path (frontend/server/app.ts).

    Args:
        cluster: The server.
        run: The run, as the API's JSON.
        pod: The pod.

    Returns:
        The log, and whether it is complete; None if it cannot be read.
    """
    run_id = str(run.get("run_id"))
    for name in pod.names:
        path = f"/apis/v1alpha1/runs/{quote(run_id, safe='')}/nodes/{quote(name, safe='')}/log"
        answer = _get(cluster, path)
        if answer is None:
            return None
        text = _text(answer)
        if text is not None:
            return text, answer.whole
        if answer.status == 404 or _is_page(answer):
            break  # not the API server
    created = str(run.get("created_at"))[:10]
    for name in pod.names[:-1]:
        query = {"podname": name, "runid": run_id, "createdat": created}
        if cluster.namespace:
            query["podnamespace"] = cluster.namespace
        answer = _get(cluster, f"/k8s/pod/logs?{urlencode(query)}")
        text = _text(answer) if answer else None
        if answer and text is not None:
            return text, answer.whole
    return None


def kubectl(run_id: str, pod: Pod | None, namespace: str) -> str:
    """Return the kubectl command that shows a pod's log.

    Args:
        run_id: The run's id.
        pod: The pod; None if it is unknown.
        namespace: The namespace of the run's pods.
    """
    if pod and pod.is_certain:
        return f"kubectl logs --namespace {namespace} {pod.names[0]} --container main"
    # KFP gives each pod of a run this label: backend/src/apiserver/template/v2_template.go.
    return (
        f"kubectl logs --namespace {namespace} --selector pipeline/runid={run_id} "
        "--container main --prefix --tail 50"
    )


def _nodes(cluster: Cluster, run_id: str) -> Mapping[str, Any]:
    """Return the nodes of a run's workflow; empty if they cannot be read."""
    answer = _get(cluster, f"/apis/v1beta1/runs/{quote(run_id, safe='')}")
    if not answer or answer.status != 200 or not answer.whole:
        return {}
    try:
        detail = json.loads(answer.body)
        manifest = json.loads(detail["pipeline_runtime"]["workflow_manifest"])
        nodes = manifest["status"]["nodes"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}  # optional: it only improves the message
    return nodes if isinstance(nodes, Mapping) else {}


def _get(cluster: Cluster, path: str) -> Answer | None:
    """Request a path that kfp_server_api 2.17 lacks; return None without an answer."""

    def read(service: Any, **_: Any) -> Answer | None:
        client = service.api_client
        configuration = client.configuration
        headers = dict(client.default_headers)
        client.update_params_for_auth(headers, [], ["Bearer"])
        if client.cookie:
            headers["Cookie"] = client.cookie
        request = urllib.request.Request(f"{configuration.host}{path}", headers=headers)
        try:
            return exchange(
                request, seconds=_SECONDS, limit=_MAX_BYTES, opener=_opener(configuration)
            )
        except (OSError, ValueError, http.client.HTTPException):
            return None

    # `Cluster.send` takes the service from the method's name. kfp_server_api's `call_api` is no
    # alternative: it accepts only JSON of its own types.
    read.__qualname__ = "RunServiceApi.read"
    try:
        answer = cluster.send("reading a step's log", read)
    except ClusterError:
        return None
    return answer if isinstance(answer, Answer) else None


def _opener(configuration: Any) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    proxy = configuration.proxy
    return urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context),
        urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {}),
        NoRedirect,
    )


def _text(answer: Answer) -> str | None:
    if answer.status != 200 or _is_page(answer):
        return None
    text = answer.body.decode(errors="replace")
    # The API server sends the status 200 before it looks for the log.
    return None if text.lstrip().startswith('{"error_message"') else text


def _is_page(answer: Answer) -> bool:
    return answer.body.lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))
