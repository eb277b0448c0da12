/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are inside a sandbox. */
#pragma once

#define PATH_HOME     "/home/user"
#define PATH_PROGRAMS "/usr/lib/carrel/interpreter"
#define PATH_PYTHON   "/usr/bin/python3"
#define PATH_NURSERY  PATH_PROGRAMS "/nursery.py"
/* The sandbox's variables as the agent last knew them, one JSON object. */
#define PATH_ENVS "/run/carrel/envs.json"
/* Sockets and connection files of kernels; for root only. */
#define PATH_RUN "/run/carrel-interpreter"
