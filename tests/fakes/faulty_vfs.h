// SPDX-License-Identifier: Apache-2.0
// A file system for SQLite over the real one that fails when told to: the nth call with which
// SQLite changes the database, its WAL or its journal, be it a write, a sync, a truncation or a
// growing of the WAL's index. Nothing is really synced, which takes long: it remembers what was
// written since a file was last synced, so it can say, and show, what is left when a sync fails or
// the power does. One at a time in a process; the default of every connection opened while it
// lives, and must outlive them. Thread-safe.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace keyturn::fakes {

enum class WriteFault {
  kDiskFull,    // nothing is written, by the next three calls neither; a sync fails for the same
  kIoError,     // nothing is written or synced
  kShortWrite,  // half is written; other calls as kIoError
  kLostSync,    // a sync fails, and with it all is gone that was not synced; others as kIoError
  kKilled,      // half is written, then the process is as good as dead: every later call fails
};

class FaultyVfs {
 public:
  FaultyVfs();
  ~FaultyVfs();
  FaultyVfs(const FaultyVfs&) = delete;
  FaultyVfs& operator=(const FaultyVfs&) = delete;

  // The nth call from now fails, 1 being the next. Replaces what was set before.
  void Fail(uint64_t nth, WriteFault fault);
  // No call fails from now on.
  void Heal();
  uint64_t calls() const;

  // Only files whose path begins so are counted and fail; at first all.
  void Only(std::string prefix);
  // Called with what each call is, such as "write:wal", before it is made. Neither is set while
  // another thread uses a database.
  void OnCall(std::function<void(absl::string_view)> observer) { on_call_ = std::move(observer); }
  // Called in the middle of the write that is the last one, with kKilled.
  void OnKill(std::function<void()> kill) { on_kill_ = std::move(kill); }

  // What is in `bytes` of the file `path` if the power fails now: without what was not synced.
  std::string AfterPowerLoss(const std::string& path, std::string bytes) const;

  // `copy` holds what `path` does, synced or not.
  void Copied(const std::string& path, const std::string& copy);

  // Connections opened from now on checkpoint as soon as the WAL has that many pages; SQLite's own
  // measure is 1000.
  void CheckpointEvery(int pages);

  // --- for the functions that SQLite calls ---

  bool Concerns(const std::string& path) const;
  enum class Call { kWrite, kSync, kTruncate, kGrow };
  struct File;
  // The fault of the call that is about to be made.
  std::optional<WriteFault> Next(Call call, const File& file);
  void Killed() const;
  // Keeps what a change of a file is about to overwrite: from `offset` on, `size` bytes at most.
  void Remember(File& file, int64_t offset, int64_t size);
  void Synced(const File& file);
  void LoseUnsynced(File& file);
  void Forget(const std::string& path);

 private:
  // What brings a file back to where it was before one change.
  struct Undo {
    int64_t size = 0;
    int64_t offset = 0;
    std::string bytes;
  };

  std::function<void(absl::string_view)> on_call_;
  std::function<void()> on_kill_;
  sqlite3_vfs vfs_;
  mutable absl::Mutex mu_;
  std::string prefix_ ABSL_GUARDED_BY(mu_);
  uint64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t fail_at_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t fail_until_ ABSL_GUARDED_BY(mu_) = 0;
  WriteFault fault_ ABSL_GUARDED_BY(mu_) = WriteFault::kIoError;
  std::map<std::string, std::vector<Undo>> unsynced_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::fakes
