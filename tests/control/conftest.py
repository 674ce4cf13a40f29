"""Projects to be opened: the same that the command line is tried on."""

from tests.app.conftest import first_run, one_project_at_a_time, starter, trained

__all__ = ["first_run", "one_project_at_a_time", "starter", "trained"]
