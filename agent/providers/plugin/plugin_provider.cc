// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/plugin/plugin_provider.h"

#include <utility>

namespace keyturn::providers {
namespace {

namespace pb = plugin::v1;

// The result of a call before what else the reply holds is looked at.
template <class Response>
CallResult ResultOf(PluginReply reply, const char* cause, const Response& response, Effect effect) {
  if (reply == PluginReply::kArrived) return ReadResult(response.result(), effect);
  CallResult call;
  call.outcome = reply == PluginReply::kLost && effect == Effect::kChanges ? Outcome::kUnknown
                                                                           : Outcome::kTransient;
  call.cause = cause;
  return call;
}

}  // namespace

PluginProvider::PluginProvider(const ProviderConfig& config, Traits traits, PluginLine& line)
    : traits_(std::move(traits)), line_(line) {
  WriteConfig(config, &config_);
}

void PluginProvider::Create(const base::CredentialValue& manager, const NewKey& key,
                            CreateDone done) {
  pb::CreateRequest request;
  *request.mutable_config() = config_;
  WriteValue(manager, request.mutable_manager());
  request.set_tag(key.tag);
  const absl::string_view secret = key.secret.Reveal();
  request.set_secret(secret.data(), secret.size());
  request.set_target(key.target);
  if (!key.current.empty()) WriteValue(key.current, request.mutable_current());
  line_.Call<pb::CreateRequest, pb::CreateResponse>(
      &PluginLine::Async::Create, std::move(request), line_.timeout(),
      [done = std::move(done)](PluginReply reply, const char* cause,
                               const pb::CreateResponse& response) mutable {
        CallResult call = ResultOf(reply, cause, response, Effect::kChanges);
        if (call.outcome != Outcome::kOk) return done(std::move(call), std::nullopt);
        auto minted = ReadKey(response.key());
        // The key may well be there; nobody knows what it is.
        if (!minted) return done(Unreadable(Effect::kChanges), std::nullopt);
        done(std::move(call), std::move(minted));
      });
}

void PluginProvider::List(const base::CredentialValue& manager, ListDone done) {
  pb::ListRequest request;
  *request.mutable_config() = config_;
  WriteValue(manager, request.mutable_manager());
  line_.Call<pb::ListRequest, pb::ListResponse>(
      &PluginLine::Async::List, std::move(request), line_.timeout(),
      [done = std::move(done)](PluginReply reply, const char* cause,
                               const pb::ListResponse& response) mutable {
        CallResult call = ResultOf(reply, cause, response, Effect::kNone);
        if (call.outcome != Outcome::kOk) return done(std::move(call), {});
        auto keys = ReadKeys(response);
        if (!keys) return done(Unreadable(Effect::kNone), {});
        done(std::move(call), *std::move(keys));
      });
}

void PluginProvider::Verify(const base::CredentialValue& key, Done done) {
  pb::VerifyRequest request;
  *request.mutable_config() = config_;
  WriteValue(key, request.mutable_key());
  line_.Call<pb::VerifyRequest, pb::VerifyResponse>(
      &PluginLine::Async::Verify, std::move(request), line_.timeout(),
      [done = std::move(done)](PluginReply reply, const char* cause,
                               const pb::VerifyResponse& response) mutable {
        done(ResultOf(reply, cause, response, Effect::kNone));
      });
}

void PluginProvider::Revoke(const base::CredentialValue& manager, const std::string& key_id,
                            const base::CredentialValue& value, Done done) {
  pb::RevokeRequest request;
  *request.mutable_config() = config_;
  WriteValue(manager, request.mutable_manager());
  request.set_key_id(key_id);
  if (!value.empty()) WriteValue(value, request.mutable_value());
  line_.Call<pb::RevokeRequest, pb::RevokeResponse>(
      &PluginLine::Async::Revoke, std::move(request), line_.timeout(),
      [done = std::move(done)](PluginReply reply, const char* cause,
                               const pb::RevokeResponse& response) mutable {
        done(ResultOf(reply, cause, response, Effect::kChanges));
      });
}

}  // namespace keyturn::providers
