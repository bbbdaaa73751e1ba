// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/keyfile_kek_source.h"

#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "agent/base/file_io.h"
#include "agent/crypto/locked_key.h"

namespace keyturn::crypto {
namespace {

constexpr size_t kSize = LockedKey::kSize;
constexpr size_t kFileSizeMax = 4096;

// The key in `content`, or an empty secret when there is none.
base::Secret ParseKey(absl::string_view content) {
  if (content.size() == kSize) return base::Secret(content);
  while (!content.empty() && (content.back() == '\n' || content.back() == '\r')) {
    content.remove_suffix(1);
  }
  if (content.size() != 2 * kSize) return {};
  std::string key(kSize, '\0');
  size_t size = 0;
  const int result = sodium_hex2bin(reinterpret_cast<unsigned char*>(key.data()), key.size(),
                                    content.data(), content.size(), nullptr, &size, nullptr);
  base::Secret secret = base::Secret::Take(key);
  if (result != 0 || size != kSize) secret.Clear();
  return secret;
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

absl::Status Failure(absl::string_view operation, const std::string& path, int error) {
  return absl::InternalError(
      absl::StrCat("cannot ", operation, " ", path, ": ", std::generic_category().message(error)));
}

}  // namespace

absl::StatusOr<base::Secret> KeyfileKekSource::Load() {
  if (absl::Status s = base::CheckPrivate(path_, 077); !s.ok()) {
    if (!absl::IsNotFound(s)) return s;
    return absl::NotFoundError(absl::StrCat(
        "keyfile ", path_,
        " does not exist; put the store's keyfile there, or for a new store let keyturnd make one "
        "(kek.create: true)"));
  }
  absl::StatusOr<std::string> content = base::ReadFile(path_, kFileSizeMax);
  if (!content.ok()) return content.status();
  const size_t size = content->size();
  base::Secret key = ParseKey(*content);
  base::Wipe(*content);
  if (key.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("keyfile ", path_, " holds ", size,
                     " bytes that are no key; it must hold 32 raw bytes or 64 hexadecimal digits"));
  }
  return key;
}

absl::Status CreateKeyfile(const std::string& path, base::Random& random) {
  const std::string parent = ParentOf(path);
  if (absl::Status s = base::MakeDirectory(parent, 0700); !s.ok()) return s;
  const std::string draft = absl::StrCat(path, ".draft");
  std::string key = random.Bytes(kSize);
  absl::Status written = base::WriteFileDurably(draft, key, 0400);
  base::Wipe(key);
  if (!written.ok()) return written;

  // A link, unlike a rename, fails when the name is taken.
  const int error = link(draft.c_str(), path.c_str()) == 0 ? 0 : errno;
  unlink(draft.c_str());
  if (error == EEXIST) {
    return absl::AlreadyExistsError(
        absl::StrCat("keyfile ", path, " exists already and is not replaced"));
  }
  if (error != 0) return Failure("create", path, error);
  const int directory = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && fsync(directory) == 0;
  const int sync_error = errno;
  if (directory >= 0) close(directory);
  return synced ? absl::OkStatus() : Failure("sync", parent, sync_error);
}

}  // namespace keyturn::crypto
