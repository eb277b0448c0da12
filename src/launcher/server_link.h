/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to the server: one at a time, messages that are whole and valid or none. Replies
 * that the server does not take yet wait here; meanwhile none of its requests is read, so that
 * the queue is bounded by what is under way. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "launcher/message.h"

struct server_link {
    int fd;              /* -1: no server */
    uint64_t generation; /* counts connections */
    struct launcher_reply *queue;
    size_t count, capacity;
};

struct server_request {
    struct launcher_request head; /* checked: texts are NUL-terminated, lengths fit */
    char body[LAUNCHER_NETWORK_MAX + LAUNCHER_CONFIG_MAX]; /* network, then configuration */
};

/* Accepts a connection from listen_fd if its peer is root or uid; it replaces the one there was.
 * 0, or -errno when nobody was let in. */
int server_link_accept(struct server_link *link, int listen_fd, uid_t uid);
void server_link_close(struct server_link *link);

/* 1: *ret is a request; 0: nothing there now; negative: the peer has gone or broken the rules, and
 * the connection is closed. */
int server_link_read(struct server_link *link, struct server_request *ret);
/* Sends or queues. Dropped when there is no server. */
void server_link_send(struct server_link *link, const struct launcher_reply *reply);
/* The socket takes messages again. */
void server_link_flush(struct server_link *link);
bool server_link_waiting(const struct server_link *link);
