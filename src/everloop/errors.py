"""Every error everloop raises on purpose: what happened, and what to do next.

>>> import everloop as ev
>>> try:
...     ev.Canary(steps=[50, 20])
... except ev.errors.InvalidInput as error:
...     print(error.reason, "|", error.next_step)
a canary cannot take the steps [50, 20]. | name rising whole percentages between 1 and 99, for example steps=(20, 50).
"""


class EverloopError(Exception):
    """Base of all of them; `next_step` is the sentence a person reads after the reason."""

    def __init__(self, reason: str, *, next_step: str = "") -> None:
        super().__init__(reason if not next_step else f"{reason} Next: {next_step}")
        self.reason = reason
        self.next_step = next_step


class InvalidInput(EverloopError):
    """What came in cannot be used as it is."""


class NotFound(EverloopError):
    """The named thing does not exist."""


class Conflict(EverloopError):
    """Somebody else got there first, or the state no longer allows it."""


class Refused(EverloopError):
    """A gate said no."""


class NotReady(EverloopError):
    """It exists and cannot answer yet."""


class Corrupted(EverloopError):
    """Bytes on disk are not the bytes that were written."""


class Unsupported(EverloopError):
    """A valid request for something that this build or this setting does not do."""


class RunFailed(EverloopError):
    """A run did not come to its end; its record has the step and the reason."""


class ProjectError(EverloopError):
    """The user's project cannot be understood."""


def shown(value: object) -> str:
    """A value from outside as it may stand in a message: escaped and short.

    >>> shown("a\\n"), shown("x" * 100)[-4:]
    ("'a\\\\n'", 'xxx…')
    """
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:59]}…"
