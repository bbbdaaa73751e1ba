# SPDX-License-Identifier: Apache-2.0
"""Services whose keys carry a name: OpenRouter, LiteLLM proxy, SendGrid, Datadog.

Each answers as its public API reference says; limits and page sizes can be set so that a test meets
them.
"""

import dataclasses
import hashlib

from services.web import Answer, Refusal, Service, random_text, route


@dataclasses.dataclass
class Key:
    id: str
    name: str
    secret: str
    more: dict = dataclasses.field(default_factory=dict)


class NamedKeyService(Service):
    """Keeps keys in the order they were made."""

    def __init__(self):
        super().__init__()
        self.keys = {}
        self.made = []

    def add(self, key):
        self.keys[key.id] = key
        self.made.append(key)
        return key

    def secrets(self):
        """Every secret that this service has given out, for searches where none may be."""
        with self.lock:
            return {key.secret for key in self.made} | set(getattr(self, "access_tokens", ()))

    def add_foreign(self, name):
        """A key that somebody else has made; returns its id."""
        with self.lock:
            return self.add(self._foreign_key(str(9000 + len(self.keys)), name)).id

    @staticmethod
    def _foreign_key(key_id, name):
        return Key(key_id, name, "foreign-" + random_text(40),
                   {"scopes": [], "status": "Active", "looks": 100})

    def live_ids(self):
        with self.lock:
            return set(self.keys)

    def find(self, secret):
        return next((key for key in self.keys.values() if key.secret == secret), None)

    def accepts(self, value):
        with self.lock:
            return self.find(value) is not None


class OpenRouter(NamedKeyService):
    MANAGER = "sk-or-v1-management-" + "0" * 40
    page_size = 2

    def _manager(self, request):
        if request.bearer() != self.MANAGER:
            raise Refusal(Answer(401, {"error": {"code": 401, "message": "User not found."}}))

    @staticmethod
    def _shown(key):
        return {"hash": key.id, "name": key.name, "label": key.secret[:12] + "..." + key.secret[-3:],
                "disabled": False, "limit": key.more.get("limit"), "limit_remaining": None,
                "usage": 0, "created_at": "2026-11-22T10:00:00.000000+00:00", "updated_at": None}

    @route("POST", "/api/v1/keys")
    def create(self, request):
        self._manager(request)
        wanted = request.fields({"name": str}, {"limit": (int, float)})
        secret = "sk-or-v1-" + random_text(64, "0123456789abcdef")
        key = self.add(Key(hashlib.sha256(secret.encode()).hexdigest(), wanted["name"], secret,
                           {"limit": wanted.get("limit")}))
        return Answer(201, {"data": self._shown(key), "key": secret})

    @route("GET", "/api/v1/keys")
    def list(self, request):
        self._manager(request)
        request.only_query("offset", "include_disabled")
        offset = int(request.query.get("offset") or 0)
        page = list(self.keys.values())[offset:offset + self.page_size]
        return Answer(200, {"data": [self._shown(key) for key in page]})

    @route("DELETE", "/api/v1/keys/{hash}")
    def delete(self, request, hash):
        self._manager(request)
        if self.keys.pop(hash, None) is None:
            return Answer(404, {"error": {"code": 404, "message": "API key not found"}})
        return Answer(200, {"deleted": True})

    @route("GET", "/api/v1/key")
    def current(self, request):
        key = self.find(request.bearer())
        if key is None:
            return Answer(401, {"error": {"code": 401, "message": "User not found."}})
        return Answer(200, {"data": self._shown(key)})


