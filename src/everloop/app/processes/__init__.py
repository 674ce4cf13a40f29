"""What goes on until it is stopped: the loop as a whole, a worker, a server."""
