"""A stand-in for the Hugging Face Hub on loopback: real HTTP, repositories in memory, faults on demand.

It speaks the part of the Hub's protocol that creating, pushing and loading a model need, and pushing a Space, which
here shares the models' names. `python tests/helpers/fakehub.py` serves until it is stopped and prints its address.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_owner"
OWNER = "me"
LARGE = (".safetensors", ".bin", ".png")
"""What the server wants to be uploaded apart from the commit."""


@dataclass
class Repo:
    """Commits as {path: bytes}; branches and tags point to them. gated: only its owner may read. sdk: of a Space."""

    private: bool = False
    sdk: str | None = None
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], ref: str) -> str:
        content = b"".join(name.encode() + data for name, data in sorted(files.items()))
        sha = hashlib.sha1(content + str(len(self.commits)).encode()).hexdigest()
        self.commits[sha], self.refs[ref] = files, sha
        return sha

    def find(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


class FakeHub:
    """`with FakeHub() as hub:` serves at `hub.url`. `hub.seen` lists the requests.

    `hub.fault` takes the handler of a request and says whether it has answered it itself.
    """

    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.seen: list[tuple[str, str]] = []
        self.fault: Callable[[Handler], bool] | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, name: str, files: dict[str, bytes], **kind) -> Repo:
        """A repository that somebody else has made."""
        repo = self.repos[name] = Repo(**kind)
        repo.commit(files, "main")
        return repo


class Handler(BaseHTTPRequestHandler):
    """One connection. Routes are (method, pattern, name of the function that answers)."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"
    ROUTES = (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", r"/api/models/([^/]+/[^/]+)/preupload/(.+)", "preupload"),
        ("POST", r"/api/models/([^/]+/[^/]+)/commit/(.+)", "commit"),
        ("POST", r"/api/models/([^/]+/[^/]+)/branch/(.+)", "branch"),
        ("POST", r"/api/models/([^/]+/[^/]+)/tag/(.+)", "tag"),
        ("GET", r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", "info"),
        ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/blobs/(\w+)", "upload"),
        ("GET", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
        ("HEAD", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
    )

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        path, self.query = urlsplit(self.path).path, urlsplit(self.path).query
        self.hub.seen.append((self.command, path))
        path = path.removeprefix("/spaces").replace("/api/spaces/", "/api/models/", 1)
        if self.hub.fault and self.hub.fault(self):
            return
        for method, pattern, name in self.ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                getattr(self, name)(*(part and unquote(part) for part in found.groups()))
                return
        self.fail(404, message=f"no such endpoint: {self.command} {path}")

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

    @property
    def user(self) -> str | None:
        return {"": None, f"Bearer {TOKEN}": OWNER}.get(self.headers.get("Authorization", ""), "stranger")

    def answer(self, data: bytes | dict | list, status: int = 200, **headers: str) -> None:
        if not isinstance(data, bytes):
            data, headers = json.dumps(data).encode(), {"Content-Type": "application/json", **headers}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def fail(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        self.answer({"error": message}, status, X_Error_Code=code, X_Error_Message=message, **headers)

    def owned(self, name: str) -> Repo | None:
        """The repository when this user may write to it; else None and the refusal is sent."""
        if self.user is None:
            self.fail(401, message="Invalid credentials in Authorization header")
        elif self.user != OWNER or not name.startswith(f"{OWNER}/"):
            self.fail(403, message="you have no right to write here")
        elif name not in self.hub.repos:
            self.fail(404, "RepoNotFound", "Repository not found")
        else:
            return self.hub.repos[name]
        return None

    def readable(self, name: str, revision: str) -> tuple[Repo, str] | None:
        """The repository and the commit when this user may read them; else None and the refusal is sent."""
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self.user != OWNER):
            self.fail(404 if self.user else 401, "RepoNotFound", "Repository not found")
        elif repo.gated and self.user != OWNER:
            self.fail(403 if self.user else 401, "GatedRepo", "Access to this model is restricted")
        elif repo.find(revision) is None:
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return repo, repo.find(revision)
        return None

    def whoami(self) -> None:
        if self.user != OWNER:
            return self.fail(401, message="Invalid credentials in Authorization header")
        self.answer({"type": "user", "name": OWNER, "auth": {"type": "access_token"}})

    def create(self) -> None:
        asked = json.loads(self.body)
        if self.user != OWNER:
            return self.fail(401, message="Invalid credentials in Authorization header")
        name = f"{asked.get('organization') or OWNER}/{asked['name']}"
        sdk, space = asked.get("sdk"), asked.get("type") == "space"
        if space != bool(sdk):
            return self.fail(400, message="a Space, and nothing else, has an sdk")
        reply = {"url": f"{self.hub.url}/{'spaces/' if space else ''}{name}", "name": name, "id": name}
        if name in self.hub.repos:
            return self.answer(reply | {"error": "You already created this model repo"}, 409)
        if not name.startswith(f"{OWNER}/"):
            return self.fail(403, message="you have no right to create a model in this namespace")
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.add(name, {".gitattributes": b""}, private=bool(private), sdk=sdk)
        self.answer(reply)

    def validate(self) -> None:
        self.answer({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        repo = self.owned(name)
        if repo and repo.find(revision) is None:
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif repo:
            held = repo.commits[repo.find(revision)]
            files = [
                self._preuploaded(file["path"], held.get(file["path"]))
                for file in json.loads(self.body)["files"]
            ]
            self.answer({"files": files})

    @staticmethod
    def _preuploaded(path: str, held: bytes | None) -> dict:
        mode = "lfs" if path.endswith(LARGE) else "regular"
        return {
            "path": path,
            "uploadMode": mode,
            "shouldIgnore": False,
            "oid": None if held is None else etag(path, held),
        }

    def batch(self, name: str) -> None:
        if self.owned(name) is None:
            return
        objects = []
        for item in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/blobs/{item['oid']}", "header": {}}}
            objects.append({**item, **({} if item["oid"] in self.hub.blobs else {"actions": upload})})
        self.answer({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.fail(400, message="the content does not belong to its name")
        self.hub.blobs[oid] = self.body
        self.answer(b"")

    def commit(self, name: str, revision: str) -> None:
        repo = self.owned(name)
        if repo is None:
            return
        files, pull = dict(repo.commits[repo.find(revision)]), "create_pr=1" in self.query
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        pulls = itertools.count(1)
        number = next(n for n in pulls if f"refs/pr/{n}" not in repo.refs)
        sha = repo.commit(files, f"refs/pr/{number}" if pull else revision)
        url = f"{self.hub.url}/{name}"
        self.answer(
            {
                "commitOid": sha,
                "commitUrl": f"{url}/commit/{sha}",
                "pullRequestUrl": f"{url}/discussions/{number}",
            }
        )

    def branch(self, name: str, branch: str) -> None:
        repo = self.owned(name)
        if repo and branch in repo.refs:
            self.fail(409, message="Reference already exists")
        elif repo:
            repo.refs[branch] = repo.refs["main"]
            self.answer({})

    def tag(self, name: str, revision: str) -> None:
        repo = self.owned(name)
        if repo:
            repo.refs[json.loads(self.body)["tag"]] = repo.find(revision)
            self.answer({})

    def info(self, name: str, revision: str | None) -> None:
        found = self.readable(name, revision or "main")
        if found:
            repo, sha = found
            files = [{"rfilename": path} for path in repo.commits[sha]]
            self.answer({"id": name, "modelId": name, "sha": sha, "private": repo.private, "siblings": files})

    def resolve(self, name: str, revision: str, path: str) -> None:
        found = self.readable(name, revision)
        if found is None:
            return
        repo, sha = found
        data = repo.commits[sha].get(path)
        if data is None:
            return self.fail(404, "EntryNotFound", "Entry not found", X_Repo_Commit=sha)
        headers = {"X_Repo_Commit": sha, "ETag": f'"{etag(path, data)}"', "Accept_Ranges": "bytes"}
        if path.endswith(LARGE):
            headers |= {"X_Linked_ETag": headers["ETag"], "X_Linked_Size": str(len(data))}
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start:
            self.answer(data[int(start[1]) :], 206, **headers)
        else:
            self.answer(data, **headers)


def etag(path: str, data: bytes) -> str:
    """sha256 of a large file, git's blob id of another, as the Hub does."""
    if path.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


if __name__ == "__main__":
    with FakeHub() as served:
        print(served.url, flush=True)
        threading.Event().wait()
