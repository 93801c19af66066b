"""A stand-in for the Hugging Face Hub: the part of its HTTP interface that uploads and downloads of small files go through."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"


class Hub:
    """Repositories by name, each a list of commits, which hold files by path; `served` are the paths of files that were asked for."""

    def __init__(self):
        self.repositories = {}
        self.private = set()
        self.served = []

    def commit(self, name, files):
        commits = self.repositories.setdefault(name, [])
        commits.append({**(commits[-1] if commits else {}), **files})

    def at(self, name, revision):
        """Return the commit and the files of a revision; none where there is none."""
        commits = self.repositories[name]
        names = {sha(name, number): number for number in range(len(commits))} | {"main": len(commits) - 1, "v1": 0}
        number = names.get(revision)
        return None if number is None or not commits else (sha(name, number), commits[number])


def sha(name, number):
    return hashlib.sha1(f"{name} {number}".encode()).hexdigest()


def handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def answer(self, status, body=b"", **headers):
            if not isinstance(body, bytes):
                body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, status, code):
            self.answer(status, {"error": code}, **{"X-Error-Code": code, "X-Error-Message": code})

        def repository(self, name, revision):
            """Return a revision that may be read; none after a refusal."""
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if name not in hub.repositories or (name in hub.private and not allowed):
                return self.refuse(404, "RepoNotFound")
            return hub.at(name, revision) or self.refuse(404, "RevisionNotFound")

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                if found := self.repository(match[1], match[2] or "main"):
                    self.answer(200, {"id": match[1], "sha": found[0], "siblings": [{"rfilename": name} for name in found[1]]})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", path):
                if found := self.repository(match[1], match[2]):
                    self.answer(200, [{"type": "file", "path": p, "size": len(b), "oid": blob(b)} for p, b in found[1].items()])
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                found = self.repository(match[1], match[2])
                if found and match[3] in found[1]:
                    hub.served.append(match[3])
                    self.answer(200, found[1][match[3]], ETag=f'"{blob(found[1][match[3]])}"', **{"X-Repo-Commit": found[0]})
                elif found:
                    self.refuse(404, "EntryNotFound")
            else:
                self.refuse(404, "NotFound")

        do_HEAD = do_GET

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.refuse(401, "Unauthorized")
            path = urlsplit(self.path).path
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'user'}/{asked['name']}"
                if name in hub.repositories:
                    return self.answer(409, {"error": "exists", "url": f"http://{self.headers['Host']}/{name}"})
                hub.repositories[name] = []
                if asked.get("private") or asked.get("visibility") == "private":
                    hub.private.add(name)
                hub.commit(name, {".gitattributes": b""})
                self.answer(200, {"url": f"http://{self.headers['Host']}/{name}", "name": name})
            elif path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", path):
                files = json.loads(body)["files"]
                self.answer(200, {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
                lines = [json.loads(line) for line in body.splitlines()]
                hub.commit(
                    match[1], {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"}
                )
                here = f"http://{self.headers['Host']}/{match[1]}"
                oid = sha(match[1], len(hub.repositories[match[1]]) - 1)
                self.answer(200, {"success": True, "commitOid": oid, "commitUrl": f"{here}/commit/{oid}"})
            else:
                self.refuse(404, "NotFound")

    return Handler


def blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving():
    """Serve an empty hub, and yield it with its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
