// SPDX-License-Identifier: Apache-2.0
// Keeper's answers to administrators. Each public call hands over to the executor and does its work
// there; a change is one transaction, and only then does anything follow from it.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/base/strict_yaml.h"
#include "agent/lifecycle/class_rules.h"
#include "agent/lifecycle/keeper.h"
#include "agent/lifecycle/oauth/oauth_checks.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

constexpr uint32_t kHistoryDefault = 20;
constexpr uint32_t kHistoryMost = 200;

absl::Status NoSuch(const std::string& type, const std::string& name) {
  return base::WithReason(
      absl::NotFoundError(absl::StrCat("there is no ", type, " \"", name, "\"; see: keyturn list")),
      "NO_SUCH_CREDENTIAL", {{type, name}});
}

absl::Status Refuse(absl::string_view why) {
  return base::WithReason(absl::FailedPreconditionError(why), "NOT_POSSIBLE_NOW");
}

}  // namespace

absl::StatusOr<const CredentialState*> Keeper::Get(const std::string& name) const {
  const CredentialState* state = ledger_.Find(name);
  if (state == nullptr) return NoSuch("credential", name);
  return state;
}

ViewContext Keeper::Views() const {
  return {ledger_,
          deps_.failures,
          deps_.clock.WallNow(),
          [this](const std::string& name) { return NextAt(name); },
          [this](const CredentialState& state) {
            const store::VersionRecord* current = state.Current();
            const oauth::Windows* windows = refresher_.WindowsOf(state.record.name);
            // A token's lifetime is no date, and does not move when the date is set.
            if (current != nullptr && windows != nullptr) {
              return deps_.clock.ToWall(windows->expires);
            }
            return current == nullptr ? store::kNever : current->expires_at;
          },
          [this](const std::string& name) { return engine_.NextStepAt(name); }};
}

void Keeper::Apply(v1::ApplyRequest request, bool dry_run, Answer<v1::ApplyResponse> done) {
  deps_.executor.Post([this, request = std::move(request), dry_run,
                       done = std::move(done)]() mutable { done(ApplyNow(request, dry_run)); });
}

absl::StatusOr<v1::ApplyResponse> Keeper::ApplyNow(const v1::ApplyRequest& request, bool dry_run) {
  auto wanted = ReadResources(request, ledger_, deps_.checks);
  if (!wanted.ok()) return base::WithReason(wanted.status(), "BAD_RESOURCE");
  v1::ApplyResponse response = Compare(*wanted, ledger_, deps_.clock.WallNow());
  if (dry_run) return response;
  store::Transaction transaction;
  for (const v1::ResourceChange& change : response.changes()) {
    if (change.verb() == v1::ResourceChange::UNCHANGED) continue;
    const std::string& name = change.name();
    if (change.type() == "provider") {
      transaction.Put(store::ProviderRecord{name, wanted->providers().at(name)});
    } else if (change.type() == "policy") {
      transaction.Put(store::PolicyRecord{name, wanted->policies().at(name)});
    } else {
      const CredentialState* held = ledger_.Find(name);
      store::CredentialRecord record = held == nullptr ? store::CredentialRecord{} : held->record;
      record.name = name;
      record.spec = wanted->credentials().at(name);
      if (record.last_rotated != store::kNever && record.spec.has_rotate()) {
        const store::VersionRecord* current = held == nullptr ? nullptr : held->Current();
        record.next_due = NextRotation(record.spec.rotate(), name, record.last_rotated,
                                       current == nullptr ? store::kNever : current->expires_at);
      }
      transaction.Put(std::move(record));
    }
  }
  if (transaction.empty()) return response;
  if (absl::Status status = ledger_.Commit(transaction); !status.ok()) return status;
  Adjust(response);
  return response;
}

