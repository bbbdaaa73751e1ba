// SPDX-License-Identifier: Apache-2.0
// Resource files: read strictly, checked as a whole against what the agent already holds, and
// compared with it. Pure but for the ledger it reads and the checks it is handed.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/lifecycle/ledger.h"
#include "agent/providers/presets.h"
#include "agent/providers/registry.h"
#include "keyturn/v1/admin.pb.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle {

// Checks that other rooms make.
struct ResourceChecks {
  const providers::Registry& registry;
  // Whether the agent may call this URL at all: form, scheme, egress rules.
  std::function<absl::Status(absl::string_view url)> check_url;
  // Whether the users and groups that a policy names exist.
  std::function<absl::Status(const v1::PolicySpec& spec)> check_policy;
  // What tokens may name as their preset.
  providers::Presets presets = {};
};

providers::ProviderConfig ConfigOf(const std::string& name, const v1::ProviderSpec& spec);

v1::CredentialKind KindOf(const v1::CredentialSpec& spec);

// Host and port of a URL, for people and for keeping calls to one host apart.
std::string HostOf(absl::string_view url);

// The credential without whose value this one cannot be had: a manager credential, or a secret of a
// token's client, that has not been stored yet. Empty when nothing is missing.
std::string MissingSecret(const v1::CredentialSpec& spec, const Ledger& ledger);

// All files as one. InvalidArgument opens with FILE:LINE:COLUMN.
absl::StatusOr<v1::Resources> ReadResources(const v1::ApplyRequest& request, const Ledger& ledger,
                                            const ResourceChecks& checks);

// What applying would change, in the order providers, credentials, policies; unchanged ones too.
v1::ApplyResponse Compare(const v1::Resources& desired, const Ledger& ledger, absl::Time now);

// Everything the agent holds, without secrets.
v1::Resources Export(const Ledger& ledger);

}  // namespace keyturn::lifecycle
