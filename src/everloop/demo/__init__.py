"""The demonstration: one year of New York flights through the whole loop."""
