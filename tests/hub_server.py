"""The part of the Hugging Face Hub's HTTP interface that downloads need, for folders on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class HubServer:
    """Serves folders as model repositories on a free port of 127.0.0.1.

    `repos` maps "user/name" to a folder; `fetched` collects (repository, file) of every download.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Path] = {}
        self.fetched: list[tuple[str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = [part for part in unquote(urlsplit(self.path).path).split("/") if part]
        api = parts[:2] == ["api", "models"]
        repo, rest = "/".join(parts[2:4] if api else parts[:2]), parts[4:] if api else parts[2:]
        folder = self.hub.repos.get(repo)
        if folder is None:
            return self._refuse("RepoNotFound")
        commit = hashlib.sha1(repo.encode()).hexdigest()
        if len(rest) > 1 and rest[1] not in ("main", commit):
            return self._refuse("RevisionNotFound")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
        if api and rest[:1] == ["tree"]:
            entries = [
                {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}
                for name, path in zip(names, files, strict=True)
            ]
            return self._answer(json.dumps(entries).encode(), {})
        if api:
            info = {"id": repo, "sha": commit, "private": False, "siblings": [{"rfilename": name} for name in names]}
            return self._answer(json.dumps(info).encode(), {})
        name = "/".join(rest[2:])
        if rest[:1] != ["resolve"] or name not in names:
            return self._refuse("EntryNotFound", {"X-Repo-Commit": commit})
        path = folder / name
        if self.command == "GET":
            self.hub.fetched.append((repo, name))
        self._answer(path.read_bytes(), {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": commit})

    def _answer(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, code: str, headers: dict[str, str] | None = None) -> None:
        self._answer(b"{}", {**(headers or {}), "X-Error-Code": code, "X-Error-Message": code}, 404)

    def log_message(self, *_: object) -> None:
        pass


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
