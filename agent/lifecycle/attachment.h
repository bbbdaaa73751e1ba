// SPDX-License-Identifier: Apache-2.0
// How a value goes into a request, as far as its resource says. Pure.
#pragma once

#include "agent/lifecycle/freshness.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle {

// Fills token_type, attach_header and attach_format; the value is there already. `{token_type}` in
// a format stands for the type. A token without a format of its own goes as RFC 6750 section 2.1 or
// RFC 9449 section 7.1 say.
void SetAttachment(const v1::CredentialSpec& spec, PublishedVersion& out);

}  // namespace keyturn::lifecycle
