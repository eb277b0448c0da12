/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of a sandbox to a name: found out what it wants, looked up, connected, passed on.
 * What client and upstream send is bounded on the way; neither can make the other's bytes pile up. */
#pragma once

#include <stdbool.h>

struct egress;
struct guest;
struct session;

enum session_kind { SESSION_TLS, SESSION_HTTP };

/* Takes the connected socket over. */
void session_open(struct egress *egress, struct guest *guest, enum session_kind kind, int fd);
/* The sandbox's next one. */
struct session *session_next(const struct session *session);
/* Whether its name is still one that the sandbox may reach, or not known yet. */
bool session_allowed(const struct session *session);
/* Ends it at once. */
void session_cut(struct session *session);
