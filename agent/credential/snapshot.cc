// SPDX-License-Identifier: Apache-2.0
#include "agent/credential/snapshot.h"

#include <utility>

#include "absl/hash/hash.h"
#include "agent/base/secret.h"

namespace keyturn::credential {
namespace {

std::atomic<uint64_t> g_next_snapshot_id{1};

void SetTime(google::protobuf::Timestamp* out, absl::Time time) {
  const timespec ts = absl::ToTimespec(time);
  out->set_seconds(ts.tv_sec);
  out->set_nanos(static_cast<int32_t>(ts.tv_nsec));
}

v1::Credential ReplyFor(const lifecycle::PublishedVersion& version) {
  v1::Credential reply;
  reply.set_name(version.name);
  reply.set_kind(version.kind);
  reply.set_version(version.version);
  for (const base::Field& field : version.value.fields) {
    v1::Field* out = reply.add_fields();
    out->set_name(field.name);
    const absl::string_view value = field.value.Reveal();
    out->set_value(value.data(), value.size());
    out->set_secret(field.secret);
  }
  reply.set_primary(version.value.primary);
  if (version.expires_wall < absl::InfiniteFuture()) {
    SetTime(reply.mutable_expires_at(), version.expires_wall);
  }
  if (version.refresh_after < absl::InfiniteFuture()) {
    SetTime(reply.mutable_refresh_after(), version.refresh_after);
  }
  reply.set_token_type(version.token_type);
  if (!version.attach_header.empty()) {
    reply.mutable_attach()->set_header(version.attach_header);
    reply.mutable_attach()->set_format(version.attach_format);
  }
  return reply;
}

void WipeValues(v1::Credential& reply) {
  for (v1::Field& field : *reply.mutable_fields()) base::Wipe(*field.mutable_value());
}

}  // namespace

struct Snapshot::ThreadView {
  struct Seen {
    uint64_t generation = 0;
    std::shared_ptr<const ShardMap> map;
  };
  uint64_t snapshot_id = 0;
  std::array<Seen, kShards> shards;
};

Snapshot::Snapshot() : id_(g_next_snapshot_id.fetch_add(1)) {}

size_t Snapshot::ShardOf(absl::string_view name) {
  return absl::Hash<absl::string_view>{}(name) % kShards;
}

const Snapshot::ShardMap& Snapshot::CurrentShard(size_t index) const {
  // One view a thread: a process has one snapshot, and a test with several only loses the caching.
  thread_local ThreadView view;
  if (view.snapshot_id != id_) {
    view = ThreadView();
    view.snapshot_id = id_;
  }
  ThreadView::Seen& seen = view.shards[index];
  const Shard& shard = shards_[index];
  if (seen.generation != shard.generation.load(std::memory_order_acquire)) {
    absl::MutexLock lock(&shard.mu);
    seen.map = shard.map;
    seen.generation = shard.generation.load(std::memory_order_relaxed);
  }
  return *seen.map;
}

template <class Change>
void Snapshot::Update(absl::string_view name, Change&& change) {
  Shard& shard = shards_[ShardOf(name)];
  absl::MutexLock lock(&shard.mu);
  auto next = std::make_shared<ShardMap>(*shard.map);
  change(*next);
  shard.map = std::move(next);
  shard.generation.fetch_add(1, std::memory_order_release);
}

void Snapshot::Put(const lifecycle::PublishedVersion& version) {
  auto entry = std::make_shared<SnapshotEntry>();
  entry->version = version.version;
  entry->expires = version.expires;
  entry->hard = version.hard;
  entry->longest_life = version.longest_life;
  entry->unavailable = version.unavailable;
  entry->is_token = version.kind == v1::OAUTH_TOKEN;
  if (version.version != 0) {
    v1::Credential reply = ReplyFor(version);
    std::string plain = reply.SerializeAsString();
    entry->sealed_reply = sealer_.Seal(plain);
    base::Wipe(plain);
    WipeValues(reply);
  }
  Update(version.name, [&](ShardMap& map) { map[version.name] = std::move(entry); });
}

void Snapshot::Remove(absl::string_view name) {
  Update(name, [&](ShardMap& map) { map.erase(name); });
}

void Snapshot::Open(const SnapshotEntry& entry, v1::Credential& out) const {
  thread_local std::string plain;  // keeps its capacity, so that a read allocates nothing here
  sealer_.Open(entry.sealed_reply, plain);
  out.ParseFromString(plain);
  base::Wipe(plain);
}

}  // namespace keyturn::credential
