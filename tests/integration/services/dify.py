# SPDX-License-Identifier: Apache-2.0
"""Keys of Dify's datasets, as its console API of version 1.x serves them to the admin key."""

from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route


class DifyDatasets(NamedKeyService):
    MANAGER = "dify-admin-key"
    WORKSPACE = "77ab0000-0000-0000-0000-000000000001"
    limit = 10

    def _manager(self, request):
        if request.header("Cookie"):
            raise Refusal(Answer(401), "a cookie, which shadows the admin key")
        if request.bearer() != self.MANAGER or request.header("X-WORKSPACE-ID") != self.WORKSPACE:
            raise Refusal(Answer(401, {"code": "unauthorized", "message": "Invalid token",
                                       "status": 401}))

    @staticmethod
    def _shown(key):
        return {"id": key.id, "type": "dataset", "token": key.secret, "last_used_at": None,
                "created_at": 1795000000}

    @route("POST", "/console/api/datasets/api-keys")
    def create(self, request):
        self._manager(request)
        request.no_body()
        if len(self.keys) >= self.limit:
            return Answer(400, {"code": "max_keys_exceeded", "status": 400, "message":
                                "Cannot create more than 10 API keys for this resource type."})
        key_id = "-".join(random_text(n, "0123456789abcdef") for n in (8, 4, 4, 4, 12))
        return Answer(200, self._shown(self.add(Key(key_id, "", "dataset-" + random_text(24)))))

    @route("GET", "/console/api/datasets/api-keys")
    def list(self, request):
        self._manager(request)
        request.only_query()
        return Answer(200, {"data": [self._shown(key) for key in self.keys.values()]})

    @route("DELETE", "/console/api/datasets/api-keys/{key_id}")
    def delete(self, request, key_id):
        self._manager(request)
        if self.keys.pop(key_id, None) is None:
            return Answer(404, {"code": "not_found", "message": "API key not found", "status": 404})
        return Answer(204)

    @route("GET", "/v1/datasets")
    def datasets(self, request):
        request.only_query("page", "limit")
        if self.find(request.bearer()) is None:
            return Answer(401, {"code": "unauthorized", "message": "Access token is invalid",
                                "status": 401})
        return Answer(200, {"data": [], "has_more": False, "limit": 1, "total": 0, "page": 1})
