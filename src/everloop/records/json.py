"""What a record may hold when it travels as JSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
else:
    Json = Any  # msgspec reads records by their hints, and takes none that names itself

JsonObject: TypeAlias = Mapping[str, Json]
