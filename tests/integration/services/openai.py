# SPDX-License-Identifier: Apache-2.0
"""OpenAI's administration API: admin keys and service accounts of a project, each made with a key."""

from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route


def _error(status, kind, code, message):
    return Answer(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


class OpenAi(NamedKeyService):
    """`accounts` decides what live_ids() are: service accounts or admin keys."""
    MANAGER = "sk-admin-manager-" + "0" * 30
    PROJECT = "proj_abc123"
    page_size = 2

    def _manager(self, request):
        token = request.bearer()
        if token != self.MANAGER and not (token.startswith("sk-admin-") and self.find(token)):
            raise Refusal(_error(401, "invalid_request_error", "invalid_api_key",
                                 "Incorrect API key provided"))

    def _page(self, request, shown):
        request.only_query("after", "limit", "order")
        keys = list(self.keys.values())
        after = request.query.get("after")
        if after:
            position = next((i for i, key in enumerate(keys) if key.id == after), None)
            if position is None:
                return _error(404, "invalid_request_error", "not_found", "no such cursor")
            keys = keys[position + 1:]
        size = min(self.page_size, int(request.query.get("limit") or 20))
        page = keys[:size]
        return Answer(200, {"object": "list", "data": [shown(key) for key in page],
                            "first_id": page[0].id if page else None,
                            "last_id": page[-1].id if page else None,
                            "has_more": len(keys) > size})

    def _delete(self, key_id, kind):
        if self.keys.pop(key_id, None) is None:
            return _error(404, "invalid_request_error", None, "No such object")
        return Answer(200, {"object": kind, "id": key_id, "deleted": True})

    @route("GET", "/v1/models")
    def models(self, request):
        request.only_query()
        if self.find(request.bearer()) is None:
            return _error(401, "invalid_request_error", "invalid_api_key",
                          "Incorrect API key provided")
        return Answer(200, {"object": "list", "data": []})


class OpenAiServiceAccounts(OpenAi):
    @staticmethod
    def _shown(key):
        return {"object": "organization.project.service_account", "id": key.id, "name": key.name,
                "role": "member", "created_at": 1795000000}

    def _project(self, request, project):
        self._manager(request)
        if project != self.PROJECT:
            raise Refusal(_error(404, "invalid_request_error", None, "No such project"),
                          "an unknown project")

    @route("POST", "/v1/organization/projects/{project}/service_accounts")
    def create(self, request, project):
        self._project(request, project)
        name = request.fields({"name": str}, {"create_service_account_only": bool})["name"]
        key = self.add(Key("svc_acct_" + random_text(24), name, "sk-svcacct-" + random_text(60)))
        return Answer(200, {**self._shown(key), "api_key": {
            "object": "organization.project.service_account.api_key", "value": key.secret,
            "name": "Secret Key", "created_at": 1795000000, "id": "key_" + random_text(16)}})

    @route("GET", "/v1/organization/projects/{project}/service_accounts")
    def list(self, request, project):
        self._project(request, project)
        return self._page(request, self._shown)

    @route("DELETE", "/v1/organization/projects/{project}/service_accounts/{account}")
    def delete(self, request, project, account):
        self._project(request, project)
        return self._delete(account, "organization.project.service_account.deleted")


class OpenAiAdminKeys(OpenAi):
    @staticmethod
    def _shown(key):
        return {"object": "organization.admin_api_key", "id": key.id, "name": key.name,
                "redacted_value": key.secret[:10] + "..." + key.secret[-3:],
                "created_at": 1795000000, "expires_at": key.more.get("expires_at"),
                "last_used_at": None, "owner": {"type": "user", "id": "user-1", "role": "owner"}}

    @route("POST", "/v1/organization/admin_api_keys")
    def create(self, request):
        self._manager(request)
        wanted = request.fields({"name": str}, {"expires_in_seconds": int})
        key = self.add(Key("key_" + random_text(16), wanted["name"],
                           "sk-admin-" + random_text(60)))
        return Answer(200, {**self._shown(key), "value": key.secret})

    @route("GET", "/v1/organization/admin_api_keys")
    def list(self, request):
        self._manager(request)
        return self._page(request, self._shown)

    @route("DELETE", "/v1/organization/admin_api_keys/{key_id}")
    def delete(self, request, key_id):
        self._manager(request)
        return self._delete(key_id, "organization.admin_api_key.deleted")
