// SPDX-License-Identifier: Apache-2.0
// The cache over one Watch. Each name has its own slot, whose lock is held only to copy or exchange
// a pointer, so readers of different names never meet and readers of one barely do.
#include "keyturn/cached_credentials.h"

#include <utility>

namespace keyturn {

CachedCredentials::CachedCredentials(std::shared_ptr<Client> client, std::vector<std::string> names,
                                     CacheOptions options)
    : client_(std::move(client)), options_(std::move(options)) {
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
    if (valid) return value;
  }
  absl::StatusOr<Credential> fetched = client_->Get(name, options_.get);
  if (!fetched.ok()) return fetched.status();
  auto value = std::make_shared<const Credential>(*std::move(fetched));
  if (slot == nullptr) return value;
  return Keep(*slot, std::move(value));
}

void CachedCredentials::OnEvent(WatchEvent event) {
  switch (event.type) {
    case WatchEvent::Type::kValue:
      if (const auto found = slots_.find(event.credential.name); found != slots_.end()) {
        auto value = std::make_shared<const Credential>(std::move(event.credential));
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
