/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `carrel`. main.c lists them in one table: a new one takes a line there, a line
 * here and a file. */
#pragma once

/* argv[0] is the subcommand's name. The result is the exit status (base/err.h). */
typedef int command_fn(int argc, char **argv);

command_fn command_serve; /* serve.c */
command_fn command_create;   /* create.c */
command_fn command_cert;  /* cert.c */
command_fn command_env;   /* env.c */
command_fn command_key;   /* key.c */
command_fn command_selftest; /* selftest.c */
command_fn command_doctor;   /* doctor.c */
