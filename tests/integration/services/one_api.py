# SPDX-License-Identifier: Apache-2.0
"""One API and new-api: tokens of a user. Failure is a 200 with `success: false`; One API's lists show
whole keys without their `sk-`, new-api's create shows none at all.
"""

from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route


class OneApi(NamedKeyService):
    MANAGER = "f" * 32
    page_size = 2  # 10 at the real one
    name_max = 30

    def __init__(self):
        super().__init__()
        self.next_id = 100

    def _manager(self, request):
        token = request.header("Authorization")
        if not token:
            raise Refusal(Answer(401, {"success": False, "message": "not logged in"}))
        if token != self.MANAGER:
            raise Refusal(Answer(200, {"success": False, "message": "access token invalid"}))

    def _accept(self, wanted):
        if len(wanted["name"]) > self.name_max:
            raise Refusal(Answer(200, {"success": False, "message": "name too long"}),
                          "a name that is too long")
        self.next_id += 1
        return self.add(Key(str(self.next_id), wanted["name"], "sk-" + random_text(48)))

    @staticmethod
    def _shown(key):
        return {"id": int(key.id), "user_id": 1, "key": key.secret[3:], "status": 1,
                "name": key.name, "created_time": 1795000000, "expired_time": -1,
                "remain_quota": 0, "unlimited_quota": True, "used_quota": 0}

    _FIELDS = ({"name": str, "expired_time": int, "remain_quota": int, "unlimited_quota": bool},
               {"models": str, "subnet": str})

    @route("POST", "/api/token/")
    def create(self, request):
        self._manager(request)
        key = self._accept(request.fields(*self._FIELDS))
        return Answer(200, {"success": True, "message": "", "data": self._shown(key)})

    @route("GET", "/api/token/")
    def list(self, request):
        self._manager(request)
        request.only_query("p")
        page = int(request.query.get("p") or 0)
        found = list(self.keys.values())[page * self.page_size:(page + 1) * self.page_size]
        return Answer(200, {"success": True, "message": "",
                            "data": [self._shown(key) for key in found]})

    @route("DELETE", "/api/token/{key_id}")
    def delete(self, request, key_id):
        self._manager(request)
        if self.keys.pop(key_id, None) is None:
            return Answer(200, {"success": False, "message": "record not found"})
        return Answer(200, {"success": True, "message": ""})

    @route("GET", "/v1/models")
    def models(self, request):
        if self.find(request.bearer()) is None:
            return Answer(401, {"error": {"message": "invalid token (request id: 2026)",
                                          "type": "one_api_error"}})
        return Answer(200, {"object": "list", "data": [{"id": "gpt-4o-mini"}]})


class NewApi(OneApi):
    USER = "1"
    page_size = 2
    name_max = 50

    def _manager(self, request):
        if request.header("New-Api-User") != self.USER:
            raise Refusal(Answer(401, {"success": False, "message": "New-Api-User missing"}),
                          "no New-Api-User")
        super()._manager(request)

    @staticmethod
    def _shown(key):
        return {**OneApi._shown(key), "key": key.secret[3:7] + "**********" + key.secret[-4:]}

    @route("POST", "/api/token/")
    def create(self, request):
        self._manager(request)
        self._accept(request.fields(*self._FIELDS))
        return Answer(200, {"success": True, "message": ""})

    def _page(self, request, found):
        page = int(request.query.get("p") or 1)
        size = min(self.page_size, int(request.query.get("page_size") or 10))
        items = found[(page - 1) * size:page * size]
        return Answer(200, {"success": True, "message": "", "data": {
            "page": page, "page_size": size, "total": len(found),
            "items": [self._shown(key) for key in items]}})

    @route("GET", "/api/token/")
    def list(self, request):
        self._manager(request)
        request.only_query("p", "page_size")
        return self._page(request, list(self.keys.values()))

    @route("GET", "/api/token/search")
    def search(self, request):
        self._manager(request)
        request.only_query("keyword", "p", "page_size")
        keyword = request.query.get("keyword", "")
        return self._page(request, [k for k in self.keys.values() if keyword in k.name])

    @route("POST", "/api/token/{key_id}/key")
    def reveal(self, request, key_id):
        self._manager(request)
        request.no_body()
        if key_id not in self.keys:
            return Answer(200, {"success": False, "message": "record not found"})
        return Answer(200, {"success": True, "message": "",
                            "data": {"key": self.keys[key_id].secret[3:]}})
