# SPDX-License-Identifier: Apache-2.0
"""Google: API keys (made by a long-running operation, soft-deleted), keys of a service account, and
the token endpoint, which takes a JWT that the manager's key signs.
"""

import base64
import json

from services.jwt_keys import JwtError, KeyPair
from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_UUID = (8, 4, 4, 4, 12)


def _error(status, name, message, reason=None):
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason,
                "domain": "googleapis.com"}] if reason else []
    return Answer(status, {"error": {"code": status, "message": message, "status": name,
                                     "details": details}})


class GoogleTokens(NamedKeyService):
    """The token endpoint. A test's `manager` is the JSON document of a service account."""
    ACCOUNT = "keyturn@acme-prod.iam.gserviceaccount.com"

    def __init__(self):
        super().__init__()
        self.key_pair = KeyPair()
        self.access_tokens = set()

    @property
    def manager(self):
        return {"type": "service_account", "project_id": "acme-prod",
                "private_key_id": "0123456789abcdef", "private_key": self.key_pair.pem(),
                "client_email": self.ACCOUNT, "token_uri": self.url + "/token"}

    @route("POST", "/token")
    def token(self, request):
        form = request.form()
        if form.get("grant_type") != _JWT_BEARER:
            raise Refusal(Answer(400, {"error": "unsupported_grant_type"}), "another grant")
        try:
            claims = self.key_pair.claims_of(form.get("assertion", ""))
        except JwtError as error:
            raise Refusal(Answer(400, {"error": "invalid_grant", "error_description":
                                       "Invalid JWT Signature."}), str(error)) from error
        if claims.get("iss") != self.ACCOUNT or claims.get("aud") != self.url + "/token":
            raise Refusal(Answer(400, {"error": "invalid_grant"}), "another issuer or audience")
        if "https://www.googleapis.com/auth/cloud-platform" not in claims.get("scope", "").split():
            raise Refusal(Answer(400, {"error": "invalid_scope"}), "no scope")
        token = "ya29." + random_text(60)
        self.access_tokens.add(token)
        return Answer(200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _manager(self, request):
        if request.bearer() not in self.access_tokens:
            raise Refusal(_error(401, "UNAUTHENTICATED", "Request had invalid authentication "
                                 "credentials.", "ACCESS_TOKEN_INVALID"))


class Gemini(GoogleTokens):
    """`polls_needed`: how many looks at an operation find it not done yet."""
    PROJECT = "acme-prod"
    polls_needed = 2
    page_size = 300
    _KEYS = "/v2/projects/{project}/locations/global/keys"

    def __init__(self):
        super().__init__()
        self.operations = {}
        self.pending = {}

    def _project(self, request, project):
        self._manager(request)
        if project != self.PROJECT:
            raise Refusal(_error(403, "PERMISSION_DENIED", "no such project"), "another project")

    def _shown(self, key):
        return {"name": f"projects/1234/locations/global/keys/{key.id}", "uid": key.id,
                "displayName": key.name, "createTime": "2026-11-22T10:00:00.000000Z",
                "etag": "W/\"x\"", **({"restrictions": key.more["restrictions"]}
                                      if key.more.get("restrictions") else {})}

    @route("POST", _KEYS)
    def create(self, request, project):
        self._project(request, project)
        request.only_query("keyId")
        wanted = request.fields({"displayName": str}, {"restrictions": dict})
        key_id = request.query.get("keyId") or "-".join(
            random_text(n, "0123456789abcdef") for n in _UUID)
        if key_id in self.keys:
            return _error(409, "ALREADY_EXISTS", "Requested entity already exists")
        name = "operations/akmf.p7-1234-" + random_text(12)
        key = Key(key_id, wanted["displayName"], "AIzaSy" + random_text(33),
                  {"restrictions": wanted.get("restrictions")})
        self.pending[key_id] = [key, self.polls_needed]
        self.operations[name.split("/")[1]] = key
        return Answer(200, {"name": name})

    def _settle(self):
        """Time passes at this service whenever somebody looks at it."""
        for key_id, (key, looks) in list(self.pending.items()):
            if looks == 0:
                self.add(key)
                del self.pending[key_id]
            else:
                self.pending[key_id][1] -= 1

    @route("GET", "/v2/operations/{operation}")
    def operation(self, request, operation):
        self._manager(request)
        if operation not in self.operations:
            return _error(404, "NOT_FOUND", "no such operation")
        self._settle()
        key = self.operations[operation]
        if key.id in self.pending:
            return Answer(200, {"name": f"operations/{operation}"})
        return Answer(200, {"name": f"operations/{operation}", "done": True, "response": {
            "@type": "type.googleapis.com/google.api.apikeys.v2.Key", **self._shown(key)}})

    @route("GET", _KEYS)
    def list(self, request, project):
        self._project(request, project)
        request.only_query("pageSize", "pageToken", "showDeleted")
        self._settle()
        start = int(request.query.get("pageToken") or 0)
        size = min(self.page_size, int(request.query.get("pageSize") or 50))
        found = list(self.keys.values())
        body = {"keys": [self._shown(key) for key in found[start:start + size]]} \
            if found[start:start + size] else {}
        if start + size < len(found):
            body["nextPageToken"] = str(start + size)
        return Answer(200, body)

    @route("GET", _KEYS + "/{key}/keyString")
    def key_string(self, request, project, key):
        self._project(request, project)
        self._settle()
        if key not in self.keys:
            return _error(404, "NOT_FOUND", "Requested entity was not found")
        return Answer(200, {"keyString": self.keys[key].secret})

    @route("DELETE", _KEYS + "/{key}")
    def delete(self, request, project, key):
        self._project(request, project)
        request.only_query("etag")
        if self.keys.pop(key, None) is None:
            return _error(404, "NOT_FOUND", "Requested entity was not found")
        return Answer(200, {"name": "operations/akmf.p7-1234-" + random_text(12), "done": True})

    @route("GET", "/v1beta/models")
    def models(self, request):
        if self.find(request.header("x-goog-api-key")) is None:
            return _error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.",
                          "API_KEY_INVALID")
        return Answer(200, {"models": []})


