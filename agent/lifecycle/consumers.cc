// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/consumers.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace keyturn::lifecycle {
namespace {

using Consumer = store::ConsumersRecord::Consumer;

// `unix:uid=1000,user=support,gid=1000` of `unix:uid=1000,user=support,gid=1000,pid=4711`.
absl::string_view UserOf(absl::string_view principal) {
  return principal.substr(0, principal.rfind(",pid="));
}

// Any number of processes: those for which there was no room, and those of another pid namespace,
// whose numbers are unknown here. What one of them does says nothing about the others.
bool IsMany(absl::string_view principal) {
  return principal.empty() || absl::EndsWith(principal, ",pid=0");
}

// A consumer that acknowledges says itself when it stops using a version.
uint64_t UsedVersion(const Consumer& consumer) {
  return consumer.acknowledged != 0 ? consumer.acknowledged : consumer.version;
}

bool HasGone(const Consumer& consumer, absl::Time now) {
  return now - consumer.last_given > kConsumerGoneAfter;
}

bool Succeeds(const Consumer& next, const Consumer& ended) {
  return next.principal != ended.principal && UserOf(next.principal) == UserOf(ended.principal) &&
         (next.since >= ended.last_given || next.version == ended.version);
}

Consumer* Find(store::ConsumersRecord& record, absl::string_view principal) {
  const auto found =
      std::find_if(record.consumers.begin(), record.consumers.end(),
                   [&](const Consumer& consumer) { return consumer.principal == principal; });
  return found == record.consumers.end() ? nullptr : &*found;
}

}  // namespace

std::vector<Holder> HoldersOf(const store::ConsumersRecord& record, absl::Time now) {
  std::vector<Holder> holders;
  for (const Consumer& consumer : record.consumers) {
    if (HasGone(consumer, now)) continue;
    const uint64_t used = UsedVersion(consumer);
    holders.push_back({consumer.principal, used, consumer.since, consumer.last_given,
                       consumer.acknowledged != 0 && consumer.acknowledged == used});
  }
  return holders;
}

std::vector<Holder> HoldersOf(const store::ConsumersRecord& record, uint64_t old_version,
                              uint64_t current_version, absl::Time now) {
  std::vector<Holder> holders = HoldersOf(record, now);
  holders.erase(std::remove_if(holders.begin(), holders.end(),
                               [&](const Holder& holder) {
                                 if (IsMany(holder.principal)) return false;
                                 return holder.version == current_version ||
                                        holder.version > old_version;
                               }),
                holders.end());
  return holders;
}

bool ConsumersMovedOn(const store::ConsumersRecord& record, uint64_t old_version,
                      uint64_t current_version, absl::Time now) {
  return HoldersOf(record, old_version, current_version, now).empty();
}

RecordChange Remember(store::ConsumersRecord& record, const Delivery& delivery) {
  Consumer* consumer = Find(record, delivery.principal);
  if (consumer == nullptr) {
    const size_t named = record.consumers.size() - (Find(record, "") == nullptr ? 0 : 1);
    if (!delivery.principal.empty() && named >= kConsumersMax) {
      Delivery other = delivery;
      other.principal.clear();
      other.acknowledged = false;
      return Remember(record, other);
    }
    Consumer added;
    added.principal = delivery.principal;
    added.version = delivery.version;
    added.since = added.last_given = delivery.at;
    if (delivery.acknowledged) added.acknowledged = delivery.version;
    record.consumers.push_back(std::move(added));
    return RecordChange::kNews;
  }
  RecordChange change = RecordChange::kNone;
  if (consumer->last_given < delivery.at) {
    consumer->last_given = delivery.at;
    change = RecordChange::kSeenAgain;
  }
  if (delivery.acknowledged && consumer->acknowledged != delivery.version) {
    consumer->acknowledged = delivery.version;
    change = RecordChange::kNews;
  }
  if (!delivery.acknowledged && consumer->version != delivery.version) {
    consumer->version = delivery.version;
    consumer->since = delivery.at;
    change = RecordChange::kNews;
  }
  return change;
}

RecordChange Prune(store::ConsumersRecord& record, absl::Time now, const HasEnded& has_ended) {
  const size_t before = record.consumers.size();
  auto& all = record.consumers;
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const Consumer& consumer) { return HasGone(consumer, now); }),
            all.end());
  // One at a time: of two that have both ended, one stays to be succeeded.
  for (auto it = all.begin(); it != all.end();) {
    const bool succeeded = !IsMany(it->principal) &&
                           std::any_of(all.begin(), all.end(),
                                       [&](const Consumer& next) { return Succeeds(next, *it); }) &&
                           has_ended(it->principal);
    it = succeeded ? all.erase(it) : it + 1;
  }
  return all.size() == before ? RecordChange::kNone : RecordChange::kNews;
}

}  // namespace keyturn::lifecycle
