// SPDX-License-Identifier: Apache-2.0
// The user's own browser. Opening it is a courtesy: whatever goes wrong with it changes nothing.
#pragma once

#include <string>

namespace keyturn::cli {

// Opens an http(s) address where there is a display. False when there is none, or no way to ask
// for a browser.
bool OpenBrowser(const std::string& url);

}  // namespace keyturn::cli
