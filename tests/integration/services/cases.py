# SPDX-License-Identifier: Apache-2.0
"""How each shipped recipe is used with its stand-in: the provider's parameters, what the manager
credential holds, and which requests make, try, list and end a key, so that faults can hit them.
"""

import dataclasses
import json

from services.aws import AwsIam
from services.azure import AzureApp, AzureOpenAi
from services.cloudflare import Cloudflare
from services.dify import DifyDatasets
from services.github import GitHubApp
from services.gitlab import GitLab
from services.google import GcpServiceAccountKeys, Gemini
from services.manual_keys import Anthropic, DeepSeek, HolySheep
from services.named_keys import Datadog, LiteLlm, OpenRouter, SendGrid
from services.one_api import NewApi, OneApi
from services.openai import OpenAiAdminKeys, OpenAiServiceAccounts


@dataclasses.dataclass
class Case:
    """`params`, `manager` and `issue` are made by functions of the running service. `manager` gives
    a text, a dict of fields, or None; `oauth` gives the scope when the manager is an OAuth token."""
    recipe: str
    service_class: type
    params: object = staticmethod(lambda service: {})
    manager: object = staticmethod(lambda service: service.MANAGER)
    oauth: bool = False
    exclusive: bool = False
    # (method, path, text in the body) of the requests that faults hit; None: there is none.
    create: tuple = None
    list: tuple = None
    verify: tuple = None
    revoke: tuple = None
    # Whether a lost reply to create can be cleaned up, and whether the service lists keys by id.
    recovers: bool = True
    ids: bool = True


def _azure_openai(service):
    return {"subscription_id": service.SUBSCRIPTION, "resource_group": service.GROUP,
            "account": service.ACCOUNT, "account_endpoint": service.url}


_AZURE_ACCOUNT = ".*/accounts/contoso-openai"
_GOOGLE_KEYS = "/v2/projects/acme-prod/locations/global/keys"
_GCP_KEYS = "/v1/projects/-/serviceAccounts/[^/]+/keys"
_OPENAI_ACCOUNTS = "/v1/organization/projects/[^/]+/service_accounts"

