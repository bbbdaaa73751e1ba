// SPDX-License-Identifier: Apache-2.0
// Reads what a token endpoint answered. Pure; takes hostile input.
#pragma once

#include "agent/net/http_client.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::providers {

TokenReply ReadTokenReply(const net::HttpResult& result);

}  // namespace keyturn::providers
