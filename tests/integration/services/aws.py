# SPDX-License-Identifier: Apache-2.0
"""AWS IAM's access keys and STS, which both speak form and XML and check Signature Version 4. The check
is written from the published algorithm, apart from the code under test.
"""

import datetime
import hashlib
import hmac
import re
import urllib.parse
import xml.sax.saxutils

from services.named_keys import Key, NamedKeyService
from services.web import Answer, Refusal, random_text, route

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([\w-]+)/(\w+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})")


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _quoted(text):
    return urllib.parse.quote(text, safe="-_.~")


class AwsIam(NamedKeyService):
    """Key.id is the access key id; `lag` looks with a new key fail, as they do for some seconds."""
    USER = "ci-deployer"
    REGION = "us-east-1"
    MANAGER = {"access_key_id": "AKIAMANAGER000000001", "secret_access_key": "m" * 40}
    limit = 2
    lag = 2

    def accepts(self, value):
        with self.lock:
            return self.find(value) is not None

    @staticmethod
    def _error(status, code, message):
        return Answer(status, '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
                      f"<Error><Type>Sender</Type><Code>{code}</Code>"
                      f"<Message>{xml.sax.saxutils.escape(message)}</Message></Error>"
                      "<RequestId>1</RequestId></ErrorResponse>")

    @staticmethod
    def _result(action, inner, namespace="https://iam.amazonaws.com/doc/2010-05-08/"):
        result = f"<{action}Result>{inner}</{action}Result>" if inner is not None else ""
        return Answer(200, '<?xml version="1.0" encoding="UTF-8"?>\n'
                      f'<{action}Response xmlns="{namespace}">{result}<ResponseMetadata>'
                      f"<RequestId>2</RequestId></ResponseMetadata></{action}Response>")

    def _signer(self, request, service):
        """The access key id that signed this request."""
        match = _AUTHORIZATION.fullmatch(request.header("Authorization"))
        if not match:
            raise Refusal(self._error(403, "IncompleteSignature", "no signature"), "not signed")
        key_id, day, region, signed_service, names, signature = match.groups()
        stamp = request.header("X-Amz-Date")
        names = names.split(";")
        if names != sorted(names) or not {"host", "x-amz-date"} <= set(names):
            raise Refusal(self._error(403, "SignatureDoesNotMatch", "headers"), "headers unsigned")
        when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(
            tzinfo=datetime.timezone.utc)
        age = abs((datetime.datetime.now(datetime.timezone.utc) - when).total_seconds())
        if (region, signed_service) != (self.REGION, service) or stamp[:8] != day or age > 300:
            raise Refusal(self._error(403, "SignatureDoesNotMatch", "scope"), "another scope")
        if key_id == self.MANAGER["access_key_id"]:
            secret = self.MANAGER["secret_access_key"]
        elif key_id in self.keys:
            secret = self.keys[key_id].secret
        else:
            raise Refusal(self._error(403, "InvalidClientTokenId",
                                      "The security token included in the request is invalid."))
        query = sorted(urllib.parse.parse_qsl(request.raw_query, keep_blank_values=True))
        canonical = "\n".join([
            request.method, urllib.parse.quote(request.path, safe="/-_.~%"),
            "&".join(f"{_quoted(k)}={_quoted(v)}" for k, v in query),
            "".join(f"{name}:{' '.join(request.header(name).split())}\n" for name in names),
            ";".join(names), hashlib.sha256(request.body).hexdigest()])
        scope = f"{day}/{region}/{signed_service}/aws4_request"
        to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope,
                             hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + secret).encode()
        for part in (day, region, signed_service, "aws4_request"):
            key = _hmac(key, part)
        if not hmac.compare_digest(_hmac(key, to_sign).hex(), signature):
            raise Refusal(self._error(403, "SignatureDoesNotMatch",
                                      "The request signature we calculated does not match."),
                          "a wrong signature")
        return key_id

    @route("POST", "/")
    def call(self, request):
        form = request.form()
        action = form.pop("Action", "")
        version = form.pop("Version", "")
        if action == "GetCallerIdentity" and version == "2011-06-15":
            return self._identity(self._signer(request, "sts"))
        signer = self._signer(request, "iam")
        handler = {"CreateAccessKey": self._create, "ListAccessKeys": self._list,
                   "UpdateAccessKey": self._update, "DeleteAccessKey": self._delete}.get(action)
        if handler is None or version != "2010-05-08":
            raise Refusal(self._error(400, "InvalidAction", "unknown"), f"unknown action {action}")
        if signer != self.MANAGER["access_key_id"]:
            return self._error(403, "AccessDenied", "not authorized")
        if form.pop("UserName", None) != self.USER:
            raise Refusal(self._error(404, "NoSuchEntity", "no such user"), "another user")
        return handler(form)

    def _identity(self, signer):
        key = self.keys.get(signer)
        if key is not None and key.more["looks"] < self.lag:
            key.more["looks"] += 1
            return self._error(403, "InvalidClientTokenId",
                               "The security token included in the request is invalid.")
        return self._result("GetCallerIdentity", f"<Arn>arn:aws:iam::123456789012:user/{self.USER}"
                            "</Arn><UserId>AIDA</UserId><Account>123456789012</Account>",
                            "https://sts.amazonaws.com/doc/2011-06-15/")

    def _create(self, form):
        if form:
            raise Refusal(self._error(400, "ValidationError", "parameters"), f"unexpected {form}")
        if len(self.keys) >= self.limit:
            return self._error(409, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
        key = self.add(Key("AKIA" + random_text(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), "",
                           random_text(38) + "/+", {"looks": 0, "status": "Active"}))
        return self._result("CreateAccessKey", f"<AccessKey><UserName>{self.USER}</UserName>"
                            f"<AccessKeyId>{key.id}</AccessKeyId><Status>Active</Status>"
                            f"<SecretAccessKey>{key.secret}</SecretAccessKey>"
                            "<CreateDate>2026-11-22T10:00:00Z</CreateDate></AccessKey>")

    def _list(self, form):
        if set(form) - {"Marker", "MaxItems"}:
            raise Refusal(self._error(400, "ValidationError", "parameters"), f"unexpected {form}")
        members = "".join(
            f"<member><UserName>{self.USER}</UserName><AccessKeyId>{key.id}</AccessKeyId>"
            f"<Status>{key.more['status']}</Status><CreateDate>2026-11-22T10:00:00Z</CreateDate>"
            "</member>" for key in self.keys.values())
        metadata = f"<AccessKeyMetadata>{members}</AccessKeyMetadata>" if members \
            else "<AccessKeyMetadata/>"
        return self._result("ListAccessKeys", f"<UserName>{self.USER}</UserName>{metadata}"
                            "<IsTruncated>false</IsTruncated>")

    def _known(self, form, names):
        if set(form) != names:
            raise Refusal(self._error(400, "ValidationError", "parameters"), f"unexpected {form}")
        key = self.keys.get(form["AccessKeyId"])
        if key is None:
            raise Refusal(self._error(404, "NoSuchEntity",
                                      "The Access Key with id cannot be found."))
        return key

    def _update(self, form):
        self._known(form, {"AccessKeyId", "Status"}).more["status"] = form["Status"]
        return self._result("UpdateAccessKey", None)

    def _delete(self, form):
        del self.keys[self._known(form, {"AccessKeyId"}).id]
        return self._result("DeleteAccessKey", None)