# Keys that overlap: two work at the same time during the grace.
OVERLAPPING = [
    Case("dify-dataset-key", DifyDatasets, lambda s: {"workspace_id": s.WORKSPACE}, exclusive=True,
         create=("POST", "/console/api/datasets/api-keys"),
         list=("GET", "/console/api/datasets/api-keys"), verify=("GET", "/v1/datasets"),
         revoke=("DELETE", "/console/api/datasets/api-keys/[^/]+")),
    Case("one-api", OneApi, create=("POST", "/api/token/"), list=("GET", "/api/token/"),
         verify=("GET", "/v1/models"), revoke=("DELETE", "/api/token/[^/]+")),
    Case("new-api", NewApi, lambda s: {"user_id": s.USER}, create=("POST", "/api/token/"),
         list=("GET", "/api/token/"), verify=("GET", "/v1/models"),
         revoke=("DELETE", "/api/token/[^/]+")),
    Case("openai-service-account", OpenAiServiceAccounts, lambda s: {"project_id": s.PROJECT},
         create=("POST", _OPENAI_ACCOUNTS), list=("GET", _OPENAI_ACCOUNTS),
         verify=("GET", "/v1/models"), revoke=("DELETE", _OPENAI_ACCOUNTS + "/[^/]+")),
    Case("openai-admin-key", OpenAiAdminKeys, create=("POST", "/v1/organization/admin_api_keys"),
         list=("GET", "/v1/organization/admin_api_keys"),
         revoke=("DELETE", "/v1/organization/admin_api_keys/[^/]+")),
    Case("openrouter", OpenRouter, lambda s: {"limit": "25"}, create=("POST", "/api/v1/keys"),
         list=("GET", "/api/v1/keys"), verify=("GET", "/api/v1/key"),
         revoke=("DELETE", "/api/v1/keys/[^/]+")),
    Case("litellm", LiteLlm, lambda s: {"models": "gpt-4o,claude"}, create=("POST", "/key/generate"),
         list=("GET", "/key/list"), verify=("GET", "/key/info"), revoke=("POST", "/key/delete")),
    Case("sendgrid", SendGrid, lambda s: {"scopes": "mail.send,alerts.read"},
         create=("POST", "/v3/api_keys"), list=("GET", "/v3/api_keys"), verify=("GET", "/v3/scopes"),
         revoke=("DELETE", "/v3/api_keys/[^/]+")),
    Case("datadog", Datadog, create=("POST", "/api/v2/api_keys"), list=("GET", "/api/v2/api_keys"),
         verify=("GET", "/api/v1/validate"), revoke=("DELETE", "/api/v2/api_keys/[^/]+")),
    Case("cloudflare-token", Cloudflare,
         lambda s: {"policies": json.dumps(s.POLICIES), "lifetime": "90d"},
         create=("POST", "/client/v4/user/tokens"), list=("GET", "/client/v4/user/tokens"),
         verify=("GET", "/client/v4/user/tokens/verify"),
         revoke=("DELETE", "/client/v4/user/tokens/[^/]+")),
    Case("gemini", Gemini, lambda s: {"project": s.PROJECT, "gemini_endpoint": s.url,
                                      "token_endpoint": s.url},
         lambda s: json.dumps(s.manager, indent=2), create=("POST", _GOOGLE_KEYS),
         list=("GET", _GOOGLE_KEYS), verify=("GET", "/v1beta/models"),
         revoke=("DELETE", _GOOGLE_KEYS + "/[^/]+")),
    Case("gcp-service-account-key", GcpServiceAccountKeys,
         lambda s: {"email": s.EMAIL, "token_endpoint": s.url},
         lambda s: json.dumps(s.manager, indent=2), exclusive=True, create=("POST", _GCP_KEYS),
         list=("GET", _GCP_KEYS), revoke=("DELETE", _GCP_KEYS + "/[^/]+")),
    Case("azure-app-secret", AzureApp,
         lambda s: {"tenant_id": s.TENANT, "object_id": s.OBJECT, "client_id": s.CLIENT,
                    "login_endpoint": s.url},
         oauth=True, create=("POST", "/v1.0/applications/[^/]+/addPassword"),
         list=("GET", "/v1.0/applications/[^/]+"),
         revoke=("POST", "/v1.0/applications/[^/]+/removePassword")),
    Case("aws-iam", AwsIam, lambda s: {"user_name": s.USER, "sts_endpoint": s.url}, exclusive=True,
         create=("POST", "/", "Action=CreateAccessKey"), list=("POST", "/", "Action=ListAccessKeys"),
         verify=("POST", "/", "Action=GetCallerIdentity"),
         revoke=("POST", "/", "Action=DeleteAccessKey")),
    Case("github-app", GitHubApp,
         lambda s: {"app_id": s.APP_ID, "installation_id": s.INSTALLATION},
         lambda s: s.manager, create=("POST", "/app/installations/[^/]+/access_tokens"),
         verify=("GET", "/installation/repositories"), revoke=("DELETE", "/installation/token"),
         recovers=False, ids=False),
]

DUAL_SLOT = [
    Case("azure-openai", AzureOpenAi, _azure_openai, oauth=True, exclusive=True,
         create=("POST", _AZURE_ACCOUNT + "/regenerateKey"),
         list=("POST", _AZURE_ACCOUNT + "/listKeys"), verify=("GET", "/openai/models"),
         revoke=("POST", _AZURE_ACCOUNT + "/regenerateKey")),
]

# Replaced in place. With a manager the first key is a roll; without one, a person has stored it.
ROLLED = [
    Case("cloudflare-token-roll", Cloudflare, create=("PUT", "/client/v4/user/tokens/[^/]+/value"),
         verify=("GET", "/client/v4/user/tokens/verify")),
    Case("gitlab-token-roll", GitLab, lambda s: {"project": s.PROJECT, "token_name": "deploy"},
         lambda s: s.OWNER, create=("POST", ".*/access_tokens/[^/]+/rotate"),
         verify=("GET", "/api/v4/personal_access_tokens/self")),
    Case("gitlab-token-self", GitLab, manager=lambda s: None,
         create=("POST", "/api/v4/personal_access_tokens/self/rotate"),
         verify=("GET", "/api/v4/personal_access_tokens/self"), recovers=False),
]

MANUAL = [
    Case("anthropic", Anthropic, verify=("GET", "/v1/models"),
         revoke=("POST", "/v1/organizations/api_keys/[^/]+")),
    Case("holysheep", HolySheep, manager=lambda s: None, verify=("GET", "/v1/models")),
    Case("deepseek", DeepSeek, manager=lambda s: None, verify=("GET", "/user/balance")),
]

ALL = OVERLAPPING + DUAL_SLOT + ROLLED + MANUAL
