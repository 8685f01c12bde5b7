"""A web server's handler for tests that read a store over http."""

from __future__ import annotations

from http.server import SimpleHTTPRequestHandler


class QuietFiles(SimpleHTTPRequestHandler):
    """Serve the files of a directory, and write no log."""

    def log_message(self, format: str, *args: object) -> None:
        pass
