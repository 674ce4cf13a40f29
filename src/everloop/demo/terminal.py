"""Where the demo is shown."""

from rich.console import Console

out = Console(highlight=False)
