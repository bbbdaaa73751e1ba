// SPDX-License-Identifier: Apache-2.0
// Keeper: the Lifecycle as a whole. Owns the ledger, the rotation engine and the refresher, decides
// when each credential's next rotation or sweep begins, and hands versions out. Everything runs on
// one executor; the public calls only hand over to it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/base/random.h"
#include "agent/lifecycle/calendar.h"
#include "agent/lifecycle/clock_watch.h"
#include "agent/lifecycle/delivery_queue.h"
#include "agent/lifecycle/ledger.h"
#include "agent/lifecycle/lifecycle.h"
#include "agent/lifecycle/oauth/login_sessions.h"
#include "agent/lifecycle/oauth/refresher.h"
#include "agent/lifecycle/rejections.h"
#include "agent/lifecycle/resources.h"
#include "agent/lifecycle/rotation/engine.h"
#include "agent/lifecycle/views.h"
#include "agent/observe/failures.h"
#include "agent/observe/log.h"
#include "agent/providers/authorization_server.h"
#include "agent/providers/registry.h"

namespace keyturn::lifecycle {

class Keeper final : public Lifecycle {
 public:
  using Policies = std::map<std::string, store::PolicyRecord>;
  struct Dependencies {
    store::Store& store;
    base::Executor& executor;
    const base::Clock& clock;
    base::Random& random;
    observe::Log& log;
    observe::Failures& failures;
    VersionSink& sink;
    providers::AuthorizationServer& authorization_server;
    ResourceChecks checks;
    // Called with all policies at start and after each change.
    std::function<void(const Policies&)> on_policies;
    // For a principal whose process has certainly ended.
    HasEnded has_ended = [](absl::string_view) { return false; };
    // Another process has written to the store: ends this one. Should it return, nothing is
    // committed, rotated or refreshed any more.
    std::function<void()> on_store_taken = [] {};
  };
  explicit Keeper(const Dependencies& dependencies);

  // Loads the store, resumes what was open, plans what is due. Once, on the executor, before any
  // other call.
  absl::Status Start();
  // After a plugin became ready: makes the providers that could not be made so far, and goes on
  // with what waited for them. On the executor, after Start.
  void TryProvidersAgain();

  void EnsureFresh(std::string name, absl::Duration timeout, Done done) override;
  void Given(const Delivery& delivery) override;
  void Acknowledge(std::string principal, v1::AcknowledgeRequest request,
                   Answer<v1::AcknowledgeResponse> done) override;
  void Apply(v1::ApplyRequest request, bool dry_run, Answer<v1::ApplyResponse> done) override;
  void Export(Answer<v1::ExportResponse> done) override;
  void List(v1::ListRequest request, Answer<v1::ListResponse> done) override;
  void Describe(v1::DescribeRequest request, Answer<v1::DescribeResponse> done) override;
  void Put(v1::PutRequest request, Answer<v1::PutResponse> done) override;
  void Delete(v1::DeleteRequest request, Answer<v1::DeleteResponse> done) override;
  void Refresh(v1::RefreshRequest request, Answer<v1::RefreshResponse> done) override;
  void History(v1::HistoryRequest request, Answer<v1::HistoryResponse> done) override;
  void Backup(Answer<std::vector<std::string>> done) override;
  void Status(Answer<v1::StatusResponse> done) override;
  void Undo(v1::UndoRequest request, Answer<v1::UndoResponse> done) override;
  void Disown(v1::DisownRequest request, Answer<v1::DisownResponse> done) override;
  void Calendar(v1::CalendarRequest request, Answer<v1::CalendarResponse> done) override;
  void ListRecipes(Answer<v1::ListRecipesResponse> done) override;
  void ShowRecipe(v1::ShowRecipeRequest request, Answer<v1::ShowRecipeResponse> done) override;
  void TestRecipe(v1::TestRecipeRequest request, Answer<v1::TestRecipeResponse> done) override;
  void StartLogin(v1::StartLoginRequest request, Answer<v1::StartLoginResponse> done) override;
  void FinishLogin(v1::FinishLoginRequest request, Answer<v1::FinishLoginResponse> done) override;
  void Revoke(v1::RevokeRequest request, Answer<v1::RevokeResponse> done) override;
  void TestCredential(v1::TestCredentialRequest request,
                      Answer<v1::TestCredentialResponse> done) override;
  void ListPresets(Answer<v1::ListPresetsResponse> done) override;
  void ShowPreset(v1::ShowPresetRequest request, Answer<v1::ShowPresetResponse> done) override;
  void ReportRejected(std::string principal, v1::ReportRejectedRequest request,
                      Answer<v1::ReportRejectedResponse> done) override;
  void Rotate(v1::RotateRequest request, Step step,
              absl::AnyInvocable<void(absl::Status)> done) override;

