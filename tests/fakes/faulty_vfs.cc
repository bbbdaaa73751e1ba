// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/faulty_vfs.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/check.h"

namespace keyturn::fakes {

// As SQLite allocates it: the real file lies behind it in the same memory.
struct FaultyVfs::File {
  sqlite3_file base;
  sqlite3_file* real;
  std::string* path;
  const char* what;   // "db", "wal" or "journal"; null: its calls are passed on
  int index_regions;  // of the WAL's index, that were seen
};

namespace {

using Call = FaultyVfs::Call;
using File = FaultyVfs::File;

// Calls in a row that find the disk full.
constexpr uint64_t kFullFor = 4;

FaultyVfs* g_vfs = nullptr;
sqlite3_vfs* g_real = nullptr;
int g_checkpoint_every = 0;

// An extension of every connection. Opening one sets SQLite's own measure last of all, so ours is
// set with each commit instead.
int SetCheckpoint(void* db) {
  sqlite3_wal_autocheckpoint(static_cast<sqlite3*>(db), g_checkpoint_every);
  return 0;
}
int Extend(sqlite3* db, char**, const sqlite3_api_routines*) {
  sqlite3_commit_hook(db, SetCheckpoint, db);
  return SQLITE_OK;
}
const auto kExtension = reinterpret_cast<void (*)()>(Extend);

File& Ours(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
const sqlite3_io_methods& Real(sqlite3_file* file) { return *Ours(file).real->pMethods; }

const char* NameOf(Call call) {
  switch (call) {
    case Call::kWrite:
      return "write";
    case Call::kSync:
      return "sync";
    case Call::kTruncate:
      return "truncate";
    case Call::kGrow:
      return "grow";
  }
  return "";
}

// What a failing call answers, with errno as the system leaves it.
int Failed(Call call, WriteFault fault) {
  errno = fault == WriteFault::kDiskFull ? ENOSPC : EIO;
  switch (call) {
    case Call::kWrite:
      return fault == WriteFault::kDiskFull ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    case Call::kSync:
      return SQLITE_IOERR_FSYNC;
    case Call::kTruncate:
      return SQLITE_IOERR_TRUNCATE;
    case Call::kGrow:
      return SQLITE_IOERR_SHMSIZE;
  }
  return SQLITE_IOERR;
}

int64_t SizeOf(File& file) {
  sqlite3_int64 size = 0;
  KEYTURN_CHECK(file.real->pMethods->xFileSize(file.real, &size) == SQLITE_OK, "a size is known");
  return size;
}

int Close(sqlite3_file* file) {
  File& ours = Ours(file);
  const int result = Real(file).xClose(ours.real);
  delete ours.path;
  ours.path = nullptr;
  return result;
}

int Read(sqlite3_file* file, void* bytes, int size, sqlite3_int64 offset) {
  return Real(file).xRead(Ours(file).real, bytes, size, offset);
}

int Write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  File& ours = Ours(file);
  if (ours.what == nullptr) return Real(file).xWrite(ours.real, bytes, size, offset);
  const std::optional<WriteFault> fault = g_vfs->Next(Call::kWrite, ours);
  const bool half = fault == WriteFault::kShortWrite || fault == WriteFault::kKilled;
  if (fault.has_value() && !half) return Failed(Call::kWrite, *fault);
  const int written = half ? size / 2 : size;
  g_vfs->Remember(ours, offset, written);
  const int result = Real(file).xWrite(ours.real, bytes, written, offset);
  if (fault == WriteFault::kKilled) g_vfs->Killed();
  return half ? Failed(Call::kWrite, *fault) : result;
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  File& ours = Ours(file);
  if (ours.what == nullptr) return Real(file).xTruncate(ours.real, size);
  const std::optional<WriteFault> fault = g_vfs->Next(Call::kTruncate, ours);
  if (fault == WriteFault::kKilled) g_vfs->Killed();
  if (fault.has_value()) return Failed(Call::kTruncate, *fault);
  g_vfs->Remember(ours, size, std::numeric_limits<int>::max());
  return Real(file).xTruncate(ours.real, size);
}

int Sync(sqlite3_file* file, int) {
  File& ours = Ours(file);
  if (ours.what == nullptr) return SQLITE_OK;
  const std::optional<WriteFault> fault = g_vfs->Next(Call::kSync, ours);
  if (fault == WriteFault::kKilled) g_vfs->Killed();
  if (fault == WriteFault::kLostSync) g_vfs->LoseUnsynced(ours);
  if (fault.has_value()) return Failed(Call::kSync, *fault);
  g_vfs->Synced(ours);
  return SQLITE_OK;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Real(file).xFileSize(Ours(file).real, size);
}
int Lock(sqlite3_file* file, int level) { return Real(file).xLock(Ours(file).real, level); }
int Unlock(sqlite3_file* file, int level) { return Real(file).xUnlock(Ours(file).real, level); }
int CheckReservedLock(sqlite3_file* file, int* held) {
  return Real(file).xCheckReservedLock(Ours(file).real, held);
}
int FileControl(sqlite3_file* file, int operation, void* argument) {
  return Real(file).xFileControl(Ours(file).real, operation, argument);
}
int SectorSize(sqlite3_file* file) { return Real(file).xSectorSize(Ours(file).real); }
int DeviceCharacteristics(sqlite3_file* file) {
  return Real(file).xDeviceCharacteristics(Ours(file).real);
}

int ShmMap(sqlite3_file* file, int region, int size, int extend, void volatile** memory) {
  File& ours = Ours(file);
  if (ours.what != nullptr && extend != 0 && region >= ours.index_regions) {
    const std::optional<WriteFault> fault = g_vfs->Next(Call::kGrow, ours);
    if (fault == WriteFault::kKilled) g_vfs->Killed();
    if (fault.has_value()) return Failed(Call::kGrow, *fault);
    ours.index_regions = region + 1;
  }
  return Real(file).xShmMap(ours.real, region, size, extend, memory);
}
int ShmLock(sqlite3_file* file, int offset, int n, int flags) {
  return Real(file).xShmLock(Ours(file).real, offset, n, flags);
}
void ShmBarrier(sqlite3_file* file) { Real(file).xShmBarrier(Ours(file).real); }
int ShmUnmap(sqlite3_file* file, int remove) {
  Ours(file).index_regions = 0;
  return Real(file).xShmUnmap(Ours(file).real, remove);
}

// Version 2: with the WAL's index, without mapping of the database, which the store does not use.
constexpr sqlite3_io_methods kMethods = {2,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         Lock,
                                         Unlock,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         DeviceCharacteristics,
                                         ShmMap,
                                         ShmLock,
                                         ShmBarrier,
                                         ShmUnmap,
                                         nullptr,
                                         nullptr};

const char* WhatIs(int flags) {
  if ((flags & SQLITE_OPEN_MAIN_DB) != 0) return "db";
  if ((flags & SQLITE_OPEN_WAL) != 0) return "wal";
  return (flags & SQLITE_OPEN_MAIN_JOURNAL) != 0 ? "journal" : nullptr;
}

int Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* real = reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + sizeof(File));
  auto* ours = new (file) File{{}, real, nullptr, WhatIs(flags), 0};
  real->pMethods = nullptr;
  const int result = g_real->xOpen(g_real, name, real, flags, out_flags);
  if (real->pMethods == nullptr) return result;
  ours->base.pMethods = &kMethods;
  ours->path = new std::string(name == nullptr ? "" : name);
  if (!g_vfs->Concerns(*ours->path)) ours->what = nullptr;
  return result;
}

