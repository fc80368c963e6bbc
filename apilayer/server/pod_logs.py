"""Logs of a pod, as far as they can be had without its node: a pod that is on none has no logs yet.

Source: Kubernetes' ``pkg/registry/core/pod`` (LogLocation) and validation of PodLogOptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import field, status
from apilayer.pipeline.request import Response
from apilayer.registry.options import parse_int

if TYPE_CHECKING:
    from apilayer.api.field import FieldError
    from apilayer.registry.options import Query
    from apilayer.registry.registry import Registry

Object = dict[str, Any]

NO_CONTENT = 204


async def pod_logs(registry: Registry, namespace: str, name: str, query: Query) -> Response:
    """204 for a pod on no node. Raises StatusError 400, 404, 422, and 501 for a pod on a node."""
    errors = option_errors(query)
    if errors:
        raise status.invalid("PodLogOptions", "", name, errors)
    pod = (await registry.of("pods").store.get(namespace, name)).object()
    check_container(pod, query.get("container", [""])[0])
    if (pod.get("spec") or {}).get("nodeName"):
        raise status.not_implemented("pods/log")
    return Response(NO_CONTENT, b"")


def option_errors(query: Query) -> list[FieldError]:
    """What is wrong with the options of a log. Raises StatusError 400 for what is no number."""
    numbers = {key: parse_int(query[key][0]) for key in ("tailLines", "limitBytes", "sinceSeconds") if query.get(key)}
    found = []
    if numbers.get("tailLines", 0) < 0:
        found.append(field.invalid("tailLines", numbers["tailLines"], "must be greater than or equal to 0"))
    if numbers.get("limitBytes", 1) < 1:
        found.append(field.invalid("limitBytes", numbers["limitBytes"], "must be greater than 0"))
    if "sinceSeconds" in numbers and query.get("sinceTime"):
        found.append(field.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif numbers.get("sinceSeconds", 1) < 1:
        found.append(field.invalid("sinceSeconds", numbers["sinceSeconds"], "must be greater than 0"))
    return found


def check_container(pod: Object, wanted: str) -> None:
    """Raises StatusError 400 when the pod has no such container, or it is not clear which one is meant."""
    name, spec = pod["metadata"]["name"], pod.get("spec") or {}
    main, initial = _names(spec, "containers"), _names(spec, "initContainers")
    if wanted:
        if wanted not in (*main, *initial, *_names(spec, "ephemeralContainers")):
            raise status.bad_request(f"container {wanted} is not valid for pod {name}")
    elif len(main) > 1:
        text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
        if initial:
            text += f" or one of the init containers: [{' '.join(initial)}]"
        raise status.bad_request(text)


def _names(spec: Object, key: str) -> list[str]:
    return [container.get("name", "") for container in spec.get(key) or ()]
