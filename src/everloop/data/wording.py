"""Numbers as a person reads them, so that every finding is told in the same voice."""


def number(value: float) -> str:
    """Three digits that matter.

    >>> [number(value) for value in (81.4234, 5.0, 0.012345, 1020.96, 2.5e-7, -1234567.0, 3e18)]
    ['81.4', '5', '0.0123', '1,021', '2.5e-07', '-1,234,567', '3e+18']
    """
    if 1_000 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share of 1 in percent.

    >>> [percent(share) for share in (1.0, 0.254, 0.0133, 0.0004, 0.000001, 0.0)]
    ['100 %', '25.4 %', '1.3 %', '0.04 %', 'under 0.01 %', '0 %']
    """
    if 0 < share < 0.0001:
        return "under 0.01 %"
    digits = 2 if abs(share) < 0.001 else 1
    return f"{round(100 * share, digits):.{digits}f}".rstrip("0").rstrip(".") + " %"
