// SPDX-License-Identifier: Apache-2.0
// The suite for providers over a plugin: a real process, a real socket, and a service that lives in
// the plugin's memory.
#include <deque>

#include "tests/conformance/plugin_house.h"
#include "tests/conformance/provider_conformance.h"

namespace keyturn::conformance {
namespace {

using base::CredentialValue;
using base::Secret;

// Hands the answers over when the suite lets time pass, as a simulated executor does.
class AnswersOnDemand final : public providers::Provider {
 public:
  explicit AnswersOnDemand(std::shared_ptr<providers::Provider> real) : real_(std::move(real)) {}

  const providers::Traits& traits() const override { return real_->traits(); }
  void Create(const CredentialValue& manager, const providers::NewKey& key,
              CreateDone done) override {
    Expect();
    real_->Create(manager, key, [this, done = std::move(done)](auto call, auto minted) mutable {
      Hold([done = std::move(done), call, minted = std::move(minted)]() mutable {
        done(call, std::move(minted));
      });
    });
  }
  void List(const CredentialValue& manager, ListDone done) override {
    Expect();
    real_->List(manager, [this, done = std::move(done)](auto call, auto keys) mutable {
      Hold([done = std::move(done), call, keys = std::move(keys)]() mutable {
        done(call, std::move(keys));
      });
    });
  }
  void Verify(const CredentialValue& key, Done done) override {
    Expect();
    real_->Verify(key, [this, done = std::move(done)](auto call) mutable {
      Hold([done = std::move(done), call]() mutable { done(call); });
    });
  }
  void Revoke(const CredentialValue& manager, const std::string& key_id,
              const CredentialValue& value, Done done) override {
    Expect();
    real_->Revoke(manager, key_id, value, [this, done = std::move(done)](auto call) mutable {
      Hold([done = std::move(done), call]() mutable { done(call); });
    });
  }

  // Runs the answers to all calls made so far.
  void Deliver() {
    std::deque<absl::AnyInvocable<void()>> answers;
    {
      const auto complete = [this] { return answers_.size() == expected_; };
      absl::MutexLock lock(&mu_, absl::Condition(&complete));
      answers.swap(answers_);
      expected_ = 0;
    }
    for (auto& answer : answers) answer();
  }

 private:
  void Expect() {
    absl::MutexLock lock(&mu_);
    ++expected_;
  }
  void Hold(absl::AnyInvocable<void()> answer) {
    absl::MutexLock lock(&mu_);
    answers_.push_back(std::move(answer));
  }

  const std::shared_ptr<providers::Provider> real_;
  absl::Mutex mu_;
  size_t expected_ = 0;
  std::deque<absl::AnyInvocable<void()>> answers_;
};

class PluginWorld final : public ProviderWorld {
 public:
  PluginWorld(const std::string& provider_class, uint32_t limit) {
    house_.Start();
    provider_.emplace(house_.host().Make(PluginHouse::Config(provider_class, limit)).value());
  }
  providers::Provider& provider() override { return *provider_; }
  CredentialValue manager() override { return CredentialValue::Of(Secret("admin")); }
  CredentialValue wrong_manager() override { return CredentialValue::Of(Secret("nobody")); }
  void Advance(absl::Duration) override { provider_->Deliver(); }
  void LoseNextReply() override { house_.SetFault("lose"); }
  void RefuseNextForNow() override { house_.SetFault("refuse"); }
  size_t existing_keys() override {
    size_t count = 0;
    provider_->List(manager(), [&](auto, auto keys) { count = keys.size(); });
    provider_->Deliver();
    return count;
  }

 private:
  PluginHouse house_;
  std::optional<AnswersOnDemand> provider_;
};

template <typename... Args>
std::pair<std::string, ProviderWorldFactory> Named(const std::string& name, Args... args) {
  return {name, [=] { return std::make_unique<PluginWorld>(args...); }};
}

INSTANTIATE_TEST_SUITE_P(Plugins, ProviderConformance,
                         testing::Values(Named("Tagged", "TAGGED", 3U),
                                         Named("Untagged", "UNTAGGED", 2U),
                                         Named("Listed", "LISTED", 0U)),
                         [](const auto& instance) { return instance.param.first; });

}  // namespace
}  // namespace keyturn::conformance
