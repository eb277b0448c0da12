/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that speak Jupyter's protocol over ZeroMQ: IPython, forked from the nursery, and IRkernel,
 * started by itself. Their sockets are files in PATH_RUN, not ports. */
#pragma once

#include "interpreter/kernel.h"

struct nursery;

struct kernel *jupyter_python_open(const struct kernel_options *options, struct nursery *nursery,
                                   struct err *err);
struct kernel *jupyter_r_open(const struct kernel_options *options, struct err *err);
/* Once, before the others. 0 or -errno. */
int jupyter_setup(void);
