"""What clients ask before they infer, in the words that KServe's protocols share: is it live, is it ready, who is there."""

from collections.abc import Mapping

import msgspec

from everloop.errors import NotReady
from everloop.serving.planes import Planes
from everloop.serving.protocol import version_number

_encode = msgspec.json.Encoder().encode


def live(_planes: Planes, _path: Mapping[str, str]) -> tuple[int, bytes]:
    """It receives requests, so it is live."""
    return 200, b'{"live":true}'


def ready(planes: Planes, _path: Mapping[str, str]) -> tuple[int, bytes]:
    """Whether every endpoint can answer; clients disagree on the field's name, so both are sent."""
    try:
        planes.check_ready()
    except NotReady as error:
        return 503, _encode({"ready": False, "live": True, "error": str(error)})
    return 200, b'{"ready":true,"live":true}'


def list_models(planes: Planes, _path: Mapping[str, str]) -> tuple[int, bytes]:
    """Every name that can be asked."""
    return 200, _encode({"models": planes.names()})


def model_ready(planes: Planes, path: Mapping[str, str]) -> tuple[int, bytes]:
    """Whether a model, or one version of it, can answer; of the others it says nothing."""
    name = path["model"]
    try:
        planes.check_running()
        planes.get(name).revision(version_number(path.get("version")))
    except NotReady as error:
        return 503, _encode({"name": name, "ready": False, "error": str(error)})
    return 200, _encode({"name": name, "ready": True})
