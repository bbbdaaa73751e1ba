// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/sample_records.h"

#include <utility>

namespace keyturn::fakes {
namespace {

absl::Time At(int second) {
  return absl::FromUnixSeconds(1767614400 + second) + absl::Nanoseconds(123456789);
}

base::CredentialValue TwoFields() {
  base::CredentialValue value;
  value.primary = "secret";
  value.fields.push_back({"id", base::Secret("AKIA-public-part"), false});
  value.fields.push_back({"secret", base::Secret(absl::string_view("s3cr\0t", 6)), true});
  return value;
}

store::CredentialRecord SampleCredential() {
  store::CredentialRecord record;
  record.name = "support-bot/dify";
  record.spec.set_provider("dify-support");
  record.spec.mutable_rotate()->mutable_every()->set_seconds(90 * 86400);
  record.spec.mutable_rotate()->set_jitter("10%");
  record.current_version = 4;
  record.retiring_version = 3;
  record.last_version = 5;
  record.rotation_counter = 6;
  record.last_rotated = At(1);
  record.next_due = At(2);
  record.consecutive_failures = 7;
  record.failure_code = "ROTATION_FAILED";
  record.failure_detail = "the provider answered 503";
  record.failure_since = At(3);
  record.disowned_key_ids = {"key-a", "key-b"};
  return record;
}

store::VersionRecord SampleVersion() {
  store::VersionRecord record;
  record.credential = "support-bot/dify";
  record.number = 4;
  record.state = store::VersionState::kRetiring;
  record.value = TwoFields();
  record.provider_key_id = "key-4";
  record.created_at = At(10);
  record.requested_at = At(11);
  record.requested_boot = {"boot-1", {absl::Seconds(35)}};
  record.promoted_at = At(12);
  record.expires_at = absl::InfiniteFuture();
  record.grace_until = At(13);
  record.ended_at = At(14);
  return record;
}

store::RotationRecord SampleRotation() {
  store::RotationRecord record;
  record.id = "abcdefghijklmnop";
  record.credential = "support-bot/dify";
  record.state = "creating";
  record.attempt = 2;
  record.fence = 9;
  record.tag = "kt-testag-6-2";
  record.seen_before = {"key-3", "key-4"};
  record.new_key_id = "key-5";
  record.new_value = TwoFields();
  record.new_expires_at = At(20);
  record.old_key_id = "key-4";
  record.old_version = 4;
  record.new_version = 5;
  record.started_at = At(21);
  record.sent_at = At(22);
  record.settle_until = At(23);
  record.verify_until = At(24);
  record.grace_until = At(25);
  record.dead_by = At(26);
  record.abort_ids = {"key-x"};
  record.last_error = "timeout";
  record.clean_lists = 1;
  record.step_failures = 3;
  record.grace_max = At(27);
  record.creates = 1;
  record.target = "key2";
  record.target_before = base::Secret("s3cr3t-before");
  return record;
}

store::RefreshRecord SampleRefresh() {
  store::RefreshRecord record;
  record.credential = "crm/token";
  record.refresh_token = base::Secret("refresh-s3cr3t");
  record.refresh_token_since = At(30);
  record.refresh_token_expires_at = At(31);
  record.inflight_since = At(32);
  record.inflight_boot = {"boot-1", {absl::Milliseconds(36500)}};
  record.in_doubt = true;
  record.needs_consent = true;
  record.consented_at = At(33);
  record.last_used_at = At(34);
  record.dpop_key = base::Secret("dpop-s3cr3t");
  record.restored = true;
  return record;
}

}  // namespace

std::vector<store::Record> SampleRecords() {
  store::ProviderRecord provider;
  provider.name = "dify-support";
  provider.spec.set_recipe("dify-app-key");
  provider.spec.set_endpoint("https://dify.example.com");
  // Two, so that the order of map fields in the bytes is frozen too.
  (*provider.spec.mutable_params())["workspace_id"] = "77ab";
  (*provider.spec.mutable_params())["app_id"] = "3f1c";

  store::PolicyRecord policy;
  policy.name = "support-bot";
  policy.spec.add_allow(v1::READ);
  policy.spec.add_on("support-bot/*");

  store::TagRecord tag{"support-bot/dify", "kt-testag-6-1", At(40)};
  store::ConsumersRecord consumers{
      "support-bot/dify",
      {{"unix:uid=12,gid=34", 5, At(60), At(61), 4}, {"unix:uid=0,gid=0", 4, At(62), At(63), 0}}};
  store::HistoryRecord history{
      "support-bot/dify", 18446744073709551615u, At(51), At(50), "rotation", "done", 4, "in 3 s"};

  std::vector<store::Record> records;
  records.emplace_back(std::move(provider));
  records.emplace_back(std::move(policy));
  records.emplace_back(SampleCredential());
  records.emplace_back(SampleVersion());
  records.emplace_back(SampleRotation());
  records.emplace_back(std::move(tag));
  records.emplace_back(SampleRefresh());
  records.emplace_back(std::move(consumers));
  records.emplace_back(std::move(history));
  return records;
}

}  // namespace keyturn::fakes