class LiteLlm(NamedKeyService):
    MANAGER = "sk-litellm-master"
    page_size = 2

    def _manager(self, request):
        if request.bearer() != self.MANAGER:
            raise Refusal(Answer(401, {"error": {
                "message": "Authentication Error, Invalid proxy server token passed",
                "type": "token_not_found_in_db", "param": "key", "code": "401"}}))

    @route("POST", "/key/generate")
    def create(self, request):
        self._manager(request)
        wanted = request.fields({"key_alias": str}, {"duration": str, "models": list,
                                                     "max_budget": (int, float)})
        if any(key.name == wanted["key_alias"] for key in self.keys.values()):
            return Answer(400, {"error": {"message": "Key with alias already exists.",
                                          "type": "bad_request_error", "code": "400"}})
        secret = "sk-" + random_text(22)
        key = self.add(Key(hashlib.sha256(secret.encode()).hexdigest(), wanted["key_alias"],
                           secret))
        return Answer(200, {"key_alias": key.name, "key": secret, "key_name": "sk-..." + secret[-4:],
                            "token": key.id, "token_id": key.id, "expires": None, "models": []})

    @route("GET", "/key/list")
    def list(self, request):
        self._manager(request)
        request.only_query("page", "size", "return_full_object", "include_team_keys")
        page = int(request.query.get("page") or 1)
        size = min(self.page_size, int(request.query.get("size") or 10))
        found = list(self.keys.values())[(page - 1) * size:page * size]
        if request.query.get("return_full_object") == "true":
            listed = [{"token": key.id, "key_alias": key.name, "key_name": "sk-..." + key.secret[-4:],
                       "blocked": None, "expires": None} for key in found]
        else:
            listed = [key.id for key in found]
        return Answer(200, {"keys": listed, "total_count": len(self.keys), "current_page": page,
                            "total_pages": -(-len(self.keys) // size)})

    @route("POST", "/key/delete")
    def delete(self, request):
        self._manager(request)
        wanted = request.fields({"keys": list})["keys"]
        missing = [name for name in wanted if name not in self.keys]
        if missing:
            return Answer(404, {"error": {"message": "No matching keys found to delete.",
                                          "type": "not_found_error", "code": "404"}})
        for name in wanted:
            del self.keys[name]
        return Answer(200, {"deleted_keys": wanted})

    @route("GET", "/key/info")
    def info(self, request):
        key = self.find(request.bearer())
        if key is None:
            self._manager(request)
            raise Refusal(Answer(422), "the manager asks about itself")
        return Answer(200, {"key": key.id, "info": {"key_alias": key.name, "spend": 0.0}})


class SendGrid(NamedKeyService):
    MANAGER = "SG.manager." + "m" * 40
    limit = 100

    def _manager(self, request):
        if request.bearer() != self.MANAGER:
            raise Refusal(self._error(401, "authorization required"))

    @staticmethod
    def _error(status, message):
        return Answer(status, {"errors": [{"field": None, "message": message}]})

    @route("POST", "/v3/api_keys")
    def create(self, request):
        self._manager(request)
        wanted = request.fields({"name": str}, {"scopes": list},
                                self._error(400, "invalid JSON"))
        if len(self.keys) >= self.limit:
            return self._error(403, "Cannot create more than 100 API Keys")
        key_id = random_text(22)
        key = self.add(Key(key_id, wanted["name"], f"SG.{key_id}.{random_text(43)}",
                           {"scopes": wanted.get("scopes")}))
        return Answer(201, {"api_key": key.secret, "api_key_id": key.id, "name": key.name,
                            "scopes": key.more["scopes"]})

    @route("GET", "/v3/api_keys")
    def list(self, request):
        self._manager(request)
        request.only_query("limit")
        return Answer(200, {"result": [{"name": key.name, "api_key_id": key.id}
                                       for key in self.keys.values()]})

    @route("DELETE", "/v3/api_keys/{key_id}")
    def delete(self, request, key_id):
        self._manager(request)
        request.no_body()
        if self.keys.pop(key_id, None) is None:
            return self._error(404, "unable to find API key")
        return Answer(204)

    @route("GET", "/v3/scopes")
    def scopes(self, request):
        key = self.find(request.bearer())
        if key is None:
            return self._error(401, "authorization required")
        return Answer(200, {"scopes": key.more["scopes"] or []})


class Datadog(NamedKeyService):
    MANAGER = {"api_key": "d" * 32, "application_key": "a" * 40}
    page_size = 2

    def _manager(self, request):
        if (request.header("DD-API-KEY") != self.MANAGER["api_key"]
                or request.header("DD-APPLICATION-KEY") != self.MANAGER["application_key"]):
            raise Refusal(Answer(403, {"errors": ["Forbidden"]}))

    @staticmethod
    def _shown(key):
        return {"type": "api_keys", "id": key.id, "attributes": {
            "name": key.name, "last4": key.secret[-4:], "created_at": "2026-11-22T10:00:00+00:00"}}

    @route("POST", "/api/v2/api_keys")
    def create(self, request):
        self._manager(request)
        data = request.fields({"data": dict})["data"]
        if set(data) != {"type", "attributes"} or data["type"] != "api_keys" \
                or set(data["attributes"]) != {"name"}:
            raise Refusal(Answer(400, {"errors": ["Bad Request"]}), "not the documented body")
        key_id = "-".join(random_text(n, "0123456789abcdef") for n in (8, 4, 4, 4, 12))
        key = self.add(Key(key_id, data["attributes"]["name"], random_text(32, "0123456789abcdef")))
        shown = self._shown(key)
        shown["attributes"]["key"] = key.secret
        return Answer(201, {"data": shown})

    @route("GET", "/api/v2/api_keys")
    def list(self, request):
        self._manager(request)
        request.only_query("page[size]", "page[number]", "filter")
        size = min(self.page_size, int(request.query.get("page[size]") or 10))
        number = int(request.query.get("page[number]") or 0)
        found = list(self.keys.values())
        return Answer(200, {
            "data": [self._shown(key) for key in found[number * size:(number + 1) * size]],
            "meta": {"max_allowed": 50, "page": {"total_filtered_count": len(found)}}})

    @route("DELETE", "/api/v2/api_keys/{key_id}")
    def delete(self, request, key_id):
        self._manager(request)
        if self.keys.pop(key_id, None) is None:
            return Answer(404, {"errors": ["API key not found"]})
        return Answer(204)

    @route("GET", "/api/v1/validate")
    def validate(self, request):
        if self.find(request.header("DD-API-KEY")) is None:
            return Answer(403, {"errors": ["Forbidden"]})
        return Answer(200, {"valid": True})
