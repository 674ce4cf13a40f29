"""What ran, on which data, from which code, by whom, and what came out."""
