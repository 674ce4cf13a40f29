"""Every path that the prediction service answers at."""

import re
from collections.abc import Mapping

from everloop.errors import NotFound, shown
from everloop.serving.errors import MethodNotAllowed
from everloop.serving.handlers import (
    alive,
    describe_model,
    describe_server,
    infer_v2,
    list_models,
    live,
    model_ready,
    predict_v1,
    ready,
    record_labels,
    show_metrics,
)
from everloop.serving.service import Route

ROUTES = (
    Route("GET", "/", alive),
    Route("GET", "/livez", live),
    Route("GET", "/readyz", ready),
    Route("GET", "/metrics", show_metrics),
    Route("POST", "/labels", record_labels),
    Route("GET", "/v2", describe_server),
    Route("GET", "/v2/", describe_server),
    Route("GET", "/v2/health/live", live),
    Route("GET", "/v2/health/ready", ready),
    Route("GET", "/v2/models", list_models),
    Route("GET", "/v2/models/{model}", describe_model),
    Route("GET", "/v2/models/{model}/ready", model_ready),
    Route("POST", "/v2/models/{model}/infer", infer_v2),
    Route("GET", "/v2/models/{model}/versions/{version}", describe_model),
    Route("GET", "/v2/models/{model}/versions/{version}/ready", model_ready),
    Route("POST", "/v2/models/{model}/versions/{version}/infer", infer_v2),
    Route("GET", "/v1/models", list_models),
    Route("GET", "/v1/models/{model}", model_ready),
    Route("POST", "/v1/models/{model}:predict", predict_v1),
    Route("POST", "/v1/models/{model}/versions/{version}:predict", predict_v1),
)
_PATTERNS = tuple(
    (route, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/:]+)", route.template))) for route in ROUTES
)
_LITERAL = {(route.method, route.template): route for route in ROUTES if "{" not in route.template}
_TEMPLATES = {
    method: tuple(
        (route, pattern) for route, pattern in _PATTERNS if route.method == method and pattern.groups
    )
    for method in ("GET", "POST")
}


def find_route(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The route of a request and the changing parts of its path; HEAD is answered where GET is.

    >>> find_route("POST", "/v1/models/late:predict")[1]
    {'model': 'late'}
    """
    wanted = "GET" if method == "HEAD" else method
    literal = _LITERAL.get((wanted, path))
    if literal is not None:
        return literal, {}
    for route, pattern in _TEMPLATES.get(wanted, ()):
        if match := pattern.fullmatch(path):
            return route, match.groupdict()
    allow = tuple(route.method for route, pattern in _PATTERNS if pattern.fullmatch(path))
    if not allow:
        raise NotFound(
            f"there is nothing at {shown(path)}.", next_step="GET /v2/models lists what is served."
        )
    raise MethodNotAllowed(
        f"{shown(path)} takes {' or '.join(allow)}, not {shown(method)}.",
        allow=allow,
        next_step="use one of these.",
    )