 private:
  struct Plan {
    base::Executor::TimerId rotation = 0;
    base::Executor::TimerId sweep = 0;
    base::Executor::TimerId expiry = 0;
    base::Executor::TimerId roll = 0;
    // Who asked while a call was under way that replaces the key in use.
    std::vector<Done> roll_waits;
    absl::Time rotation_at = absl::InfiniteFuture();
    // Overdue: this credential's turn among the others of its host.
    absl::Time turn = absl::InfinitePast();
  };

  // Each looks at the ledger and sets what follows from it.
  void Adopt(const std::string& name, bool fetch_now);
  void PlanRotation(const std::string& name);
  void AwaitRotation(const std::string& name);
  void OnRotationTimer(const std::string& name);
  // When an overdue rotation may begin, so that those of one host do not begin together.
  absl::Time TakeTurn(const CredentialState& state, absl::Time now);
  void PlanSweep(const std::string& name, absl::Duration wait);
  void PlanExpiryWarning(const std::string& name);
  void Publish(const std::string& name);
  void OnClosed(const std::string& name, bool attempted);
  void Forget(const std::string& name);

  // The name of the provider that makes the credential's next key.
  std::string MakerOf(const std::string& credential) const;
  absl::StatusOr<std::shared_ptr<providers::Provider>> ProviderOf(
      const std::string& credential) const;
  void ManagerOf(const std::string& credential, rotation::Engine::ManagerValue done);
  // The current value of a credential, refreshed first if it is a token about to end; an empty
  // value for an empty name.
  void ValueOf(const std::string& name, rotation::Engine::ManagerValue done);
  // Whether a person brings the keys.
  bool IsManual(const std::string& credential) const;
  // Whether only a person can store the next value, because there is none to go on from.
  bool WaitsForPerson(const CredentialState& state) const;
  void ReportLostKey(const std::string& name);
  void PlanReminder(const std::string& name);
  void LookAtReminder(const std::string& name, absl::Time next);
  absl::Duration SweepEvery(const std::string& name) const;
  void AwaitRoll(const std::string& name, absl::Duration timeout, Done done);
  void EndRollWaits(const std::string& name);
  void TakeDeliveries();
  void NoteDeliveries(const std::string& name, const std::vector<Delivery>& deliveries);
  void ReviewConsumers(const std::string& name);
  void Keep(store::ConsumersRecord record, RecordChange change);
  void PlanSave(absl::Duration wait);
  // Whether nobody is known any more who uses the retiring version, as of now.
  bool ConsumersHaveMovedOn(const std::string& name);
  // The open rotation may have no reason to wait any more.
  void WakeRotation(const std::string& name);
  absl::StatusOr<v1::AcknowledgeResponse> AcknowledgeNow(const std::string& principal,
                                                         const v1::AcknowledgeRequest& request);
  void BuildProviders();
  absl::Status OnRolledBack();
  // The date was set: what people and services are told in dates is worked out anew.
  void OnClockSet();

