// SPDX-License-Identifier: Apache-2.0
// FakeAgent: an in-process gRPC server on a unix socket that speaks the Credentials and Admin
// services as far as clients need to be tested. It keeps values in memory, records what it was
// asked, can fail calls with details, and can go away and come back. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/server.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "keyturn/v1/admin.grpc.pb.h"
#include "keyturn/v1/credentials.grpc.pb.h"

namespace keyturn::fakes {

// A grpc error with ErrorInfo and, when positive, RetryInfo.
grpc::Status DetailedError(grpc::StatusCode code, const std::string& message,
                           const std::string& reason,
                           absl::Duration retry_delay = absl::ZeroDuration());

class FakeAgent {
 public:
  explicit FakeAgent(std::string socket_path);
  ~FakeAgent();

  // Not running at first. Stop() ends streams and removes the socket, as a stopped agent does.
  void Start();
  void Stop();

  const std::string& socket_path() const { return socket_path_; }

  // Sets the value of a credential; watchers are told.
  void Set(const std::string& name, uint64_t version, const std::string& value,
           absl::Time expires_at = absl::InfiniteFuture());
  // Gives the credential all it can have: two fields, a header.
  void SetCredential(v1::Credential credential);
  void Delete(const std::string& name);
  // Get, BatchGet and Watch of that name fail so, until OK is set.
  void FailName(const std::string& name, grpc::Status status);

  int get_calls() const;
  // `NAME VERSION` of each acknowledgement so far.
  std::vector<std::string> acknowledgements() const;
  // Waits until there are that many; false when it takes too long.
  bool AwaitAcknowledgements(size_t count) const;
  // The requests of all watches so far.
  std::vector<v1::WatchRequest> watches() const;
  // Waits until that many watches have been sent SYNCED.
  void AwaitSynced(int count) const;

  // What the Admin service answers; set before Start().
  struct Admin {
    std::function<grpc::Status(const v1::ApplyRequest&, v1::ApplyResponse*)> apply;
    std::function<grpc::Status(const v1::PutRequest&)> put;
    std::vector<v1::RotateResponse> rotate_steps;
    v1::ListResponse list;
    v1::DescribeResponse describe;
    v1::HistoryResponse history;
    v1::ListRecipesResponse recipes;
    v1::ShowRecipeResponse recipe;
    v1::TestRecipeResponse recipe_trial;
    v1::ListPresetsResponse presets;
    v1::ShowPresetResponse preset;
    v1::RevokeResponse revoked;
    v1::TestCredentialResponse trial;
    v1::DeleteResponse deleted;
    v1::StatusResponse status;
    grpc::Status error = grpc::Status::OK;
  };
  Admin admin;

 private:
  class CredentialsService;
  class AdminService;

  const std::string socket_path_;
  std::unique_ptr<CredentialsService> credentials_service_;
  std::unique_ptr<AdminService> admin_service_;
  std::unique_ptr<grpc::Server> server_;
};

// A directory that is removed with all it holds.
class SocketDirectory {
 public:
  SocketDirectory();
  ~SocketDirectory();
  SocketDirectory(const SocketDirectory&) = delete;
  SocketDirectory& operator=(const SocketDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace keyturn::fakes
