// SPDX-License-Identifier: Apache-2.0
// What is wrong with a unix socket, in the kernel's words: gRPC reports every failed connection
// alike. Never blocks. Private to the client library and the command line.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace keyturn::client {

enum class SocketState { kListening, kBusy, kAbsent, kDenied, kNobodyListens, kBroken };

SocketState ProbeSocket(const std::string& path);

// "nobody listens there", ...
absl::string_view Describe(SocketState state);

}  // namespace keyturn::client
