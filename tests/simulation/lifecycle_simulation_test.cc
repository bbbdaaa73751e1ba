// SPDX-License-Identifier: Apache-2.0
// Runs many simulated lives. `--seeds=N` for more of them, and the environment variable
// KEYTURN_SIMULATION_SEEDS for more wherever this runs: it wins. `--part=1/2` runs one half of
// them. A seed that fails is printed and replays exactly with `--seed=N`.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tests/simulation/scenario.h"

namespace keyturn::simulation {
namespace {

uint64_t first_seed = 1;
uint64_t seeds = 10'000;

std::string EndOf(const std::vector<std::string>& log) {
  const auto from = log.end() - std::min<std::ptrdiff_t>(25, std::ssize(log));
  return absl::StrJoin(from, log.end(), "\n  ");
}

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
                  << "\nThe end of its log:\n  " << EndOf(outcome.log);
  }
  std::cout << seeds << " lives, " << absl::ToDoubleHours(lived) / 24 / 365
            << " years: " << rotations << " rotations, " << refreshes << " token requests, "
            << crashes << " crashes\n";
  EXPECT_GT(rotations, 0);
  EXPECT_GT(refreshes, 0);
}

TEST(Simulation, ASeedReplaysExactly) {
  for (uint64_t seed = first_seed; seed < first_seed + std::min<uint64_t>(seeds, 20); ++seed) {
    const Outcome one = RunScenario(seed);
    const Outcome two = RunScenario(seed);
    EXPECT_EQ(one.summary, two.summary);
    EXPECT_EQ(one.rotations, two.rotations);
    EXPECT_EQ(one.refreshes, two.refreshes);
    EXPECT_EQ(one.broken, two.broken);
    ASSERT_FALSE(one.log.empty());
    ASSERT_EQ(one.log.size(), two.log.size()) << "seed " << seed;
    for (size_t i = 0; i < one.log.size(); ++i) {
      ASSERT_EQ(one.log[i], two.log[i]) << "seed " << seed << ", line " << i;
    }
  }
}

bool ReadNumber(absl::string_view arg, absl::string_view flag, uint64_t& out) {
  return absl::ConsumePrefix(&arg, flag) && absl::SimpleAtoi(arg, &out);
}

// `2/3`: the second third of the seeds.
bool ReadPart(absl::string_view arg) {
  const std::vector<std::string> numbers = absl::StrSplit(arg, '/');
  uint64_t part = 0, parts = 0;
  if (numbers.size() != 2 || !absl::SimpleAtoi(numbers[0], &part) ||
      !absl::SimpleAtoi(numbers[1], &parts) || part < 1 || part > parts) {
    return false;
  }
  const uint64_t before = seeds * (part - 1) / parts;
  first_seed += before;
  seeds = seeds * part / parts - before;
  return true;
}

// False, after saying why: nothing runs.
bool ReadArguments(int argc, char** argv) {
  std::string part = "1/1";
  bool replay = false;
  for (int i = 1; i < argc; ++i) {
    absl::string_view arg = argv[i];
    if (ReadNumber(arg, "--seed=", first_seed)) {
      replay = true;
    } else if (absl::ConsumePrefix(&arg, "--part=")) {
      part = std::string(arg);
    } else if (!ReadNumber(arg, "--first=", first_seed) && !ReadNumber(arg, "--seeds=", seeds)) {
      std::cerr << "usage: " << argv[0]
                << " [--seed=N] [--first=N] [--seeds=COUNT] [--part=K/OF]\n";
      return false;
    }
  }
  const char* text = std::getenv("KEYTURN_SIMULATION_SEEDS");
  if (text != nullptr && (!absl::SimpleAtoi(text, &seeds) || seeds == 0)) {
    std::cerr << "KEYTURN_SIMULATION_SEEDS must be a number of lives, and is \"" << text << "\"\n";
    return false;
  }
  if (replay) {
    seeds = 1;
  } else if (!ReadPart(part)) {
    std::cerr << "--part must be K/OF, as in 1/2, and is \"" << part << "\"\n";
    return false;
  }
  return true;
}

}  // namespace
}  // namespace keyturn::simulation

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!keyturn::simulation::ReadArguments(argc, argv)) return 2;
  return RUN_ALL_TESTS();
}
