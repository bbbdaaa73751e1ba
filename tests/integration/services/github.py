# SPDX-License-Identifier: Apache-2.0
"""Installation tokens of a GitHub App: asked for with a JWT that the app's private key signs, an hour
long, shown by no list, ended by themselves.
"""

import datetime

from services.jwt_keys import JwtError, KeyPair
from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route


class GitHubApp(NamedKeyService):
    APP_ID = "123456"
    INSTALLATION = "987654"
    lifetime = datetime.timedelta(hours=1)

    def __init__(self):
        super().__init__()
        self.key_pair = KeyPair()

    @property
    def manager(self):
        return self.key_pair.pkcs1_pem()  # the form in which GitHub gives it out

    def live_ids(self):
        """Values, for GitHub gives these tokens no ids."""
        with self.lock:
            return {key.secret for key in self.keys.values()}

    def _app(self, request):
        try:
            claims = self.key_pair.claims_of(request.bearer())
        except JwtError as error:
            raise Refusal(Answer(401, {"message": "A JSON web token could not be decoded"}),
                          str(error)) from error
        if str(claims.get("iss")) != self.APP_ID:
            raise Refusal(Answer(401, {"message": "'Issuer' claim ('iss') must be an Integer"}),
                          "another issuer")
        if claims["exp"] - claims["iat"] > 11 * 60:
            raise Refusal(Answer(401, {"message": "'Expiration time' claim ('exp') is too far in "
                                                  "the future"}), "a JWT that lives too long")

    @route("POST", "/app/installations/{installation}/access_tokens")
    def create(self, request, installation):
        self._app(request)
        if installation != self.INSTALLATION:
            return Answer(404, {"message": "Not Found"})
        if request.body:
            request.fields({}, {"repositories": list, "repository_ids": list, "permissions": dict})
        key = self.add(Key(random_text(8), "", "ghs_" + random_text(36)))
        expires = datetime.datetime.now(datetime.timezone.utc) + self.lifetime
        return Answer(201, {"token": key.secret, "permissions": {"contents": "read"},
                            "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                            "repository_selection": "all"})

    def _token(self, request):
        scheme, _, token = request.header("Authorization").partition(" ")
        key = self.find(token) if scheme in ("Bearer", "token") else None
        if key is None:
            raise Refusal(Answer(401, {"message": "Bad credentials",
                                       "documentation_url": "https://docs.github.com/rest"}))
        return key

    @route("GET", "/installation/repositories")
    def repositories(self, request):
        self._token(request)
        request.only_query("per_page", "page")
        return Answer(200, {"total_count": 0, "repositories": []})

    @route("DELETE", "/installation/token")
    def revoke(self, request):
        del self.keys[self._token(request).id]
        return Answer(204)
