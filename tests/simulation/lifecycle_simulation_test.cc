// SPDX-License-Identifier: Apache-2.0
// Runs many simulated lives. `--seeds=N` (or KEYTURN_SIMULATION_SEEDS) for more of them; a seed
// that fails is printed and replays exactly with `--seed=N`.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "tests/simulation/scenario.h"

namespace keyturn::simulation {
namespace {

uint64_t first_seed = 1;
uint64_t seeds = 10'000;

TEST(Simulation, EveryLifeEndsWithEverythingInOrder) {
  absl::Duration lived;
  int rotations = 0, refreshes = 0, crashes = 0, failed = 0;
  for (uint64_t seed = first_seed; seed < first_seed + seeds && failed < 5; ++seed) {
    const Outcome outcome = RunScenario(seed);
    lived += outcome.lived;
    rotations += outcome.rotations;
    refreshes += outcome.refreshes;
    crashes += outcome.crashes;
    if (outcome.broken.empty()) continue;
    ++failed;
    ADD_FAILURE() << "seed " << seed << " (" << outcome.summary << "; replay with --seed=" << seed
                  << "):\n  " << absl::StrJoin(outcome.broken, "\n  ")
                  << "\nThe end of its log:\n  " << absl::StrJoin(outcome.log, "\n  ");
  }
  std::cout << seeds << " lives, " << absl::ToDoubleHours(lived) / 24 / 365
            << " years: " << rotations << " rotations, " << refreshes << " token requests, "
            << crashes << " crashes\n";
  EXPECT_GT(rotations, 0);
  EXPECT_GT(refreshes, 0);
}

TEST(Simulation, ASeedReplaysExactly) {
  const Outcome one = RunScenario(first_seed);
  const Outcome two = RunScenario(first_seed);
  EXPECT_EQ(one.summary, two.summary);
  EXPECT_EQ(one.rotations, two.rotations);
  EXPECT_EQ(one.refreshes, two.refreshes);
  EXPECT_EQ(one.broken, two.broken);
}

bool ReadNumber(absl::string_view arg, absl::string_view flag, uint64_t& out) {
  return absl::ConsumePrefix(&arg, flag) && absl::SimpleAtoi(arg, &out);
}

}  // namespace
}  // namespace keyturn::simulation

int main(int argc, char** argv) {
  using namespace keyturn::simulation;
  testing::InitGoogleTest(&argc, argv);
  if (const char* text = std::getenv("KEYTURN_SIMULATION_SEEDS")) {
    ReadNumber(text, "", seeds);
  }
  for (int i = 1; i < argc; ++i) {
    if (ReadNumber(argv[i], "--seed=", first_seed)) {
      seeds = 1;
    } else if (ReadNumber(argv[i], "--first=", first_seed)) {
    } else if (!ReadNumber(argv[i], "--seeds=", seeds)) {
      std::cerr << "usage: " << argv[0] << " [--seed=N] [--first=N] [--seeds=COUNT]\n";
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