void Keeper::Adjust(const v1::ApplyResponse& changes) {
  std::set<std::string> providers;
  for (const v1::ResourceChange& change : changes.changes()) {
    if (change.type() == "provider" && change.verb() != v1::ResourceChange::UNCHANGED) {
      providers.insert(change.name());
    }
  }
  if (!providers.empty()) BuildProviders();
  deps_.on_policies(ledger_.policies());
  for (const v1::ResourceChange& change : changes.changes()) {
    if (change.type() != "credential" || change.verb() == v1::ResourceChange::UNCHANGED) continue;
    // A token got under other terms is no longer the one that was asked for.
    const bool other_terms =
        std::find(change.fields().begin(), change.fields().end(), "oauth") != change.fields().end();
    if (other_terms) refresher_.DropConsent(change.name());
    Adopt(change.name(), /*fetch_now=*/other_terms);
  }
  // How a key is attached comes from its provider.
  for (const auto& [name, state] : ledger_.credentials()) {
    if (providers.count(state.record.spec.provider()) != 0) Publish(name);
  }
}

void Keeper::Backup(Answer<std::vector<std::string>> done) {
  deps_.executor.Post([this, done = std::move(done)]() mutable { done(ledger_.Backup()); });
}

void Keeper::Export(Answer<v1::ExportResponse> done) {
  deps_.executor.Post([this, done = std::move(done)]() mutable {
    v1::ExportResponse response;
    response.set_yaml(base::ToYaml(lifecycle::Export(ledger_)));
    done(std::move(response));
  });
}

void Keeper::List(v1::ListRequest request, Answer<v1::ListResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    done(ViewList(request.match(), Views()));
  });
}

void Keeper::Describe(v1::DescribeRequest request, Answer<v1::DescribeResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    TakeDeliveries();
    ReviewConsumers(request.name());
    const auto state = Get(request.name());
    if (state.ok()) {
      done(ViewOne(**state, Views()));
    } else {
      done(state.status());
    }
  });
}

void Keeper::History(v1::HistoryRequest request, Answer<v1::HistoryResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    const auto state = Get(request.name());
    const uint32_t limit = request.limit() == 0 ? kHistoryDefault : request.limit();
    if (state.ok()) {
      done(ViewHistory(**state, std::min(limit, kHistoryMost)));
    } else {
      done(state.status());
    }
  });
}

void Keeper::Status(Answer<v1::StatusResponse> done) {
  deps_.executor.Post([this, done = std::move(done)]() mutable { done(ViewStatus(Views())); });
}

void Keeper::Delete(v1::DeleteRequest request, Answer<v1::DeleteResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    const CredentialState* state =
        request.type() == "credential" ? ledger_.Find(request.name()) : nullptr;
    if (state != nullptr && state->record.spec.has_oauth()) {
      return DeleteToken(request.name(), std::move(done));
    }
    const absl::Status status = DeleteNow(request);
    if (status.ok()) {
      done(v1::DeleteResponse());
    } else {
      done(status);
    }
  });
}

absl::Status Keeper::DeleteNow(const v1::DeleteRequest& request) {
  const std::string& name = request.name();
  if (request.type() == "credential") return DeleteCredential(name);
  store::Transaction transaction;
  if (request.type() == "provider") {
    if (ledger_.providers().count(name) == 0) return NoSuch("provider", name);
    for (const auto& [credential, state] : ledger_.credentials()) {
      if (state.record.spec.provider() == name) {
        return Refuse(
            absl::StrCat("provider \"", name, "\" is used by credential \"", credential, "\""));
      }
      if (state.record.spec.recovery() == name) {
        return Refuse(absl::StrCat("provider \"", name, "\" is the `recovery` of credential \"",
                                   credential, "\""));
      }
    }
    transaction.Delete(absl::StrCat("provider/", name));
  } else if (request.type() == "policy") {
    if (ledger_.policies().count(name) == 0) return NoSuch("policy", name);
    transaction.Delete(absl::StrCat("policy/", name));
  } else {
    return absl::InvalidArgumentError("the type must be credential, provider or policy");
  }
  if (absl::Status status = ledger_.Commit(transaction); !status.ok()) return status;
  BuildProviders();
  deps_.on_policies(ledger_.policies());
  return absl::OkStatus();
}

