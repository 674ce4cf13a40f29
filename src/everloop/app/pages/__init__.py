"""How people see the records that `control` gives: a table, a page, a line."""