int Delete(sqlite3_vfs*, const char* name, int) {
  const int result = g_real->xDelete(g_real, name, 0);
  if (result == SQLITE_OK) g_vfs->Forget(name);
  return result;
}

}  // namespace

FaultyVfs::FaultyVfs() {
  KEYTURN_CHECK(g_vfs == nullptr, "one at a time");
  g_real = sqlite3_vfs_find(nullptr);
  KEYTURN_CHECK(g_real != nullptr, "SQLite has a file system");
  // All that is not replaced here looks at nothing but the members that are copied.
  vfs_ = *g_real;
  vfs_.zName = "faulty";
  vfs_.pNext = nullptr;
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + g_real->szOsFile;
  vfs_.xOpen = Open;
  vfs_.xDelete = Delete;
  g_vfs = this;
  KEYTURN_CHECK(sqlite3_vfs_register(&vfs_, 1) == SQLITE_OK, "SQLite takes a file system");
}

FaultyVfs::~FaultyVfs() {
  sqlite3_cancel_auto_extension(kExtension);
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(g_real, 1);
  g_vfs = nullptr;
}

void FaultyVfs::Fail(uint64_t nth, WriteFault fault) {
  absl::MutexLock lock(&mu_);
  fault_ = fault;
  fail_at_ = calls_ + nth;
  fail_until_ = fail_at_ + 1;
  if (fault == WriteFault::kDiskFull) fail_until_ = fail_at_ + kFullFor;
  if (fault == WriteFault::kKilled) fail_until_ = std::numeric_limits<uint64_t>::max();
}