absl::Status Keeper::CheckDeletable(const std::string& name) const {
  const auto found = Get(name);
  if (!found.ok()) return found.status();
  const CredentialState& state = **found;
  for (const auto& [provider, record] : ledger_.providers()) {
    if (record.spec.manager() == name) {
      return Refuse(
          absl::StrCat("\"", name, "\" is the manager credential of provider \"", provider, "\""));
    }
  }
  for (const auto& [other, held] : ledger_.credentials()) {
    if (oauth::RefersTo(held.record.spec.oauth(), name)) {
      return Refuse(absl::StrCat("\"", name, "\" holds a secret of \"", other, "\""));
    }
  }
  if (state.rotation && state.rotation->state != "retiring" && state.rotation->state != "dying") {
    return Refuse(absl::StrCat("a rotation of \"", name, "\" is in state ", state.rotation->state,
                               "; deleting now could leave a key behind that nobody knows. Wait "
                               "until it has ended: keyturn show ",
                               name));
  }
  return absl::OkStatus();
}

absl::Status Keeper::DeleteCredential(const std::string& name) {
  if (absl::Status status = CheckDeletable(name); !status.ok()) return status;
  const CredentialState& state = *ledger_.Find(name);
  store::Transaction transaction;
  transaction.Delete(absl::StrCat("credential/", name));
  transaction.Delete(store::RotationKey(name));
  transaction.Delete(store::RefreshKey(name));
  transaction.Delete(store::ConsumersKey(name));
  for (const auto& [number, version] : state.versions) {
    transaction.Delete(store::VersionKey(name, number));
  }
  for (const auto& [tag, record] : state.tags) transaction.Delete(store::TagKey(name, tag));
  for (const auto& [sequence, record] : state.history) {
    transaction.Delete(store::HistoryKey(name, sequence));
  }
  if (absl::Status status = ledger_.Commit(transaction); !status.ok()) return status;
  Forget(name);
  return absl::OkStatus();
}

void Keeper::Refresh(v1::RefreshRequest request, Answer<v1::RefreshResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    RefreshOne(request, std::move(done));
  });
}

void Keeper::RefreshOne(const v1::RefreshRequest& request, Answer<v1::RefreshResponse> done) {
  const std::string& name = request.name();
  const auto state = Get(name);
  if (!state.ok()) {
    done(state.status());
    return;
  }
  if (!(*state)->record.spec.has_oauth()) {
    done(Refuse(absl::StrCat("\"", name,
                             "\" is not an OAuth token; to replace a key, run: "
                             "keyturn rotate ",
                             name)));
    return;
  }
  if (const std::string missing = MissingSecret((*state)->record.spec, ledger_); !missing.empty()) {
    done(Refuse(absl::StrCat("\"", name, "\" waits for a secret: keyturn put ", missing)));
    return;
  }
  using Asked = oauth::Refresher::Asked;
  const Asked asked = request.in_doubt() ? Asked::kInDoubt : Asked::kByAdministrator;
  refresher_.RefreshNow(
      name, asked, [this, name, done = std::move(done)](absl::Status status) mutable {
        const CredentialState* held = ledger_.Find(name);
        if (!status.ok() || held == nullptr || held->Current() == nullptr) {
          done(status.ok() ? NoSuch("credential", name) : status);
          return;
        }
        v1::RefreshResponse response;
        response.set_version(held->record.current_version);
        response.mutable_expires_at()->set_seconds(absl::ToUnixSeconds(Views().expires_at(*held)));
        done(std::move(response));
      });
}

