// SPDX-License-Identifier: Apache-2.0
// keyturn.v1.Credentials for the caller of one connection. Get answers inline from the snapshot
// when it can; else the call waits for the refresh that all callers share, and leaving early ends
// the call, not the refresh. Thread-safe.
#pragma once

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/api/connection_policy.h"
#include "agent/api/delivery_marks.h"
#include "agent/api/open_streams.h"
#include "agent/api/read_audit.h"
#include "agent/audit/audit_sink.h"
#include "agent/base/clock.h"
#include "agent/credential/resolver.h"
#include "agent/credential/watch_hub.h"
#include "agent/lifecycle/lifecycle.h"
#include "keyturn/v1/credentials.grpc.pb.h"

namespace keyturn::api {

class CredentialService final : public v1::Credentials::CallbackService {
 public:
  struct Dependencies {
    credential::Resolver& resolver;
    credential::WatchHub& watch_hub;
    lifecycle::Lifecycle& lifecycle;
    audit::AuditSink& audit;
    const base::Clock& clock;
  };
  CredentialService(const Dependencies& dependencies, ConnectionPolicy& policy);

  // Open watches end with UNAVAILABLE; later ones are refused so.
  void EndStreams() { streams_.EndAll(); }

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const v1::GetRequest* request,
                                v1::GetResponse* response) override;
  grpc::ServerUnaryReactor* BatchGet(grpc::CallbackServerContext* context,
                                     const v1::BatchGetRequest* request,
                                     v1::BatchGetResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchResponse>* Watch(grpc::CallbackServerContext* context,
                                                     const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* Acknowledge(grpc::CallbackServerContext* context,
                                        const v1::AcknowledgeRequest* request,
                                        v1::AcknowledgeResponse* response) override;
  grpc::ServerUnaryReactor* ReportRejected(grpc::CallbackServerContext* context,
                                           const v1::ReportRejectedRequest* request,
                                           v1::ReportRejectedResponse* response) override;
  grpc::ServerUnaryReactor* WhoAmI(grpc::CallbackServerContext* context,
                                   const v1::WhoAmIRequest* request,
                                   v1::WhoAmIResponse* response) override;

 private:
  friend class WatchCall;
  struct Batch;

  // On record, and known to whoever decides when the old key may go.
  void Given(const char* method, const v1::Credential& credential, const authz::Decision& decision);
  // OK, or why the caller is not to be given `name`; records a denial.
  absl::Status Authorize(const char* method, absl::string_view name, authz::Decision& decision);
  grpc::ServerUnaryReactor* GetLater(grpc::CallbackServerContext* context, const std::string& name,
                                     absl::Duration min_remaining, authz::Decision decision,
                                     v1::GetResponse* response);
  template <class Response, class Start>
  grpc::ServerUnaryReactor* Hear(grpc::CallbackServerContext* context, const char* method,
                                 const std::string& name, uint64_t version, Response* response,
                                 Start start);
  absl::Duration TimeLeft(const grpc::CallbackServerContext& context) const;
  void FillResult(const absl::Status& status, const authz::Decision& decision,
                  v1::Credential* credential, v1::BatchGetResult& result);

  credential::Resolver& resolver_;
  credential::WatchHub& watch_hub_;
  lifecycle::Lifecycle& lifecycle_;
  const base::Clock& clock_;
  ConnectionPolicy& policy_;
  ReadAudit audit_;
  DeliveryMarks marks_;
  OpenStreams streams_;
};

}  // namespace keyturn::api
