/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a network policy that the server sent, trusting none of it. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "box/network.h"

/* The bytes are struct launcher_network and what follows it. 0, or negative with err. */
int network_from_message(const char *bytes, size_t len, struct box_network *ret, struct err *err);