void FaultyVfs::Heal() {
  absl::MutexLock lock(&mu_);
  fail_at_ = fail_until_ = 0;
}

void FaultyVfs::CheckpointEvery(int pages) {
  g_checkpoint_every = pages;
  sqlite3_auto_extension(kExtension);
}

uint64_t FaultyVfs::calls() const {
  absl::MutexLock lock(&mu_);
  return calls_;
}

void FaultyVfs::Only(std::string prefix) {
  absl::MutexLock lock(&mu_);
  prefix_ = std::move(prefix);
}

bool FaultyVfs::Concerns(const std::string& path) const {
  absl::MutexLock lock(&mu_);
  return absl::StartsWith(path, prefix_);
}

std::optional<WriteFault> FaultyVfs::Next(Call call, const File& file) {
  if (on_call_) on_call_(absl::StrCat(NameOf(call), ":", file.what));
  absl::MutexLock lock(&mu_);
  ++calls_;
  if (calls_ < fail_at_ || calls_ >= fail_until_) return std::nullopt;
  // After the torn write, nothing at all.
  if (fault_ == WriteFault::kKilled && calls_ > fail_at_) return WriteFault::kIoError;
  return fault_;
}

void FaultyVfs::Killed() const {
  if (on_kill_) on_kill_();
}

void FaultyVfs::Remember(File& file, int64_t offset, int64_t size) {
  Undo undo{SizeOf(file), offset, {}};
  undo.bytes.resize(static_cast<size_t>(std::clamp<int64_t>(undo.size - offset, 0, size)));
  if (!undo.bytes.empty()) {
    KEYTURN_CHECK(
        file.real->pMethods->xRead(file.real, undo.bytes.data(),
                                   static_cast<int>(undo.bytes.size()), offset) == SQLITE_OK,
        "what was there can be read");
  }
  absl::MutexLock lock(&mu_);
  unsynced_[*file.path].push_back(std::move(undo));
}

void FaultyVfs::Synced(const File& file) { Forget(*file.path); }

void FaultyVfs::LoseUnsynced(File& file) {
  std::vector<Undo> undos;
  {
    absl::MutexLock lock(&mu_);
    undos.swap(unsynced_[*file.path]);
  }
  for (auto undo = undos.rbegin(); undo != undos.rend(); ++undo) {
    const bool undone = file.real->pMethods->xWrite(file.real, undo->bytes.data(),
                                                    static_cast<int>(undo->bytes.size()),
                                                    undo->offset) == SQLITE_OK &&
                        file.real->pMethods->xTruncate(file.real, undo->size) == SQLITE_OK;
    KEYTURN_CHECK(undone, "what was there can be written again");
  }
}

void FaultyVfs::Forget(const std::string& path) {
  absl::MutexLock lock(&mu_);
  unsynced_.erase(path);
}

void FaultyVfs::Copied(const std::string& path, const std::string& copy) {
  absl::MutexLock lock(&mu_);
  if (const auto found = unsynced_.find(path); found != unsynced_.end()) {
    unsynced_[copy] = std::vector<Undo>(found->second);
  }
}

std::string FaultyVfs::AfterPowerLoss(const std::string& path, std::string bytes) const {
  absl::MutexLock lock(&mu_);
  const auto found = unsynced_.find(path);
  if (found == unsynced_.end()) return bytes;
  for (auto undo = found->second.rbegin(); undo != found->second.rend(); ++undo) {
    const size_t end = static_cast<size_t>(undo->offset) + undo->bytes.size();
    bytes.resize(std::max(static_cast<size_t>(undo->size), end));
    bytes.replace(static_cast<size_t>(undo->offset), undo->bytes.size(), undo->bytes);
    bytes.resize(static_cast<size_t>(undo->size));
  }
  return bytes;
}

}  // namespace keyturn::fakes
