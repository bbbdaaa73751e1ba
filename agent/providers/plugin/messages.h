// SPDX-License-Identifier: Apache-2.0
// Between the messages of keyturn.plugin.v1 and provider.h. What a plugin says is checked as the
// reply of a service is: what breaks a limit of proto/keyturn/plugin/v1/provider.proto is
// unreadable as a whole. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/providers/provider.h"
#include "agent/providers/registry.h"
#include "keyturn/plugin/v1/provider.pb.h"

namespace keyturn::providers {

void WriteConfig(const ProviderConfig& config, plugin::v1::ProviderConfig* message);
void WriteValue(const base::CredentialValue& value, plugin::v1::Value* message);

// Whether a call can change something at the service, so that losing its reply is a doubt.
enum class Effect { kNone, kChanges };
// An outcome that is missing or does not fit the call is `unreadable_reply`. A cause of the
// plugin's is marked as such: `plugin:role_missing`.
CallResult ReadResult(const plugin::v1::Result& message, Effect effect);
CallResult Unreadable(Effect effect);

// Nullopt when anything about it is out of bounds.
std::optional<base::CredentialValue> ReadValue(const plugin::v1::Value& message);
std::optional<MintedKey> ReadKey(const plugin::v1::Key& message);
std::optional<std::vector<ListedKey>> ReadKeys(const plugin::v1::ListResponse& message);

// The traits, or InvalidArgument (with metadata "field" as Registry::Make gives it) for the first
// mistake in the resource, or FailedPrecondition when the plugin contradicts itself.
absl::StatusOr<Traits> ReadDescription(const plugin::v1::DescribeResponse& message,
                                       const ProviderConfig& config);
// The same error for mistakes that we find ourselves.
absl::Status FieldError(const std::string& field, absl::string_view message);

// Overwrites every secret in it.
void WipeSecrets(plugin::v1::Value* message);
inline void WipeSecrets(plugin::v1::DescribeRequest*) {}
inline void WipeSecrets(plugin::v1::DescribeResponse*) {}
void WipeSecrets(plugin::v1::CreateRequest* message);
void WipeSecrets(plugin::v1::CreateResponse* message);
void WipeSecrets(plugin::v1::ListRequest* message);
void WipeSecrets(plugin::v1::ListResponse* message);
void WipeSecrets(plugin::v1::VerifyRequest* message);
inline void WipeSecrets(plugin::v1::VerifyResponse*) {}
void WipeSecrets(plugin::v1::RevokeRequest* message);
inline void WipeSecrets(plugin::v1::RevokeResponse*) {}

}  // namespace keyturn::providers
