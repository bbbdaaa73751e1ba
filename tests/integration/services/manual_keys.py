# SPDX-License-Identifier: Apache-2.0
"""Services whose keys only a person can make: Anthropic, which can deactivate them by API, HolySheep
and DeepSeek, which cannot. `issue()` is what the person does in the console.
"""

from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route


class Anthropic(NamedKeyService):
    MANAGER = "sk-ant-admin01-" + "m" * 40
    page_size = 2

    def issue(self, name="console"):
        with self.lock:
            secret = "sk-ant-api03-" + random_text(80) + "AA"
            key = Key("apikey_" + random_text(24), name, secret, {"status": "active"})
            return self.add(key).secret

    def status_of(self, secret):
        with self.lock:
            return self.find(secret).more["status"]

    def live_ids(self):
        with self.lock:
            return {key.id for key in self.keys.values() if key.more["status"] == "active"}

    def accepts(self, value):
        with self.lock:
            key = self.find(value)
            return key is not None and key.more["status"] == "active"

    @staticmethod
    def _error(status, kind, message):
        return Answer(status, {"type": "error", "error": {"type": kind, "message": message},
                               "request_id": "req_0"})

    def _headers(self, request):
        if request.header("anthropic-version") != "2023-06-01":
            raise Refusal(self._error(400, "invalid_request_error",
                                      "anthropic-version: header is required"), "no version")

    def _manager(self, request):
        self._headers(request)
        if request.header("X-Api-Key") != self.MANAGER:
            raise Refusal(self._error(401, "authentication_error", "invalid x-api-key"))

    @staticmethod
    def _shown(key):
        return {"type": "api_key", "id": key.id, "name": key.name, "status": key.more["status"],
                "partial_key_hint": f"{key.secret[:16]}...{key.secret[-4:]}", "workspace_id": None,
                "created_at": "2026-11-22T10:00:00Z", "expires_at": None,
                "created_by": {"id": "user_1", "type": "user"}}

    @route("GET", "/v1/organizations/api_keys")
    def list(self, request):
        self._manager(request)
        request.only_query("after_id", "before_id", "limit", "status", "workspace_id")
        keys = [key for key in self.keys.values()
                if request.query.get("status") in (None, key.more["status"])]
        after = request.query.get("after_id")
        if after:
            keys = keys[[key.id for key in keys].index(after) + 1:]
        size = min(self.page_size, int(request.query.get("limit") or 20))
        page = keys[:size]
        return Answer(200, {"data": [self._shown(key) for key in page],
                            "has_more": len(keys) > size,
                            "first_id": page[0].id if page else None,
                            "last_id": page[-1].id if page else None})

    @route("POST", "/v1/organizations/api_keys/{key_id}")
    def update(self, request, key_id):
        self._manager(request)
        key = self.keys.get(key_id)
        if key is None:
            return self._error(404, "not_found_error", "api key not found")
        status = request.fields({"status": str})["status"]
        if status not in ("active", "inactive", "archived"):
            raise Refusal(self._error(400, "invalid_request_error", "status"), "a bad status")
        if key.more["status"] == "archived":
            return self._error(400, "invalid_request_error", "api key is archived")
        if status == "archived" and key.more["status"] == "active":
            raise Refusal(self._error(400, "invalid_request_error", "api key is active"),
                          "archived before it was inactive")
        key.more["status"] = status
        return Answer(200, self._shown(key))

    @route("GET", "/v1/models")
    def models(self, request):
        self._headers(request)
        if not self.accepts(request.header("X-Api-Key")):
            return self._error(401, "authentication_error", "invalid x-api-key")
        return Answer(200, {"data": [], "has_more": False, "first_id": None, "last_id": None})


class _WithoutKeyApi(NamedKeyService):
    prefix = ""
    length = 32

    def issue(self):
        with self.lock:
            secret = self.prefix + random_text(self.length, "0123456789abcdef")
            return self.add(Key(str(len(self.keys) + 1), "console", secret)).secret

    def withdraw(self, secret):
        """What the person does in the console at the end."""
        with self.lock:
            del self.keys[self.find(secret).id]


class HolySheep(_WithoutKeyApi):
    prefix = "hs-"

    @route("GET", "/v1/models")
    def models(self, request):
        if self.find(request.bearer()) is None:
            return Answer(401, {"error": {"message": "invalid api key", "type": "invalid_request_error",
                                          "param": None, "code": "invalid_api_key"}})
        return Answer(200, {"object": "list", "data": []})


class DeepSeek(_WithoutKeyApi):
    """`broke`: the account has no balance, which is no reason to call its key dead."""
    prefix = "sk-"
    broke = False

    @route("GET", "/user/balance")
    def balance(self, request):
        if self.find(request.bearer()) is None:
            return Answer(401, {"error": {"message": "Authentication Fails", "code":
                                          "invalid_request_error", "param": None,
                                          "type": "authentication_error"}})
        if self.broke:
            return Answer(402, {"error": {"message": "Insufficient Balance", "code":
                                          "invalid_request_error", "param": None,
                                          "type": "unknown_error"}})
        return Answer(200, {"is_available": True, "balance_infos": []})
