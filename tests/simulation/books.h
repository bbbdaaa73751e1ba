// SPDX-License-Identifier: Apache-2.0
// What a service and the ledger must agree on once no rotation is under way (I2), for each class of
// provider. A pure function of what both say, so that it can itself be tested.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/providers/provider.h"
#include "keyturn/v1/admin.pb.h"
#include "tests/fakes/fake_provider.h"

namespace keyturn::simulation {

struct Books {
  providers::ProviderClass provider_class = providers::ProviderClass::kTagged;
  // What the ledger says of the credential.
  v1::DescribeResponse described;
  std::vector<fakes::FakeProvider::Key> existing;
  // Ids of keys that are somebody else's.
  std::set<std::string> foreign;
  // Values of keys that persons made: one that Keyturn does not know is theirs.
  std::set<std::string> by_hand;
  // Every value that was ever handed out, and the one that is now.
  std::set<std::string> given;
  std::string handed_out;
  // Create calls that were sent.
  int creates = 0;
  // How often a key was lost for which the credential says that it may be.
  int losses = 0;
};

// What they disagree on; nullopt: nothing.
std::optional<std::string> Disagreement(const Books& books);

}  // namespace keyturn::simulation
