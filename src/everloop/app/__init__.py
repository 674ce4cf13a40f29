"""The front door: the command line, what it prints, and the processes that it starts."""
