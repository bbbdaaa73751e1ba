// SPDX-License-Identifier: Apache-2.0
// One Watch: a thread that keeps a stream open, makes it again when it breaks, resumes from the
// versions it has told of, and calls back. Private to the client.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/lib/connection.h"
#include "keyturn/client.h"

namespace keyturn::client {

// `client` must outlive the handle. A watch whose callback destroys its own handle ends a little
// after it, and touches only the connection until then.
std::unique_ptr<WatchHandle> StartWatch(std::shared_ptr<Connection> connection, Client* client,
                                        std::vector<std::string> names,
                                        std::function<void(WatchEvent)> callback,
                                        WatchOptions options);

}  // namespace keyturn::client
