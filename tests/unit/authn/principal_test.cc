// SPDX-License-Identifier: Apache-2.0
// Who is named how, and whether its process has ended.
#include "agent/authn/principal.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace keyturn::authn {
namespace {

Principal Of(pid_t pid) {
  Principal principal;
  principal.uid = 7;
  principal.gid = 8;
  principal.pid = pid;
  return principal;
}

TEST(Principal, IsNamedByWhatTheKernelSaid) {
  Principal principal = Of(9);
  EXPECT_EQ(principal.ToString(), "unix:uid=7,gid=8,pid=9");
  principal.user = "bot";
  EXPECT_EQ(principal.ToString(), "unix:uid=7,user=bot,gid=8,pid=9");
}

TEST(Principal, HasEndedWhenItsProcessIsGone) {
  EXPECT_FALSE(HasEnded(Of(getpid()).ToString()));
  const pid_t child = fork();
  if (child == 0) _exit(0);
  ASSERT_GT(child, 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(HasEnded(Of(child).ToString()));
}

TEST(Principal, WhoseProcessIsUnknownHasNotEnded) {
  EXPECT_FALSE(HasEnded(Of(0).ToString()));
  for (const char* text : {"", "unix:uid=7", "unix:uid=7,pid=", "unix:uid=7,pid=-5", "pid=x"}) {
    EXPECT_FALSE(HasEnded(text)) << text;
  }
}

}  // namespace
}  // namespace keyturn::authn
