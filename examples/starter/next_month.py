"""Stands in for your company: each call writes one more month of renewals into data/, the same on every machine.

Run it while `everloop up` is running, and watch the loop go round. Take it out when your own files arrive.
"""

import csv
import math
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

FIRST = 2025 * 12  # January 2025, counted in months
ROWS = 400
PRICES = {"basic": 12.0, "plus": 29.0, "team": 79.0}


def main() -> None:
    """Write the month after the last one that is there."""
    folder = Path(__file__).parent / "data"
    folder.mkdir(exist_ok=True)
    number = len(list(folder.glob("renewals-*.csv")))
    sys.stdout.write(f"{write_month(folder, number)}\n")


def write_month(folder: Path, number: int) -> Path:
    """One month as a CSV file; `number` counts from 0."""
    year, month = divmod(FIRST + number, 12)
    begin = datetime(year, month + 1, 1, tzinfo=UTC)
    path = folder / f"renewals-{begin:%Y-%m}.csv"
    chance = random.Random(number)
    rows = [_renewal(chance, number, begin) for _ in range(ROWS)]
    unfinished = path.with_suffix(".part")  # everloop must not find a file that is half written
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: str(row["renews_at"])))
    return unfinished.rename(path)


def _renewal(chance: random.Random, number: int, begin: datetime) -> dict[str, object]:
    plan = chance.choices(["basic", "plus", "team"], [5, 4, 1])[0]
    price = PRICES[plan] * (1 + 0.1 * ((number + 1) // 3))  # raised in March and then every quarter
    months = int(chance.expovariate(1 / 18)) + 1
    visits = int(chance.expovariate(1 / 9))
    tickets = int(chance.expovariate(1.1))
    likes_it = 0.05 * min(months, 30) + 0.15 * min(visits, 15) - 0.7 * tickets - 0.02 * price
    left = chance.random() < 1 / (1 + math.exp(0.3 + likes_it))
    at = begin + timedelta(minutes=chance.randrange(28 * 24 * 60))
    return {
        "customer": chance.randrange(100_000, 1_000_000),
        "renews_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "plan": plan,
        "price": round(price, 2),
        "months": months,
        "visits": visits,
        "tickets": tickets,
        "left": int(left),
    }


if __name__ == "__main__":
    main()
