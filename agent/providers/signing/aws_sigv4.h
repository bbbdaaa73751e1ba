// SPDX-License-Identifier: Apache-2.0
// AWS Signature Version 4 in the Authorization header, as the AWS General Reference describes it
// for services other than S3 (which does not encode the path a second time). Pure, thread-safe.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/secret.h"
#include "agent/net/http_client.h"

namespace keyturn::providers {

struct AwsIdentity {
  std::string service;
  std::string region;
  std::string access_key_id;
  base::Secret secret_access_key;
  base::Secret session_token;  // empty: none
};

// Adds X-Amz-Date, X-Amz-Security-Token where there is one, and Authorization. Everything that is
// in the request by then is signed. InvalidArgument, which names no value, when the parts of the
// identity cannot stand in a header.
absl::Status SignAwsSigV4(const AwsIdentity& identity, absl::Time now, net::HttpRequest* request);

}  // namespace keyturn::providers
