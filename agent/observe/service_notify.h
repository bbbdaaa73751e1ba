// SPDX-License-Identifier: Apache-2.0
// Tells systemd how the service is doing (sd_notify(3)). Nothing happens where systemd did not ask.
#pragma once

namespace keyturn::observe {

void NotifyReady();
void NotifyReloading();
void NotifyStopping();

}  // namespace keyturn::observe
