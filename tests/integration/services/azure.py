# SPDX-License-Identifier: Apache-2.0
"""Azure: the two keys of an OpenAI account through Resource Manager, the secrets of an application
through Graph, and the token endpoint of the directory, which both the manager and the application's own
secret go to.
"""

import dataclasses
import datetime
import urllib.parse

from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route


class Directory(NamedKeyService):
    """The token endpoint. `manager_id` and `manager_secret` are the client the agent manages with."""
    TENANT = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
    manager_id = "11112222-bbbb-3333-cccc-4444dddd5555"
    manager_secret = "manager~client~secret~0123456789"
    scope = ""

    def __init__(self):
        super().__init__()
        self.access_tokens = set()

    def application_accepts(self, client_id, secret):
        """Whether this is another client of the directory with its secret."""
        raise NotImplementedError

    @route("POST", "/aaaabbbb-0000-cccc-1111-dddd2222eeee/oauth2/v2.0/token")
    def token(self, request):
        form = request.form()
        if form.get("grant_type") != "client_credentials" or not form.get("scope"):
            raise Refusal(Answer(400, {"error": "invalid_request"}), "not client_credentials")
        # RFC 6749 section 2.3.1 has both form-encoded within Basic.
        user, password = map(urllib.parse.unquote_plus, request.basic())
        client, secret = form.get("client_id", user), form.get("client_secret", password)
        is_manager = (client, secret) == (self.manager_id, self.manager_secret)
        if not is_manager and not self.application_accepts(client, secret):
            return Answer(401, {"error": "invalid_client", "error_codes": [7000215],
                                "error_description": "AADSTS7000215: Invalid client secret provided."})
        token = "eyJ" + random_text(60)
        if is_manager and form["scope"] == self.scope:
            self.access_tokens.add(token)
        return Answer(200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599,
                            "access_token": token})

    def _manager(self, request):
        if request.bearer() not in self.access_tokens:
            raise Refusal(Answer(401, {"error": {"code": "InvalidAuthenticationToken",
                                                 "message": "Access token is invalid."}}))


class AzureOpenAi(Directory):
    SUBSCRIPTION = "00001111-aaaa-2222-bbbb-3333cccc4444"
    GROUP = "ml-prod"
    ACCOUNT = "contoso-openai"
    scope = "https://management.azure.com/.default"
    _ACCOUNT_PATH = ("/subscriptions/{subscription}/resourceGroups/{group}/providers"
                     "/Microsoft.CognitiveServices/accounts/{account}")

    def __init__(self):
        super().__init__()
        self.slots = {"Key1": random_text(84), "Key2": random_text(84)}
        self.given = set(self.slots.values())

    def secrets(self):
        return super().secrets() | self.given

    def application_accepts(self, client_id, secret):
        return False

    def live_ids(self):
        return set(self.slots)

    def accepts(self, value):
        with self.lock:
            return value in self.slots.values()

    def _arm(self, request, subscription, group, account):
        self._manager(request)
        if request.query != {"api-version": "2024-10-01"}:
            raise Refusal(Answer(400, {"error": {"code": "MissingApiVersionParameter"}}),
                          "no api-version")
        if (subscription, group, account) != (self.SUBSCRIPTION, self.GROUP, self.ACCOUNT):
            raise Refusal(Answer(404, {"error": {"code": "ResourceNotFound"}}), "another account")

    def _both(self):
        return Answer(200, {"key1": self.slots["Key1"], "key2": self.slots["Key2"]})

    @route("POST", _ACCOUNT_PATH + "/regenerateKey")
    def regenerate(self, request, **where):
        self._arm(request, **where)
        name = request.fields({"keyName": str})["keyName"]
        if name not in self.slots:
            raise Refusal(Answer(400, {"error": {"code": "InvalidKeyName"}}), "an unknown slot")
        self.slots[name] = random_text(84)
        self.given.add(self.slots[name])
        return self._both()

    @route("POST", _ACCOUNT_PATH + "/listKeys")
    def list_keys(self, request, **where):
        self._arm(request, **where)
        request.no_body()
        return self._both()

    @route("GET", "/openai/models")
    def models(self, request):
        if "api-version" not in request.query:
            raise Refusal(Answer(404, {"error": {"code": "404"}}), "no api-version")
        if not self.accepts(request.header("api-key")):
            return Answer(401, {"error": {"code": "401", "message": "Access denied due to invalid "
                                          "subscription key or wrong API endpoint."}})
        return Answer(200, {"object": "list", "data": []})


@dataclasses.dataclass
class _Secret(Key):
    expires: str = ""


class AzureApp(Directory):
    OBJECT = "22223333-cccc-4444-dddd-5555eeee6666"
    CLIENT = "33334444-dddd-5555-eeee-6666ffff7777"
    scope = "https://graph.microsoft.com/.default"

    @staticmethod
    def _foreign_key(key_id, name):
        return _Secret(key_id, name, "foreign-" + random_text(30), expires="2028-11-22T10:00:00Z")

    def application_accepts(self, client_id, secret):
        return client_id == self.CLIENT and self.find(secret) is not None

    def _application(self, request, application):
        self._manager(request)
        if application != self.OBJECT:
            raise Refusal(Answer(404, {"error": {"code": "Request_ResourceNotFound"}}),
                          "another application")

    @staticmethod
    def _shown(key):
        return {"keyId": key.id, "displayName": key.name, "hint": key.secret[:3],
                "startDateTime": "2026-11-22T10:00:00Z", "endDateTime": key.expires,
                "secretText": None, "customKeyIdentifier": None}

    @route("POST", "/v1.0/applications/{application}/addPassword")
    def add_password(self, request, application):
        self._application(request, application)
        wanted = request.fields({"passwordCredential": dict})["passwordCredential"]
        if not set(wanted) <= {"displayName", "endDateTime"}:
            raise Refusal(Answer(400, {"error": {"code": "Request_BadRequest"}}), "other members")
        expires = wanted.get("endDateTime") or "2028-11-22T10:00:00Z"
        datetime.datetime.fromisoformat(expires.replace("Z", "+00:00"))
        key_id = "-".join(random_text(n, "0123456789abcdef") for n in (8, 4, 4, 4, 12))
        key = self.add(_Secret(key_id, wanted.get("displayName", ""), random_text(3) + "8Q~" +
                               random_text(34), expires=expires))
        return Answer(200, {**self._shown(key), "secretText": key.secret})

    @route("POST", "/v1.0/applications/{application}/removePassword")
    def remove_password(self, request, application):
        self._application(request, application)
        key_id = request.fields({"keyId": str})["keyId"]
        if self.keys.pop(key_id, None) is None:
            return Answer(400, {"error": {"code": "Request_BadRequest", "message":
                                "No password credential found with keyId '%s'." % key_id}})
        return Answer(204)

    @route("GET", "/v1.0/applications/{application}")
    def application(self, request, application):
        self._application(request, application)
        request.only_query("$select")
        return Answer(200, {"id": self.OBJECT, "passwordCredentials":
                            [self._shown(key) for key in self.keys.values()]})
