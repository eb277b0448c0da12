/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of names, asked of the resolvers that the operator has named; over UDP, with a small
 * memory. Answers are dropped that point where no sandbox may go: a name must not become a way to
 * the host's own networks (DNS rebinding). */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "egress/dns.h"
#include "egress/message.h"

struct resolver;
struct question;

/* Embedded in who waits; zeroed at first. */
struct resolve_wait {
    LIST_ENTRY(resolve_wait) link;
    struct question *question; /* NULL: not waiting */
    /* Once. answer->count is 0 when there is no address to go to; closed tells that there were only
     * ones which are closed. Valid during the call. */
    void (*done)(struct resolve_wait *wait, const struct dns_answer *answer, bool closed);
};

struct resolver *resolver_new(uv_loop_t *loop);
/* Nobody may be waiting. */
void resolver_free(struct resolver *resolver);
/* Whom to ask and what is closed; forgets all answers. */
void resolver_configure(struct resolver *resolver, const struct egress_hello *hello);

/* Asks for a (normalized) name. done may be called from inside. */
void resolver_ask(struct resolver *resolver, const char *name, struct resolve_wait *wait,
                  void (*done)(struct resolve_wait *, const struct dns_answer *, bool closed));
/* Waits no longer; harmless when not waiting. */
void resolver_cancel(struct resolve_wait *wait);

bool resolver_is_closed(const struct resolver *resolver, struct in_addr address);