absl::Status Keeper::CheckRotatable(const std::string& name) const {
  const auto state = Get(name);
  if (!state.ok()) return state.status();
  const v1::CredentialSpec& spec = (*state)->record.spec;
  if (spec.has_oauth()) {
    return Refuse(absl::StrCat("\"", name, "\" is an OAuth token; run: keyturn refresh ", name));
  }
  if (spec.provider().empty()) {
    return Refuse(absl::StrCat("\"", name,
                               "\" is a stored value that a person replaces; run: "
                               "keyturn put ",
                               name));
  }
  if (IsManual(name)) {
    return Refuse(absl::StrCat("the keys of \"", name,
                               "\" are made by a person, at the provider; store the next one with: "
                               "keyturn put ",
                               name));
  }
  if (const std::string missing = MissingSecret(spec, ledger_); !missing.empty()) {
    return Refuse(
        absl::StrCat("\"", name, "\" waits for its manager credential: keyturn put ", missing));
  }
  if ((*state)->rotation && (*state)->rotation->state != "sweeping") {
    return base::WithReason(absl::FailedPreconditionError(absl::StrCat(
                                "a rotation of \"", name, "\" is under way already, in state ",
                                (*state)->rotation->state, "; see: keyturn show ", name)),
                            "ROTATION_UNDER_WAY", {{"credential", name}});
  }
  return absl::OkStatus();
}

void Keeper::Undo(v1::UndoRequest request, Answer<v1::UndoResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    const auto state = Get(request.name());
    if (!state.ok()) return done(state.status());
    if (absl::Status status = engine_.Undo(request.name()); !status.ok()) return done(status);
    v1::UndoResponse response;
    response.set_version((*state)->record.current_version);
    if ((*state)->rotation) {
      response.mutable_grace_until()->set_seconds(
          absl::ToUnixSeconds((*state)->rotation->grace_until));
    }
    done(std::move(response));
  });
}

void Keeper::Disown(v1::DisownRequest request, Answer<v1::DisownResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    const std::string& name = request.name();
    const auto state = Get(name);
    if (!state.ok()) return done(state.status());
    if ((*state)->record.spec.provider().empty()) {
      return done(Refuse(absl::StrCat("\"", name, "\" has no provider that could list keys")));
    }
    const auto provider = ProviderOf(name);
    const bool in_doubt = (*state)->rotation && (*state)->rotation->state == "operator";
    if (provider.ok() && !AccountsForKeys((*provider)->traits()) && !in_doubt) {
      return done(Refuse(absl::StrCat(
          "keys at the provider of \"", name, "\", which is of class ",
          ProviderClassName((*provider)->traits().provider_class),
          ", cannot be told to be Keyturn's or somebody else's; nothing there is deleted but what "
          "this credential replaced, so there is nothing to disown")));
    }
    const size_t before = (*state)->record.disowned_key_ids.size();
    auto answer = std::make_shared<Answer<v1::DisownResponse>>(std::move(done));
    const absl::Status begun =
        engine_.Disown(name, {/*until_done=*/true, [](const v1::RotateResponse&) {},
                              [this, name, before, answer](absl::Status status) {
                                const CredentialState* held = ledger_.Find(name);
                                if (held == nullptr) return (*answer)(status);
                                const std::vector<std::string>& ids = held->record.disowned_key_ids;
                                v1::DisownResponse response;
                                for (size_t i = before; i < ids.size(); ++i)
                                  response.add_key_ids(ids[i]);
                                // The attempt that was in doubt ends as a failed one; that is not
                                // this call's.
                                if (!status.ok() && response.key_ids().empty())
                                  return (*answer)(status);
                                (*answer)(std::move(response));
                              }});
    if (!begun.ok()) (*answer)(begun);
  });
}

void Keeper::Rotate(v1::RotateRequest request, Step step,
                    absl::AnyInvocable<void(absl::Status)> done) {
  deps_.executor.Post([this, request = std::move(request), step = std::move(step),
                       done = std::move(done)]() mutable {
    const std::string& name = request.name();
    if (absl::Status status = CheckRotatable(name); !status.ok()) {
      done(status);
      return;
    }
    if (request.dry_run()) {
      done(PreviewRotation(name, step));
      return;
    }
    engine_.Start(
        name, /*sweep_only=*/false,
        rotation::Engine::Follower{request.wait_until_done(), std::move(step), std::move(done)});
  });
}

}  // namespace keyturn::lifecycle
