// SPDX-License-Identifier: Apache-2.0
// Explores every world that can follow from the first one, breadth first, and says whether one of
// them breaks an invariant or has no way back to a clean state. A model is a class with a World and
// the functions that are called below. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

namespace keyturn::model {

// Whether a step needs bad luck, or is what a fair world does sooner or later. A message in flight
// is in the end either delivered or lost; each must lead to a clean state.
enum class Fate : uint8_t { kBadLuck, kFair, kDelivered, kLost };

struct Verdict {
  size_t states = 0;
  // Worlds at rest after a promotion: shows that rotations really end.
  size_t rotated = 0;
  // Empty: all is well. Else what is broken, and the shortest way to it.
  std::string violation;
  std::vector<std::string> trace;

  std::string ToString() const;
};

template <class Model>
class Explorer {
 public:
  // Gives up (with a violation that says so) beyond `states_max`.
  Explorer(const Model& model, size_t states_max) : model_(model), states_max_(states_max) {}

  Verdict Run() {
    Visit(model_.First(), 0, "start");
    for (uint32_t at = 0; at < worlds_.size(); ++at) {
      const World world = worlds_[at];  // the vector grows below
      if (std::string broken = model_.ViolationIn(world); !broken.empty()) {
        return Broken(std::move(broken), at);
      }
      if (worlds_.size() > states_max_) return Broken("too many states", at);
      if (model_.IsClean(world) && world.rotated) ++verdict_.rotated;
      for (auto& move : model_.MovesFrom(world)) {
        const uint32_t to = Visit(std::move(move.next), at, move.what);
        if (move.fate != Fate::kBadLuck) edges_.push_back({at, to, move.fate});
      }
    }
    verdict_.states = worlds_.size();
    std::sort(edges_.begin(), edges_.end(),
              [](const Edge& a, const Edge& b) { return a.to < b.to; });
    for (Fate fate : {Fate::kDelivered, Fate::kLost}) {
      if (const uint32_t stuck = Stuck(fate); stuck < worlds_.size()) {
        return Broken(fate == Fate::kLost ? "no way to a clean state when messages are lost"
                                          : "no way to a clean state when messages arrive",
                      stuck);
      }
    }
    return verdict_;
  }

 private:
  using World = typename Model::World;
  struct Edge {
    uint32_t from;
    uint32_t to;
    Fate fate;
  };

  uint32_t Visit(World world, uint32_t from, const char* how) {
    const auto next = static_cast<uint32_t>(worlds_.size());
    const auto [entry, fresh] = seen_.try_emplace(model_.Packed(world), next);
    if (fresh) {
      worlds_.push_back(world);
      came_.push_back({from, how});
    }
    return entry->second;
  }

  // The first world from which fair steps lead nowhere clean; worlds_.size() when there is none.
  uint32_t Stuck(Fate fate) const {
    std::vector<bool> good(worlds_.size());
    std::vector<uint32_t> todo;
    for (uint32_t i = 0; i < worlds_.size(); ++i) {
      if (!model_.IsClean(worlds_[i])) continue;
      good[i] = true;
      todo.push_back(i);
    }
    while (!todo.empty()) {
      const uint32_t to = todo.back();
      todo.pop_back();
      auto edge = std::lower_bound(edges_.begin(), edges_.end(), to,
                                   [](const Edge& e, uint32_t key) { return e.to < key; });
      for (; edge != edges_.end() && edge->to == to; ++edge) {
        if ((edge->fate != Fate::kFair && edge->fate != fate) || good[edge->from]) continue;
        good[edge->from] = true;
        todo.push_back(edge->from);
      }
    }
    return static_cast<uint32_t>(std::find(good.begin(), good.end(), false) - good.begin());
  }

  Verdict Broken(std::string what, uint32_t at) {
    verdict_.states = worlds_.size();
    verdict_.violation = std::move(what);
    for (uint32_t i = at; i != 0; i = came_[i].first) {
      verdict_.trace.push_back(
          absl::StrCat(came_[i].second, "  [", model_.Describe(worlds_[i]), "]"));
    }
    std::reverse(verdict_.trace.begin(), verdict_.trace.end());
    return verdict_;
  }

  const Model& model_;
  const size_t states_max_;
  Verdict verdict_;
  std::vector<World> worlds_;
  std::vector<std::pair<uint32_t, const char*>> came_;
  std::vector<Edge> edges_;
  absl::flat_hash_map<std::string, uint32_t> seen_;
};

template <class Model>
Verdict Explore(const Model& model, size_t states_max = 3'000'000) {
  return Explorer<Model>(model, states_max).Run();
}

}  // namespace keyturn::model
