// SPDX-License-Identifier: Apache-2.0
// The cache over one Watch. Each name has its own slot, whose lock is held only to copy or exchange
// a pointer, so readers of different names never meet and readers of one barely do.
#include "keyturn/cached_credentials.h"

#include <utility>

#include "client/lib/acknowledger.h"

namespace keyturn {

CachedCredentials::CachedCredentials(std::shared_ptr<Client> client, std::vector<std::string> names,
                                     CacheOptions options)
    : client_(std::move(client)),
      options_(std::move(options)),
      acknowledger_(options_.acknowledge ? std::make_unique<client::Acknowledger>(client_)
                                         : nullptr) {
  for (const std::string& name : names) slots_.emplace(name, std::make_unique<Slot>());
  WatchOptions watch = options_.watch;
  // One missing name must not leave the others stale.
  watch.keep_going_when_refused = true;
  watch_ = client_->Watch(
      std::move(names), [this](WatchEvent event) { OnEvent(std::move(event)); }, std::move(watch));
}

CachedCredentials::~CachedCredentials() = default;

bool CachedCredentials::Synced() const {
  absl::ReaderMutexLock lock(&mutex_);
  return synced_;
}

absl::StatusOr<std::shared_ptr<const Credential>> CachedCredentials::Current(
    const std::string& name) {
  const auto found = slots_.find(name);
  Slot* slot = found == slots_.end() ? nullptr : found->second.get();
  if (slot != nullptr) {
    std::shared_ptr<const Credential> value;
    {
      absl::ReaderMutexLock lock(&slot->mutex);
      value = slot->value;
    }
    const bool valid =
        value != nullptr && (!value->expires_at.has_value() || options_.now() < *value->expires_at);
    if (valid) return HandOut(*slot, std::move(value));
  }
  absl::StatusOr<Credential> fetched = client_->Get(name, options_.get);
  if (!fetched.ok()) return fetched.status();
  // Outside the set nobody would hear of the next version.
  if (slot == nullptr) return std::make_shared<const Credential>(*std::move(fetched));
  return HandOut(*slot, Keep(*slot, Counted(*std::move(fetched))));
}

std::shared_ptr<const Credential> CachedCredentials::Counted(Credential credential) {
  if (acknowledger_ == nullptr || credential.kind != CredentialKind::kApiKey) {
    return std::make_shared<const Credential>(std::move(credential));
  }
  return acknowledger_->Count(std::move(credential));
}

std::shared_ptr<const Credential> CachedCredentials::HandOut(
    Slot& slot, std::shared_ptr<const Credential> value) {
  if (acknowledger_ != nullptr && value->kind == CredentialKind::kApiKey &&
      slot.read.load(std::memory_order_relaxed) != value->version) {
    // In one step, so that the last of two callers is the last in both places.
    absl::MutexLock lock(&slot.mutex);
    slot.read.store(value->version, std::memory_order_relaxed);
    acknowledger_->Read(value->name, value->version);
  }
  return value;
}

void CachedCredentials::OnEvent(WatchEvent event) {
  switch (event.type) {
    case WatchEvent::Type::kValue:
      if (const auto found = slots_.find(event.credential.name); found != slots_.end()) {
        auto value = Counted(std::move(event.credential));
        // Whatever its version: a credential made anew counts from one again.
        absl::MutexLock lock(&found->second->mutex);
        found->second->value = std::move(value);
      }
      break;
    case WatchEvent::Type::kDeleted:
    case WatchEvent::Type::kRefused:
      // Not ours to hand out any more: the next Current() asks the agent, whose error says why.
      if (const auto found = slots_.find(event.name); found != slots_.end()) {
        absl::MutexLock lock(&found->second->mutex);
        found->second->value = nullptr;
      }
      break;
    case WatchEvent::Type::kSynced: {
      absl::MutexLock lock(&mutex_);
      synced_ = true;
      if (acknowledger_ != nullptr) acknowledger_->SayAgain();
      break;
    }
    case WatchEvent::Type::kDisconnected:
    case WatchEvent::Type::kEnded: {
      absl::MutexLock lock(&mutex_);
      synced_ = false;
      break;
    }
  }
}

std::shared_ptr<const Credential> CachedCredentials::Keep(Slot& slot,
                                                          std::shared_ptr<const Credential> value) {
  absl::MutexLock lock(&slot.mutex);
  // A call may answer after the watch has told of something newer.
  if (slot.value == nullptr || slot.value->version <= value->version) {
    slot.value = std::move(value);
  }
  return slot.value;
}

}  // namespace keyturn
