// SPDX-License-Identifier: Apache-2.0
// Every command of `keyturn`, each in a file of its own. A function here adds one command to the
// parser; the command runs on the session when the parser has chosen it.
#pragma once

#include <string>

#include <CLI/App.hpp>

#include "absl/time/time.h"
#include "client/cli/session.h"

namespace keyturn::cli {

void AddApplyCommand(CLI::App& program, Session& session);
void AddPlanCommand(CLI::App& program, Session& session);
void AddExportCommand(CLI::App& program, Session& session);
void AddListCommand(CLI::App& program, Session& session);
void AddShowCommand(CLI::App& program, Session& session);
void AddGetCommand(CLI::App& program, Session& session);
void AddPutCommand(CLI::App& program, Session& session);
void AddDeleteCommand(CLI::App& program, Session& session);
void AddRotateCommand(CLI::App& program, Session& session);
void AddBackupCommand(CLI::App& program, Session& session);
void AddUndoCommand(CLI::App& program, Session& session);
void AddDisownCommand(CLI::App& program, Session& session);
void AddCalendarCommand(CLI::App& program, Session& session);
void AddRefreshCommand(CLI::App& program, Session& session);
void AddLoginCommand(CLI::App& program, Session& session);
void AddTestCommand(CLI::App& program, Session& session);
void AddRevokeCommand(CLI::App& program, Session& session);
void AddWatchCommand(CLI::App& program, Session& session);
void AddHistoryCommand(CLI::App& program, Session& session);
void AddRecipesCommand(CLI::App& program, Session& session);
void AddPresetsCommand(CLI::App& program, Session& session);
void AddStatusCommand(CLI::App& program, Session& session);
void AddWhoAmICommand(CLI::App& program, Session& session);
void AddVersionCommand(CLI::App& program, Session& session);
// `__complete`, which the shells' completions call.
void AddCompleteCommand(CLI::App& program, Session& session);

// An option that takes a duration such as `5m`. `given`, when not null, is set with it.
CLI::Option* AddDurationOption(CLI::App& command, const std::string& name, absl::Duration& value,
                               const std::string& description, bool* given = nullptr);

}  // namespace keyturn::cli