class GcpServiceAccountKeys(GoogleTokens):
    EMAIL = "app@acme-prod.iam.gserviceaccount.com"
    limit = 10
    _KEYS = "/v1/projects/-/serviceAccounts/{email}/keys"

    def _account(self, request, email):
        self._manager(request)
        if email != self.EMAIL:
            raise Refusal(_error(404, "NOT_FOUND", "Unknown service account"), "another account")

    def _name(self, key):
        return f"projects/acme-prod/serviceAccounts/{self.EMAIL}/keys/{key.id}"

    def accepts(self, value):
        with self.lock:
            return json.loads(value)["private_key_id"] in self.keys

    @route("POST", _KEYS)
    def create(self, request, email):
        self._account(request, email)
        if request.body:
            request.fields({}, {"privateKeyType": str, "keyAlgorithm": str})
        if len(self.keys) >= self.limit:
            return _error(429, "RESOURCE_EXHAUSTED", "Maximum number of keys on account reached.")
        key = self.add(Key(random_text(40, "0123456789abcdef"), "", ""))
        document = {"type": "service_account", "project_id": "acme-prod", "private_key_id": key.id,
                    "private_key": "-----BEGIN PRIVATE KEY-----\n" + random_text(1600) +
                                   "\n-----END PRIVATE KEY-----\n",
                    "client_email": email, "client_id": "1", "token_uri": self.url + "/token"}
        key.secret = json.dumps(document, indent=2) + "\n"
        return Answer(200, {"name": self._name(key), "keyType": "USER_MANAGED", "keyOrigin":
                            "GOOGLE_PROVIDED", "privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE",
                            "privateKeyData": base64.b64encode(key.secret.encode()).decode(),
                            "validAfterTime": "2026-11-22T10:00:00Z",
                            "validBeforeTime": "9999-12-31T23:59:59Z"})

    @route("GET", _KEYS)
    def list(self, request, email):
        self._account(request, email)
        request.only_query("keyTypes")
        keys = [{"name": self._name(key), "keyType": "USER_MANAGED",
                 "validAfterTime": "2026-11-22T10:00:00Z"} for key in self.keys.values()]
        if request.query.get("keyTypes") != "USER_MANAGED":
            keys.append({"name": f"projects/acme-prod/serviceAccounts/{email}/keys/system",
                         "keyType": "SYSTEM_MANAGED"})
        return Answer(200, {"keys": keys} if keys else {})

    @route("DELETE", _KEYS + "/{key}")
    def delete(self, request, email, key):
        self._account(request, email)
        if self.keys.pop(key, None) is None:
            return _error(404, "NOT_FOUND", "Service account key does not exist.")
        return Answer(200, {})
