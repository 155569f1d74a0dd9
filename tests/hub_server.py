"""The part of the Hugging Face Hub's HTTP interface that downloads and uploads need, for folders on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".onnx", ".png")  # to large-file storage, as the Hub's own .gitattributes has it


@dataclass
class Pushed:
    """A repository that was created over HTTP: a folder for every commit, and what its branches point at."""

    private: bool = False
    commits: dict[str, Path] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


class HubServer:
    """Serves repositories on a free port of 127.0.0.1; whoever sends a token, any token, may read and write all.

    `repos` maps "user/name" to a folder; `pushed` holds what was created over HTTP; `fetched` collects (repository,
    file) of every download, `large` the files that came through large-file storage.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Path] = {}
        self.pushed: dict[str, Pushed] = {}
        self.fetched: list[tuple[str, str]] = []
        self.large: list[str] = []
        self.gated: list[str] = []  # repositories whose files only those get who send a token
        self.busy: list[int] = []  # seconds to wait, which every request is told
        self._folder = tempfile.TemporaryDirectory(prefix="idgen-tests-hub-server-")
        self.storage = Path(self._folder.name)
        http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        http.daemon_threads = True
        self.url = f"http://127.0.0.1:{http.server_address[1]}"
        threading.Thread(target=http.serve_forever, daemon=True).start()

    def clear(self) -> None:
        for collection in (self.repos, self.pushed, self.fetched, self.large, self.gated, self.busy):
            collection.clear()

    def at(self, repo: str, revision: str) -> tuple[Path, str] | None:
        """The files of a repository at a branch or a commit, and that commit."""
        if repo in self.repos:
            commit = hashlib.sha1(repo.encode()).hexdigest()
            return (self.repos[repo], commit) if revision in ("main", commit) else None
        known = self.pushed[repo]
        commit = known.branches.get(revision, revision)
        return (known.commits[commit], commit) if commit in known.commits else None


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self._parts()
        if self.hub.busy:
            return self._answer(b"{}", {"Retry-After": str(self.hub.busy[0])}, 429)
        api = parts[:1] == ["api"]
        parts = parts[1:] if parts[:1] == ["datasets"] else parts
        repo, rest = "/".join(parts[2:4] if api else parts[:2]), parts[4:] if api else parts[2:]
        known = self.hub.pushed.get(repo)
        if repo not in self.hub.repos and (known is None or (known.private and not self._token())):
            return self._refuse("RepoNotFound")
        found = self.hub.at(repo, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return self._refuse("RevisionNotFound")
        folder, commit = found
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        if api and rest[:1] == ["tree"]:
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            return self._say(entries)
        if api:
            siblings = [{"rfilename": name} for name in files]
            return self._say({"id": repo, "sha": commit, "private": False, "siblings": siblings})
        if repo in self.hub.gated and not self._token():
            return self._answer(b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "accept the terms"}, 401)
        name = "/".join(rest[2:])
        if rest[:1] != ["resolve"] or name not in files:
            return self._refuse("EntryNotFound", {"X-Repo-Commit": commit})
        if self.command == "GET":
            self.hub.fetched.append((repo, name))
        etag = hashlib.sha1(files[name]).hexdigest()
        self._answer(files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    def do_PUT(self) -> None:
        (self.hub.storage / self._parts()[-1]).write_bytes(self._body())
        self._answer(b"", {})

    def do_POST(self) -> None:
        parts, body = self._parts(), self._body()
        if parts == ["api", "validate-yaml"]:
            return self._say({"errors": [], "warnings": []})
        if not self._token():
            return self._say({"error": "Invalid username or password."}, 401)
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            new = repo not in self.hub.pushed
            if new:
                # The second is how huggingface_hub asks from its version 2 on.
                self.hub.pushed[repo] = Pushed(bool(asked.get("private")) or asked.get("visibility") == "private")
                self._commit(repo, "main", "initial commit", {}, [])
            return self._say({"url": f"{self.hub.url}/{repo}", "id": repo}, 200 if new else 409)
        if parts[-4:] == ["info", "lfs", "objects", "batch"]:
            objects = [self._place(item) for item in json.loads(body)["objects"]]
            return self._say({"transfer": "basic", "objects": objects})
        repo, (action, revision) = "/".join(parts[2:4]), parts[4:6]
        known = self.hub.pushed.get(repo)
        if known is None:
            return self._refuse("RepoNotFound")
        if action == "branch":
            known.branches.setdefault(revision, known.branches["main"])
            return self._say({})
        if revision not in known.branches:
            return self._refuse("RevisionNotFound")
        if action == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in paths}
            return self._say(
                {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]}
            )
        assert action == "commit", self.path
        message, added, deleted = "", {}, []
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
            elif entry["key"] == "file":
                added[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                added[value["path"]] = (self.hub.storage / value["oid"]).read_bytes()
                self.hub.large.append(value["path"])
            elif entry["key"] == "deletedFile":
                deleted.append(value["path"])
        commit = self._commit(repo, revision, message, added, deleted)
        self._say({"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit}"})

    def _place(self, item: dict[str, Any]) -> dict[str, Any]:
        answer = {"oid": item["oid"], "size": item["size"]}
        if not (self.hub.storage / item["oid"]).exists():
            answer["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
        return answer

    def _commit(self, repo: str, branch: str, message: str, added: dict[str, bytes], deleted: list[str]) -> str:
        """A new folder with the branch's files and what changed."""
        known = self.hub.pushed[repo]
        commit = hashlib.sha1(f"{repo} {branch} {len(known.messages)}".encode()).hexdigest()
        folder = self.hub.storage / commit
        folder.mkdir()
        if (parent := known.branches.get(branch)) is not None:
            shutil.copytree(known.commits[parent], folder, dirs_exist_ok=True)
        for name in deleted:
            (folder / name).unlink()
        for name, content in added.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        known.commits[commit] = folder
        known.branches[branch] = commit
        known.messages.append(message)
        return commit

    def _parts(self) -> list[str]:
        return [part for part in unquote(urlsplit(self.path).path).split("/") if part]

    def _token(self) -> bool:
        return bool(re.fullmatch("Bearer .+", self.headers.get("Authorization", "")))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _say(self, content: Any, status: int = 200) -> None:
        self._answer(json.dumps(content).encode(), {"Content-Type": "application/json"}, status)

    def _answer(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, code: str, headers: dict[str, str] | None = None) -> None:
        self._answer(b"{}", {**(headers or {}), "X-Error-Code": code, "X-Error-Message": code}, 404)

    def log_message(self, *_: object) -> None:
        pass
