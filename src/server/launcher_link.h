/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of the socket to the launcher (launcher/message.h): calls with serials, any
 * number at once, never blocking the loop. The launcher may die and come back; the link reconnects
 * on its own. Calls made meanwhile wait for it; calls it had already received then end with
 * ERR_UNAVAILABLE, since nobody knows what became of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/str.h"
#include "launcher/message.h"

struct launcher_link;

/* The outcome of a call. Failures of the link itself look like a launcher's: code and message are
 * set. LIST calls back once per sandbox with more = 1 before the last with more = 0 (which alone
 * can be a failure); all others exactly once. Never from inside launcher_link_call. */
typedef void launcher_done_fn(const struct launcher_reply *reply, void *arg);

struct launcher_link_events {
    /* The connection is there, at first and again after a loss. */
    void (*connected)(void *arg);
    /* A sandbox's init has ended: by itself, or for the launcher's reason if that is not "". */
    void (*gone)(const char *id, const char *reason, void *arg);
    /* A creation succeeded that nobody waits for any more: it must be destroyed. */
    void (*stray)(const char *id, void *arg);
};

/* Begins to connect. The path and the events must outlive the link. */
struct launcher_link *launcher_link_open(uv_loop_t *loop, const char *path,
                                         const struct launcher_link_events *events, void *arg);
/* Ends it; calls under way are forgotten without a callback. */
void launcher_link_close(struct launcher_link *link);
bool launcher_link_connected(const struct launcher_link *link);

/* Sends a request (version, serial and config_len are filled in here). body is what follows it: for
 * CREATE and NETWORK the network_len bytes of a policy, for CREATE then at most LAUNCHER_CONFIG_MAX
 * bytes of configuration; else STR(""). The call ends with ERR_TIMEOUT after timeout_ns. */
void launcher_link_call(struct launcher_link *link, const struct launcher_request *request,
                        struct str body, int64_t timeout_ns, launcher_done_fn *done, void *arg);
/* Calls whose arg is this will not call back. */
void launcher_link_forget(struct launcher_link *link, const void *arg);
