"""What can go wrong with a request, and the HTTP status of each: the one table."""

import msgspec
from sqlalchemy.exc import DBAPIError

from everloop.errors import Conflict, EverloopError, InvalidInput, NotFound, NotReady, Refused, Unsupported


class TooLarge(InvalidInput):
    """More bytes or rows than one request may have."""


class UnsupportedContent(InvalidInput):
    """The body is encoded in a way that this server does not read."""


class MethodNotAllowed(InvalidInput):
    """The path exists and takes other methods."""

    def __init__(self, reason: str, *, allow: tuple[str, ...], next_step: str) -> None:
        super().__init__(reason, next_step=next_step)
        self.allow = allow


class TooSlow(InvalidInput):
    """The body did not arrive in time."""


class Overloaded(NotReady):
    """There is more work than this server takes on."""


class ModelFailed(EverloopError):
    """The model raised, or gave an answer that is not a finite number."""

    def __init__(self, reason: str, *, version: int, next_step: str) -> None:
        super().__init__(reason, next_step=next_step)
        self.version = version


STATUS: tuple[tuple[type[Exception], int], ...] = (
    (MethodNotAllowed, 405),
    (TooSlow, 408),
    (TooLarge, 413),
    (UnsupportedContent, 415),
    (InvalidInput, 400),
    (Unsupported, 400),  # 501 would call the server faulty for what the client chose to send
    (NotFound, 404),
    (Refused, 403),
    (NotReady, 503),
    (Conflict, 503),  # somebody holds the database, or its disk is full: the same request may work later
    (DBAPIError, 503),
    (ModelFailed, 500),
)
"""The first class that fits decides; what fits none is a fault of ours and is answered with 500."""


def status_of(error: Exception) -> int:
    """The HTTP status of an error.

    >>> status_of(TooLarge("5 MiB")), status_of(InvalidInput("no")), status_of(ZeroDivisionError())
    (413, 400, 500)
    """
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def describe_error(error: Exception) -> str:
    """What a client reads: our own errors in full, of all others only that they happened."""
    if isinstance(error, EverloopError):
        return str(error)
    if isinstance(error, DBAPIError):
        return "the database does not answer. Next: try again later."
    return "the server failed on this request; its log says why."


def refuse(error: Exception) -> bytes:
    """The error shape of KServe's protocols, and of paths that belong to no dialect.

    >>> refuse(InvalidInput("the body is empty.", next_step="send one."))
    b'{"error":"the body is empty. Next: send one."}'
    """
    return msgspec.json.encode({"error": describe_error(error)})
