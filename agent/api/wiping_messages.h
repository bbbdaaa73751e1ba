// SPDX-License-Identifier: Apache-2.0
// Request and response of a call, in memory that is wiped of secrets when the call is over. What
// gRPC serialized from them or parsed them from is out of reach: its buffers are freed, not wiped.
// Stateless, thread-safe.
#pragma once

#include <grpcpp/support/message_allocator.h>

#include "agent/base/secret.h"
#include "keyturn/v1/admin.pb.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::api {

inline void WipeSecrets(v1::Credential& credential) {
  for (v1::Field& field : *credential.mutable_fields()) base::Wipe(*field.mutable_value());
}
inline void WipeSecrets(v1::GetResponse& response) {
  if (response.has_credential()) WipeSecrets(*response.mutable_credential());
}
inline void WipeSecrets(v1::BatchGetResponse& response) {
  for (v1::BatchGetResult& result : *response.mutable_results()) {
    if (result.has_credential()) WipeSecrets(*result.mutable_credential());
  }
}
inline void WipeSecrets(v1::WatchResponse& response) {
  if (response.has_credential()) WipeSecrets(*response.mutable_credential());
}
inline void WipeSecrets(v1::PutRequest& request) {
  for (v1::Field& field : *request.mutable_fields()) base::Wipe(*field.mutable_value());
}
// The address holds a code that is good until it is used.
inline void WipeSecrets(v1::FinishLoginRequest& request) {
  base::Wipe(*request.mutable_redirected_to());
}
inline void WipeSecrets(v1::GetRequest&) {}
inline void WipeSecrets(v1::BatchGetRequest&) {}
inline void WipeSecrets(v1::PutResponse&) {}
inline void WipeSecrets(v1::FinishLoginResponse&) {}

template <class Request, class Response>
class WipingMessages final : public grpc::MessageAllocator<Request, Response> {
 public:
  // Lives as long as the process, as every server that uses it needs.
  static WipingMessages* Instance() {
    static WipingMessages instance;
    return &instance;
  }
  grpc::MessageHolder<Request, Response>* AllocateMessages() override { return new Holder; }

 private:
  class Holder final : public grpc::MessageHolder<Request, Response> {
   public:
    Holder() {
      this->set_request(&request_);
      this->set_response(&response_);
    }
    void Release() override {
      WipeSecrets(request_);
      WipeSecrets(response_);
      delete this;
    }

   private:
    Request request_;
    Response response_;
  };
};

}  // namespace keyturn::api
