// SPDX-License-Identifier: Apache-2.0
#include "agent/observe/service_notify.h"

#include <systemd/sd-daemon.h>

namespace keyturn::observe {

void NotifyReady() { sd_notify(0, "READY=1"); }
void NotifyReloading() { sd_notify(0, "RELOADING=1"); }
void NotifyStopping() { sd_notify(0, "STOPPING=1"); }

}  // namespace keyturn::observe
