"""Every path that the prediction service answers at."""

import re
from collections.abc import Iterator, Mapping, Sequence

from everloop.errors import NotFound, shown
from everloop.serving.dialects.dialect import Dialect
from everloop.serving.errors import MethodNotAllowed
from everloop.serving.handlers import alive, inferring, looking, record_labels, show_metrics
from everloop.serving.looks import live, ready
from everloop.serving.service import Route

OF_NO_DIALECT = (
    Route("GET", "/", looking(alive)),
    Route("GET", "/livez", looking(live)),
    Route("GET", "/readyz", looking(ready)),
    Route("GET", "/metrics", show_metrics),
    Route("POST", "/labels", record_labels),
)


class Router:
    """Finds the route of a request, among those of the dialects and those of none.

    >>> from everloop.serving.dialects import DIALECTS
    >>> Router(DIALECTS).find("POST", "/v1/models/late:predict")[1]
    {'model': 'late'}
    """

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        routes = (*OF_NO_DIALECT, *(route for dialect in dialects for route in _routes(dialect)))
        self._patterns = [(route, _pattern(route.template)) for route in routes]
        self._literal = {
            (route.method, route.template): route for route in routes if "{" not in route.template
        }
        self._templates = {
            method: [(r, pattern) for r, pattern in self._patterns if r.method == method and pattern.groups]
            for method in ("GET", "POST")
        }

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route of a request and the changing parts of its path; HEAD is answered where GET is."""
        wanted = "GET" if method == "HEAD" else method
        literal = self._literal.get((wanted, path))
        if literal is not None:
            return literal, {}
        for route, pattern in self._templates.get(wanted, ()):
            if match := pattern.fullmatch(path):
                return route, match.groupdict()
        allow = tuple(route.method for route, pattern in self._patterns if pattern.fullmatch(path))
        if not allow:
            raise NotFound(
                f"there is nothing at {shown(path)}.", next_step="GET /v2/models lists what is served."
            )
        raise MethodNotAllowed(
            f"{shown(path)} takes {' or '.join(allow)}, not {shown(method)}.",
            allow=allow,
            next_step="use one of these.",
        )


def _routes(dialect: Dialect) -> Iterator[Route]:
    for template, look in dialect.routes.items():
        if look is None:
            yield Route("POST", template, inferring(dialect), dialect)
        else:
            yield Route("GET", template, looking(look), dialect)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/:]+)", template))
