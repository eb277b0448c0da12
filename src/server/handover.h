/* SPDX-License-Identifier: Apache-2.0 */
/* How one `carrel serve` takes the place of another without a connection refused: the listening socket
 * goes from the old process to the new one. Over <run>/control.sock to `carrel serve --replace`;
 * or, for a program that executes its successor, as systemd passes sockets (sd_listen_fds(3)). */
#pragma once

#include "base/err.h"

/* Listens for a successor. Root alone may connect. 0 or negative. */
int handover_listen(const char *run, int *ret, struct err *err);
/* Accepts a successor and gives it the socket; *ret is the connection, whose end tells it that we have
 * gone. 0, or -errno when it was none. */
int handover_give(int control_fd, int listen_fd, int *ret);

/* Asks who serves from there for its socket and waits until it has gone. 1 with *ret; 0 when nobody
 * serves; negative. */
int handover_take(const char *run, int *ret, struct err *err);

/* The socket that whoever started this process has opened for it: 1 with *ret, 0 when there is none,
 * negative when what was passed is of no use. */
int handover_inherit(int *ret, struct err *err);
/* Prepares the environment of this process for a program that it executes, to inherit the socket. 0 or
 * -errno. */
int handover_bequeath(int listen_fd);
