"""One connection sends 10 MB of pipelined `GET /` and reads nothing: the server's memory must not grow by more than 50 MB."""

import socket, time
from _h import *

root, port = project()
server = serve(root, port)
before = rss(server.pid)
s = socket.create_connection(("127.0.0.1", port))
s.settimeout(3)
sent = 0
end = time.monotonic() + 25
try:
    while sent < 10_000_000 and time.monotonic() < end:
        sent += s.send(b"GET / HTTP/1.1\r\n\r\n" * 2000)
except TimeoutError:
    pass
grown = rss(server.pid) - before
s.close()
time.sleep(2)
kept = rss(server.pid) - before
verdict(
    grown < 50,
    f"{sent / 1e6:.1f} MB sent on one connection; memory +{grown:.0f} MiB, after it closed +{kept:.0f} MiB",
)
