"""Yes-or-no questions that add up: gates, judges and alarms are all made of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The answer to one check, with the reason a person reads and the answers it is made of.

    >>> parts = (
    ...     CheckResult(name="auc >= 0.7", passed=True, because="0.8"),
    ...     CheckResult(name="beats('constant')", passed=False, because="it is worse"),
    ... )
    >>> [part.because for part in CheckResult(name="gate", passed=False, because="", parts=parts).failed()]
    ['it is worse']
    """

    name: str
    passed: bool
    because: str
    parts: tuple[CheckResult, ...] = ()

    def leaves(self) -> tuple[CheckResult, ...]:
        """The single answers below this one, itself when it is single."""
        if not self.parts:
            return (self,)
        return tuple(leaf for part in self.parts for leaf in part.leaves())

    def failed(self) -> tuple[CheckResult, ...]:
        """The single answers that said no."""
        return tuple(leaf for leaf in self.leaves() if not leaf.passed)


@dataclass(frozen=True)  # without slots: Python 3.11 cannot make a Check[float](…) that has them
class Check(Generic[T]):
    """One question about a value; two checks joined by `&` or `|` are a check.

    A check that cannot be evaluated has failed, and its result says why.

    >>> tall = Check[int]("tall", lambda n: (n > 10, f"{n} against 10"))
    >>> even = Check[int]("even", lambda n: (n % 2 == 0, f"{n} divided by 2"))
    >>> (tall & even)(12).passed, (tall & even)(13).passed, (tall | even)(13).passed
    (True, False, True)
    >>> (tall & even)(13).failed()[0].because
    '13 divided by 2'
    """

    name: str
    ask: Callable[[T], tuple[bool, str] | CheckResult]

    def __call__(self, value: T) -> CheckResult:
        """Ask it of a value."""
        try:
            answer = self.ask(value)
            if isinstance(answer, CheckResult):
                return answer if _is_plain(answer) else _not_plain(self.name, answer)
            passed, because = answer
            return CheckResult(name=self.name, passed=bool(passed), because=str(because))
        except Exception as error:  # noqa: BLE001 - fail closed: whatever went wrong, the answer is no
            return CheckResult(name=self.name, passed=False, because=f"cannot be evaluated: {error!r}")

    def __and__(self, other: Check[T]) -> Check[T]:
        return _join(self, other, "and", all)

    def __or__(self, other: Check[T]) -> Check[T]:
        return _join(self, other, "or", any)


def _is_plain(answer: CheckResult) -> bool:
    """Whether it holds what it says it holds, so that it can be kept."""
    plain = (
        isinstance(answer.passed, bool) and isinstance(answer.name, str) and isinstance(answer.because, str)
    )
    return plain and all(isinstance(part, CheckResult) and _is_plain(part) for part in answer.parts)


def _not_plain(name: str, answer: CheckResult) -> CheckResult:
    because = f"cannot be evaluated: {answer!r} needs passed=True or False, and texts as name and because"
    return CheckResult(name=name, passed=False, because=because)


def _join(left: Check[T], right: Check[T], word: str, rule: Callable[[list[bool]], bool]) -> Check[T]:
    name = f"({left.name} {word} {right.name})"

    def ask(value: T) -> CheckResult:
        parts = (left(value), right(value))
        passed = rule([part.passed for part in parts])
        because = [part.because for part in parts if part.passed == passed]
        return CheckResult(name=name, passed=passed, because="; ".join(because), parts=parts)

    return Check(name, ask)
