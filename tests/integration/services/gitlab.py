# SPDX-License-Identifier: Apache-2.0
"""GitLab's access tokens: rotated by an owner of the project, or by themselves. A rotation ends the
old token at once and gives the new one another id; a token that was used up and is used again to
rotate ends the whole family, as the real one's reuse detection does.
"""

import dataclasses
import datetime

from services.named_keys import NamedKeyService
from services.web import Answer, Refusal, random_text, route


@dataclasses.dataclass
class Token:
    id: str
    name: str
    secret: str
    family: int
    revoked: bool = False
    expires_at: str = ""


class GitLab(NamedKeyService):
    OWNER = "glpat-owner-0123456789"
    PROJECT = "42"
    page_size = 2

    def __init__(self):
        super().__init__()
        self.next_id = 1000

    def issue(self, name="deploy", family=None, expires_at=None):
        """A token as a person would make it; returns (id, value)."""
        with self.lock:
            self.next_id += 1
            token = self.add(Token(str(self.next_id), name, "glpat-" + random_text(20),
                                   family or self.next_id))
            token.expires_at = expires_at or str(
                datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=30))
            return token.id, token.secret

    def withdraw(self, ids):
        """What a person does in the console."""
        with self.lock:
            for token_id in ids:
                self.keys[token_id].revoked = True

    def live_ids(self):
        with self.lock:
            return {token.id for token in self.keys.values() if not token.revoked}

    def accepts(self, value):
        with self.lock:
            token = self.find(value)
            return token is not None and not token.revoked

    def _owner(self, request):
        if request.header("PRIVATE-TOKEN") != self.OWNER:
            raise Refusal(Answer(401, {"message": "401 Unauthorized"}))

    @staticmethod
    def _shown(token):
        return {"id": int(token.id), "name": token.name, "revoked": token.revoked,
                "active": not token.revoked, "created_at": "2026-11-22T10:00:00.000Z",
                "scopes": ["api"], "user_id": 7, "access_level": 40, "last_used_at": None,
                "expires_at": token.expires_at}

    def _rotate(self, request, token):
        request.only_query("expires_at")
        wanted = request.query.get("expires_at")
        if request.body:
            wanted = request.fields({}, {"expires_at": str}).get("expires_at") or wanted
        if wanted:
            try:
                datetime.date.fromisoformat(wanted)
            except ValueError as error:
                raise Refusal(Answer(400, {"error": "expires_at is invalid"}), "no date") from error
        if token.revoked:
            for other in self.keys.values():
                if other.family == token.family:
                    other.revoked = True
            return Answer(401, {"message": "401 Unauthorized"})
        token.revoked = True
        new_id, secret = self.issue(token.name, token.family, wanted)
        return Answer(200, {**self._shown(self.keys[new_id]), "token": secret})

    @route("GET", "/api/v4/projects/{project}/access_tokens")
    def list(self, request, project):
        self._owner(request)
        request.only_query("page", "per_page", "state")
        if project != self.PROJECT:
            return Answer(404, {"message": "404 Project Not Found"})
        page = int(request.query.get("page") or 1)
        found = [token for token in self.keys.values()
                 if request.query.get("state") != "active" or not token.revoked]
        shown = [self._shown(token) for token in found]
        size = min(self.page_size, int(request.query.get("per_page") or 20))
        return Answer(200, shown[(page - 1) * size:page * size],
                      {"X-Page": str(page), "X-Per-Page": str(size), "X-Total": str(len(shown)),
                       "X-Next-Page": str(page + 1) if page * size < len(shown) else ""})

    @route("POST", "/api/v4/projects/{project}/access_tokens/{token_id}/rotate")
    def rotate(self, request, project, token_id):
        self._owner(request)
        if project != self.PROJECT or token_id not in self.keys:
            return Answer(404, {"message": "404 Not Found"})
        return self._rotate(request, self.keys[token_id])

    def _self(self, request):
        token = self.find(request.header("PRIVATE-TOKEN"))
        if token is None:
            raise Refusal(Answer(401, {"message": "401 Unauthorized"}))
        return token

    @route("POST", "/api/v4/personal_access_tokens/self/rotate")
    def rotate_self(self, request):
        return self._rotate(request, self._self(request))

    @route("GET", "/api/v4/personal_access_tokens/self")
    def show_self(self, request):
        request.only_query()
        token = self._self(request)
        if token.revoked:
            return Answer(401, {"message": "401 Unauthorized"})
        return Answer(200, self._shown(token))