  absl::StatusOr<v1::ApplyResponse> ApplyNow(const v1::ApplyRequest& request, bool dry_run);
  void Adjust(const v1::ApplyResponse& changes);
  absl::StatusOr<base::CredentialValue> ReadValue(const v1::PutRequest& request) const;
  absl::StatusOr<v1::PutResponse> PutNow(const v1::PutRequest& request,
                                         base::CredentialValue value);
  void Bring(const v1::PutRequest& request, base::CredentialValue value,
             Answer<v1::PutResponse> done);
  absl::Status PutRefreshToken(const CredentialState& state, const base::CredentialValue& value);
  absl::StatusOr<uint64_t> PutVersion(const CredentialState& state, base::CredentialValue value,
                                      const v1::PutRequest& request);
  absl::Status DeleteNow(const v1::DeleteRequest& request);
  absl::Status DeleteCredential(const std::string& name);
  void RefreshOne(const v1::RefreshRequest& request, Answer<v1::RefreshResponse> done);
  absl::Status CheckLogin(const std::string& name) const;
  void RevokeOne(const std::string& name, Answer<v1::RevokeResponse> done);
  // Not while tokens are being ended: what comes of that is for others to wait for.
  absl::Status CheckNotHeld(const std::string& name) const;
  // The tokens that were sent to the server to be ended, and what it did.
  struct EndedTokens {
    base::Secret refresh_token;
    uint64_t version = 0;  // the access token's
    v1::RevokeResponse outcome;
  };
  // Ends the refresh token, then the access token, at the server; changes nothing here. While the
  // refresher holds still.
  void EndTokens(const std::string& name, Answer<EndedTokens> done);
  // Forgets them, and no others, and lets the refresher go on.
  absl::Status SettleTokens(const std::string& name, const absl::StatusOr<EndedTokens>& ended);
  absl::Status ForgetTokens(const std::string& name, const EndedTokens& ended);
  // Calls `then` when the refresh under way has ended, or after a while in any case.
  void AfterRefresh(const std::string& name, absl::AnyInvocable<void()> then);
  // Whether a person has put another refresh token since those were sent.
  bool PutSince(const std::string& name, const absl::StatusOr<EndedTokens>& ended) const;
  // Ends a token's grant where the server can be asked to, then deletes the credential.
  // `waited`: for a refresh that was under way.
  void DeleteToken(const std::string& name, Answer<v1::DeleteResponse> done, bool waited = false);
  absl::Status CheckDeletable(const std::string& name) const;
  void TestToken(const std::string& name, Answer<v1::TestCredentialResponse> done);
  void TestKey(const std::string& name, Answer<v1::TestCredentialResponse> done);
  void ReportOne(const std::string& principal, const v1::ReportRejectedRequest& request,
                 Answer<v1::ReportRejectedResponse> done);
  void LookIntoToken(const std::string& name, uint64_t version,
                     Answer<v1::ReportRejectedResponse> done);
  void ReplaceToken(const std::string& name, uint64_t version,
                    Answer<v1::ReportRejectedResponse> done);
  void LookIntoKey(const std::string& name, uint64_t version,
                   Answer<v1::ReportRejectedResponse> done);
  // A key that the service does not take: told, and rotated where that may be done now.
  const char* OnDeadKey(const std::string& name, const std::string& cause, int http_status);
  absl::Status CheckRotatable(const std::string& name) const;
  absl::Status PreviewRotation(const std::string& name, Step& step);
  CalendarContext CalendarFacts();
  absl::StatusOr<const CredentialState*> Get(const std::string& name) const;
  ViewContext Views() const;
  absl::Time NextAt(const std::string& name) const;

  const Dependencies deps_;
  DeliveryQueue deliveries_;
  Ledger ledger_;
  oauth::Refresher refresher_;
  oauth::LoginSessions logins_{{ledger_, deps_.executor, deps_.clock, deps_.random, deps_.failures,
                                deps_.log, deps_.authorization_server},
                               refresher_};
  rotation::Engine engine_;
  std::map<std::string, std::shared_ptr<providers::Provider>> providers_;
  std::map<std::string, Plan> plans_;
  Rejections rejections_;
  ClockWatch clock_watch_{deps_.clock};
  // The last turn given out, by host.
  std::map<std::string, absl::Time> turns_;
  base::Executor::TimerId clock_told_ = 0;
  base::Executor::TimerId save_timer_ = 0;
  base::BootTime save_at_;
};

}  // namespace keyturn::lifecycle
