// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/plugin/messages.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/duration_text.h"
#include "agent/base/error.h"

namespace keyturn::providers {
namespace {

using base::ToDuration;

namespace pb = plugin::v1;

constexpr size_t kWordLengthMax = 64;
constexpr size_t kIdLengthMax = 256;
constexpr size_t kFieldsMax = 16;
constexpr size_t kValueLengthMax = 16 * 1024;
constexpr int kKeysMax = 10'000;
constexpr size_t kSentenceLengthMax = 500;
constexpr absl::Duration kRetryAfterMax = absl::Hours(1);
constexpr absl::Duration kWaitMax = absl::Hours(24);

bool IsWord(absl::string_view text) {
  return !text.empty() && text.size() <= kWordLengthMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

bool IsId(absl::string_view text) {
  return text.size() <= kIdLengthMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool IsFieldText(absl::string_view text) {
  return !text.empty() && text.size() <= kValueLengthMax &&
         std::none_of(text.begin(), text.end(), [](char c) {
           return (c >= 0 && c < 0x20 && c != '\t' && c != '\n') || c == 0x7f;
         });
}

// For people: one line of bounded length.
std::string Sentence(absl::string_view text) {
  std::string sentence(text.substr(0, kSentenceLengthMax));
  for (char& c : sentence) {
    if ((c >= 0 && c < 0x20) || c == 0x7f) c = ' ';
  }
  return sentence;
}

ProviderClass ToClass(pb::ProviderClass message) {
  switch (message) {
    case pb::TAGGED:
      return ProviderClass::kTagged;
    case pb::LISTED:
      return ProviderClass::kListed;
    case pb::CHOSEN:
      return ProviderClass::kChosen;
    case pb::DUAL_SLOT:
      return ProviderClass::kDualSlot;
    case pb::ROLL:
      return ProviderClass::kRoll;
    case pb::SELF_ROLL:
      return ProviderClass::kSelfRoll;
    case pb::MANUAL:
      return ProviderClass::kManual;
    default:
      return ProviderClass::kUntagged;
  }
}

// What is wrong with traits, or empty.
std::string Contradiction(const pb::Traits& traits) {
  const pb::ProviderClass kind = traits.provider_class();
  if (kind < pb::TAGGED || kind > pb::MANUAL) return "it names no class";
  const bool needs_list = kind == pb::TAGGED || kind == pb::LISTED || kind == pb::DUAL_SLOT ||
                          (kind == pb::UNTAGGED && !traits.has_expires_by_itself());
  if (needs_list && !traits.can_list()) return "its class needs List";
  const bool needs_revoke = kind != pb::MANUAL && kind != pb::ROLL && kind != pb::SELF_ROLL;
  if (needs_revoke && !traits.can_revoke()) return "its class needs Revoke";
  if (kind == pb::DUAL_SLOT &&
      (traits.slots_size() != 2 || !IsId(traits.slots(0)) || !IsId(traits.slots(1)) ||
       traits.slots(0).empty() || traits.slots(1).empty() || traits.slots(0) == traits.slots(1))) {
    return "dual_slot needs the ids of two slots";
  }
  if (traits.secret_length() != 0 &&
      (traits.secret_length() < 16 || traits.secret_length() > 512)) {
    return "secret_length must be from 16 to 512";
  }
  if (traits.tag_max_length() != 0 && traits.tag_max_length() < 24) {
    return "tag_max_length must be 24 at least";
  }
  for (const auto& [wait, set] : {std::pair(&traits.propagation(), traits.has_propagation()),
                                  std::pair(&traits.settle(), traits.has_settle()),
                                  std::pair(&traits.cached_for(), traits.has_cached_for())}) {
    if (set && (ToDuration(*wait) < absl::ZeroDuration() || ToDuration(*wait) > kWaitMax)) {
      return "its waits must be from 0 to 24h";
    }
  }
  return "";
}

Traits ToTraits(const pb::Traits& message) {
  Traits traits;
  traits.provider_class = ToClass(message.provider_class());
  traits.key_limit = message.key_limit();
  if (message.has_propagation()) traits.propagation = ToDuration(message.propagation());
  if (message.has_settle()) traits.settle = ToDuration(message.settle());
  if (message.has_cached_for()) traits.cached_for = ToDuration(message.cached_for());
  traits.can_verify = message.can_verify();
  traits.can_list = message.can_list();
  traits.can_revoke = message.can_revoke();
  if (message.has_expires_by_itself()) {
    traits.expires_by_itself = ToDuration(message.expires_by_itself());
  }
  traits.slots.assign(message.slots().begin(), message.slots().end());
  if (message.secret_length() != 0) traits.secret_length = message.secret_length();
  traits.value_prefix = message.value_prefix();
  traits.value_min_length = message.value_min_length();
  traits.value_max_length = message.value_max_length();
  if (message.tag_max_length() != 0) traits.tag_max_length = message.tag_max_length();
  traits.attach_header = message.attach_header();
  traits.attach_format = message.attach_format();
  return traits;
}

}  // namespace

void WriteConfig(const ProviderConfig& config, pb::ProviderConfig* message) {
  message->set_name(config.name);
  message->set_endpoint(config.endpoint);
  for (const auto& [name, value] : config.params) (*message->mutable_params())[name] = value;
}

void WriteValue(const base::CredentialValue& value, pb::Value* message) {
  for (const base::Field& field : value.fields) {
    pb::Value::Field* added = message->add_fields();
    added->set_name(field.name);
    const absl::string_view text = field.value.Reveal();
    added->set_value(text.data(), text.size());
    added->set_public_(!field.secret);
  }
  message->set_primary(value.primary);
}

CallResult Unreadable(Effect effect) {
  CallResult call;
  call.outcome = effect == Effect::kChanges ? Outcome::kUnknown : Outcome::kTransient;
  call.cause = "unreadable_reply";
  return call;
}

CallResult ReadResult(const pb::Result& message, Effect effect) {
  CallResult call;
  switch (message.outcome()) {
    case pb::OK:
      call.outcome = Outcome::kOk;
      return call;
    case pb::REJECTED:
      call.outcome = Outcome::kRejected;
      break;
    case pb::LIMITED:
      if (effect == Effect::kNone) return Unreadable(effect);
      call.outcome = Outcome::kLimited;
      break;
    case pb::TRANSIENT:
      call.outcome = Outcome::kTransient;
      break;
    case pb::UNKNOWN:
      call.outcome = effect == Effect::kChanges ? Outcome::kUnknown : Outcome::kTransient;
      break;
    default:
      return Unreadable(effect);
  }
  call.cause = absl::StrCat("plugin:", IsWord(message.cause()) ? message.cause() : "unnamed");
  call.retry_after =
      std::clamp(ToDuration(message.retry_after()), absl::ZeroDuration(), kRetryAfterMax);
  return call;
}

std::optional<base::CredentialValue> ReadValue(const pb::Value& message) {
  base::CredentialValue value;
  if (message.fields_size() == 0 || static_cast<size_t>(message.fields_size()) > kFieldsMax) {
    return std::nullopt;
  }
  for (const pb::Value::Field& field : message.fields()) {
    if (!IsWord(field.name()) || !IsFieldText(field.value()) ||
        value.Find(field.name()) != nullptr) {
      return std::nullopt;
    }
    value.fields.push_back({field.name(), base::Secret(field.value()), !field.public_()});
  }
  value.primary = message.primary();
  if (value.Primary() == nullptr) return std::nullopt;
  return value;
}

std::optional<MintedKey> ReadKey(const pb::Key& message) {
  if (message.id().empty() || !IsId(message.id())) return std::nullopt;
  auto value = ReadValue(message.value());
  if (!value) return std::nullopt;
  MintedKey key;
  key.id = message.id();
  key.value = *std::move(value);
  // A timestamp that was never set, of 1970 or of year 1, says nothing.
  if (message.expires_at().seconds() > 0) {
    key.expires_at = absl::FromUnixSeconds(message.expires_at().seconds()) +
                     absl::Nanoseconds(message.expires_at().nanos());
  }
  return key;
}

std::optional<std::vector<ListedKey>> ReadKeys(const pb::ListResponse& message) {
  if (message.keys_size() > kKeysMax) return std::nullopt;
  std::vector<ListedKey> keys;
  keys.reserve(static_cast<size_t>(message.keys_size()));
  for (const pb::ListedKey& listed : message.keys()) {
    if (listed.id().empty() || !IsId(listed.id())) return std::nullopt;
    ListedKey key;
    key.id = listed.id();
    // A tag that is not ours to read is somebody else's.
    if (IsId(listed.tag())) key.tag = listed.tag();
    if (listed.has_value()) {
      auto value = ReadValue(listed.value());
      if (!value) return std::nullopt;
      key.value = *std::move(value);
    }
    key.dead = listed.dead();
    keys.push_back(std::move(key));
  }
  return keys;
}

absl::Status FieldError(const std::string& field, absl::string_view message) {
  return base::WithReason(absl::InvalidArgumentError(absl::StrCat(field, ": ", message)),
                          "INVALID_RESOURCE", {{"field", field}});
}

absl::StatusOr<Traits> ReadDescription(const pb::DescribeResponse& message,
                                       const ProviderConfig& config) {
  if (!message.problems().empty()) {
    const auto& problem = message.problems(0);
    // Only fields that the resource can have are pointed at.
    const bool known =
        problem.field() == "endpoint" || absl::StartsWith(problem.field(), "params.");
    return FieldError(known && IsId(problem.field()) ? problem.field() : "plugin",
                      Sentence(problem.message()));
  }
  if (message.needs_manager() && config.manager.empty()) {
    return FieldError("manager", absl::StrCat("the plugin ", config.plugin,
                                              " needs the name of a manager credential"));
  }
  if (const std::string why = Contradiction(message.traits()); !why.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the plugin ", config.plugin, " describes itself wrongly: ", why));
  }
  return ToTraits(message.traits());
}

void WipeSecrets(pb::Value* message) {
  for (pb::Value::Field& field : *message->mutable_fields()) base::Wipe(*field.mutable_value());
}
void WipeSecrets(pb::CreateRequest* message) {
  WipeSecrets(message->mutable_manager());
  WipeSecrets(message->mutable_current());
  base::Wipe(*message->mutable_secret());
}
void WipeSecrets(pb::CreateResponse* message) {
  WipeSecrets(message->mutable_key()->mutable_value());
}
void WipeSecrets(pb::ListRequest* message) { WipeSecrets(message->mutable_manager()); }
void WipeSecrets(pb::ListResponse* message) {
  for (pb::ListedKey& key : *message->mutable_keys()) WipeSecrets(key.mutable_value());
}
void WipeSecrets(pb::VerifyRequest* message) { WipeSecrets(message->mutable_key()); }
void WipeSecrets(pb::RevokeRequest* message) {
  WipeSecrets(message->mutable_manager());
  WipeSecrets(message->mutable_value());
}

}  // namespace keyturn::providers
