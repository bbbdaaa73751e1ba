// SPDX-License-Identifier: Apache-2.0
// One open Credentials.Watch: current values, SYNCED, then changes. At most one message is under
// way; what changes meanwhile is remembered by name alone, so a slow reader skips to the newest
// version and costs bounded memory. Policy is asked again before each message. Thread-safe.
//
// A credential that exists but has no valid value yet is sent when it gets one. Of a watch that
// resumes, a name that is gone is answered with Deleted; in a first watch it is NOT_FOUND.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/api/open_streams.h"
#include "agent/credential/watch_hub.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::api {

class CredentialService;

class WatchCall final : public grpc::ServerWriteReactor<v1::WatchResponse>, public EndableStream {
 public:
  // The names are checked and allowed. The call belongs to itself until it is over.
  static grpc::ServerWriteReactor<v1::WatchResponse>* Start(CredentialService& service,
                                                            const v1::WatchRequest& request);
  void End() override;

 private:
  WatchCall(CredentialService& service, const v1::WatchRequest& request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // There is something new to tell.
  void Woken();
  void EndWith(absl::Status status);
  // For whoever holds the right to write: sends the next message, ends the call, or gives the right
  // back when there is nothing to do.
  void Next();
  bool MayRest();
  // Puts the next message into response_; false when there is none for now.
  bool Compose();
  bool ComposeFirst(const std::string& name);
  bool ComposeChange(const std::string& name);
  bool ComposeValue(const std::string& name, absl::Status& status);
  void ComposeDeleted(const std::string& name);
  void SetEnd(absl::Status status);

  CredentialService& service_;
  std::shared_ptr<WatchCall> self_;
  std::unique_ptr<credential::Subscription> subscription_;

  // Of the holder of the right to write.
  std::vector<std::string> names_;
  size_t next_first_ = 0;
  bool is_synced_ = false;
  absl::flat_hash_map<std::string, uint64_t> told_;  // name -> version the reader has
  v1::WatchResponse response_;

  absl::Mutex mu_;
  bool is_writing_ ABSL_GUARDED_BY(mu_) = true;  // somebody holds the right to write
  bool is_woken_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::api
