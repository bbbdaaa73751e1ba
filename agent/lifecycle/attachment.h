// SPDX-License-Identifier: Apache-2.0
// How a value goes into a request, as far as its resource says. Pure.
#pragma once

#include <string>

#include "agent/base/secret.h"
#include "agent/lifecycle/freshness.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle {

// Fills token_type, attach_header and attach_format; the value is there already. `{token_type}` in
// a format stands for the type. A token without a header and a format of its own goes as RFC 6750
// section 2.1 or RFC 9449 section 7.1 say; without a format alone, it is all that its header holds.
void SetAttachment(const v1::CredentialSpec& spec, PublishedVersion& out);

// The header as it is sent: the format with the value in it.
base::Secret HeaderValue(const std::string& format, const base::Secret& value);

}  // namespace keyturn::lifecycle
