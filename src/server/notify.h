/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager is told (sd_notify(3)): to NOTIFY_SOCKET, if there is one. */
#pragma once

void notify_ready(void);
/* The program is about to be replaced by another in the same process. */
void notify_reloading(void);
void notify_stopping(void);
