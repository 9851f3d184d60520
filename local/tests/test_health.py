"""Health checks of a target group: python -m unittest local.tests.test_health"""

from __future__ import annotations

import http.server
import threading
import unittest
import urllib.error

from local.emulator import ecs


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/" else 200)
        self.send_header("Location", "/login")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Health(unittest.TestCase):
    def test_a_redirection_is_not_followed(self) -> None:
        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with self.assertRaises(urllib.error.HTTPError) as caught:
                ecs._http.open(f"http://127.0.0.1:{server.server_address[1]}/", timeout=5)
            caught.exception.close()
            self.assertEqual(caught.exception.code, 302)
            server.shutdown()

    def test_the_matcher(self) -> None:
        for matcher, code, matches in (("200", 200, True), ("200", 302, False), ("200,302", 302, True), ("200-399", 302, True), ("200-299", 302, False)):
            with self.subTest(matcher, code=code):
                self.assertEqual(ecs._matches(code, matcher), matches)


if __name__ == "__main__":
    unittest.main()
