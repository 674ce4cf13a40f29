"""The endpoints of one server: which of them is meant by the name in a request, and whether all of them can answer."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from everloop.errors import NotFound, NotReady, shown
from everloop.records.serving import Traffic
from everloop.serving.dataplane import DataPlane, not_ready


class Planes:
    """A data plane for each endpoint, found by the endpoint's name, or by that of a model that no other one serves.

    `apply` may run in other threads than the rest: who is meant by which name is replaced as one reference.
    """

    def __init__(self, planes: Sequence[DataPlane]) -> None:
        self._by_endpoint = {plane.endpoint: plane for plane in planes}
        self._by_name: Mapping[str, DataPlane] = self._by_endpoint
        self._naming = threading.Lock()
        self.stopping = False
        """No new connections are taken: it is not ready any more, and answers whoever asks nevertheless."""

    def __iter__(self) -> Iterator[DataPlane]:
        return iter(self._by_endpoint.values())

    def apply(self, traffic: Traffic) -> None:
        """Put the traffic of one endpoint into effect, as its data plane does."""
        try:
            self._by_endpoint[traffic.endpoint].apply(traffic)
        finally:
            with self._naming:
                self._by_name = self._named()

    def get(self, name: str) -> DataPlane:
        """The endpoint that is meant; raises NotFound, with the names that can be asked, when that is none or not one."""
        plane = self._by_name.get(name)
        if plane is None:
            raise self._refusal(name)
        return plane

    def names(self) -> list[str]:
        """A name for each endpoint whose model is known: the model's, where that says who is meant."""
        names = self._by_name
        return [
            plane.model if names.get(plane.model) is plane else plane.endpoint
            for plane in self
            if plane.model is not None
        ]

    def model_of(self, name: str) -> str:
        """The model behind a name, to count by: clients make names up, which then stand for the only model, or for none."""
        plane = self._by_name.get(name)
        if plane is None and len(self._by_endpoint) == 1:
            (plane,) = self
        return (plane and plane.model) or ""

    def check_ready(self) -> None:
        """Raises NotReady, with the endpoints that cannot answer, unless all of them can."""
        self.check_running()
        waiting = [plane.endpoint for plane in self if not plane.ready]
        if waiting:
            raise not_ready(*waiting)

    def check_running(self) -> None:
        """Raises NotReady when the server stops."""
        if self.stopping:
            raise NotReady("the server is stopping.", next_step="ask another one, or this one in a moment.")

    def _named(self) -> Mapping[str, DataPlane]:
        serving = Counter(plane.model for plane in self)
        alone = {
            plane.model: plane for plane in self if plane.model is not None and serving[plane.model] == 1
        }
        return alone | self._by_endpoint

    def _refusal(self, name: str) -> NotFound | NotReady:
        sharing = [plane.endpoint for plane in self if plane.model == name]
        if sharing:
            return NotFound(
                f"model {shown(name)} is behind {len(sharing)} endpoints here.",
                next_step=f"ask for an endpoint by its name: {', '.join(sharing)}.",
            )
        unknown = [plane.endpoint for plane in self if plane.model is None]
        if unknown:
            return not_ready(*unknown)
        return NotFound(
            f"there is no model {shown(name)} here; this server serves {', '.join(map(repr, self.names()))}.",
            next_step="ask for one of these." if len(self._by_endpoint) > 1 else "ask for that one.",
        )
