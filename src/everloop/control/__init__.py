"""What can be known of a project and done with it: functions that return records, for every way of asking.

The command line prints them, `--json` encodes them, and `everloop.open()` hands them to a notebook. What only looks takes a
`Workspace` and so works while the user's module is broken; what does something takes a `Project`.
"""
