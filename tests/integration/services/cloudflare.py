# SPDX-License-Identifier: Apache-2.0
"""Cloudflare's tokens of a user: made and deleted, or rolled in place. Success is a member of each
reply, and so are the pages of a list.
"""

from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route


def _ok(result, **more):
    return Answer(200, {"success": True, "errors": [], "messages": [], "result": result, **more})


def _error(status, code, message):
    return Answer(status, {"success": False, "errors": [{"code": code, "message": message}],
                           "messages": [], "result": None})


class Cloudflare(NamedKeyService):
    MANAGER = "m" * 40
    POLICIES = [{"effect": "allow", "resources": {"com.cloudflare.api.account.zone.*": "*"},
                 "permission_groups": [{"id": "c8fed203ed3043cba015a93ad1616f1f"}]}]
    page_size = 2

    def issue(self, name="rolled"):
        """A token that a person made; returns (id, value)."""
        with self.lock:
            key = self.add(Key(random_text(32, "0123456789abcdef"), name, random_text(40)))
            return key.id, key.secret

    def _manager(self, request):
        if request.bearer() != self.MANAGER:
            raise Refusal(_error(401, 10000, "Authentication error"))

    @staticmethod
    def _shown(key):
        return {"id": key.id, "name": key.name, "status": "active",
                "issued_on": "2026-11-22T10:00:00Z", "modified_on": "2026-11-22T10:00:00Z",
                "policies": key.more.get("policies", [])}

    @route("POST", "/client/v4/user/tokens")
    def create(self, request):
        self._manager(request)
        wanted = request.fields({"name": str, "policies": list}, {"expires_on": str})
        if wanted["policies"] != self.POLICIES:
            raise Refusal(_error(400, 1001, "Invalid policies"), "other policies than were asked")
        key = self.add(Key(random_text(32, "0123456789abcdef"), wanted["name"], random_text(40),
                           {"policies": wanted["policies"]}))
        return _ok({**self._shown(key), "value": key.secret})

    @route("GET", "/client/v4/user/tokens")
    def list(self, request):
        self._manager(request)
        request.only_query("page", "per_page")
        page = int(request.query.get("page") or 1)
        size = min(self.page_size, int(request.query.get("per_page") or 20))
        found = list(self.keys.values())
        return _ok([self._shown(key) for key in found[(page - 1) * size:page * size]],
                   result_info={"page": page, "per_page": size, "total_count": len(found),
                                "count": len(found[(page - 1) * size:page * size]),
                                "total_pages": -(-len(found) // size)})

    @route("DELETE", "/client/v4/user/tokens/{key_id}")
    def delete(self, request, key_id):
        self._manager(request)
        if self.keys.pop(key_id, None) is None:
            return _error(404, 1003, "Invalid or missing API token")
        return _ok({"id": key_id})

    @route("PUT", "/client/v4/user/tokens/{key_id}/value")
    def roll(self, request, key_id):
        self._manager(request)
        request.fields({})
        if key_id not in self.keys:
            return _error(404, 1003, "Invalid or missing API token")
        self.keys[key_id].secret = random_text(40)
        return _ok(self.keys[key_id].secret)

    @route("GET", "/client/v4/user/tokens/verify")
    def verify(self, request):
        key = self.find(request.bearer())
        if key is None:
            return _error(401, 1000, "Invalid API Token")
        return _ok({"id": key.id, "status": "active"})
