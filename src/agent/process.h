/* SPDX-License-Identifier: Apache-2.0 */
/* The processes that were started through the agent: their life from start to 30 seconds after the
 * end, their input, and their output on its way to any number of readers.
 *
 * Output. What a process writes goes into its spool (agent/spool.h) at once. Readers are attached by
 * the owner, each with its own cursor, and woken when there is more. Nobody attached: the spool keeps
 * the output up to its bound, then the oldest goes; who attaches next begins where the readers before
 * him had come to, so each byte is delivered once. With readers attached, a new one begins at the
 * present.
 *
 * A slow reader. Its data waits in the spool. When the spool is full, the process is held up (its
 * pipes are not read) only as long as the *fastest* reader lags by half the spool, because then
 * every reader would lose data. A reader that lags while another keeps up loses its oldest bytes,
 * counted in its cursor, and delays nobody.
 *
 * The end comes when the process is reaped and its pipes have been read to their end; after a
 * signal sent through process_signal, or the deadline, the pipes are read for what is in them and
 * no longer waited for (a background child may hold them open for ever). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/process_message.h"
#include "agent/spool.h"
#include "base/err.h"
#include "base/passwd.h"

enum {
    PROCESS_LIVE_MAX = 16384,
    PROCESS_FINISHED_MAX = 4096,
    PROCESS_FINISHED_S = 30,
    PROCESS_SPOOL_BYTES = 1 << 20,
    PROCESS_SPOOLS_BYTES = 64 << 20, /* of all processes together */
    PROCESS_INPUT_MAX = 16 << 20,    /* queued bytes of one process */
};

struct process_table;
struct process;

struct process_table *process_table_new(uv_loop_t *loop);
/* Forgets all, leaves the processes running. NULL is fine. No callbacks to readers any more. The
 * loop must run once more for the memory to go. */
void process_table_free(struct process_table *table);

/* Starts it. request is emptied on success. envp and cwd are used during the call only. */
int process_start(struct process_table *table, struct process_start_request *request,
                  const struct passwd_user *user, char *const *envp, const char *cwd,
                  struct process **ret, struct err *err);
/* Kills it (SIGKILL) when it still runs after so long. */
void process_set_deadline(struct process *p, int64_t ns);

/* The process, or ERR_NOT_FOUND. Finished ones only if asked for. */
int process_find(struct process_table *table, const struct process_selector *selector,
                 bool finished_too, struct process **ret, struct err *err);
/* Calls back for each one that runs, oldest first. */
void process_each(struct process_table *table, void (*fn)(const struct process *p, void *arg),
                  void *arg);

pid_t process_pid(const struct process *p);
const struct process_config *process_config_of(const struct process *p);

int process_signal(struct process *p, int signal_number, struct err *err);
int process_resize(struct process *p, uint16_t cols, uint16_t rows, struct err *err);

/* ---- input ---- */

/* Status 0 when all of it has been written, else negative errno (the process has closed its input or
 * ended). Called once, maybe from inside the call. */
typedef void process_input_fn(int status, void *arg);
/* Writes after all that was queued before. bytes is taken over in any case. ERR_INTERNAL when there
 * is no such input, ERR_EXHAUSTED when too much is queued; then done is not called. */
int process_input(struct process *p, struct process_input_bytes *input, process_input_fn *done,
                  void *arg, struct err *err);
/* Closes standard input behind what is queued. Closing twice is fine; a terminal is ERR_UNKNOWN. */
int process_close_input(struct process *p, struct err *err);

/* ---- readers ---- */

struct process_reader {
    struct spool_cursor cursor; /* advanced by the owner through spool_read and spool_advance */
    void (*wake)(struct process_reader *reader); /* more to read, or the end */
    struct process *process;
    struct process_reader *next, *previous;
};

/* The reader is embedded in its owner and stays attached until process_detach; the process stays as
 * long as anybody is attached. */
void process_attach(struct process *p, struct process_reader *reader);
void process_detach(struct process_reader *reader);
const struct spool *process_spool(const struct process *p);
/* To be called after reading: lets the spool forget and the process go on. May not wake readers
 * before it returns. */
void process_consumed(struct process *p);

struct process_end {
    int exit_code;   /* -1 when killed by a signal */
    bool exited;     /* ended by itself */
    char status[64]; /* "exit status 1", "signal: killed" */
};

/* True once it has ended and all of its output is in the spool. */
bool process_ended(const struct process *p, struct process_end *ret);
/* The deadline has struck. */
bool process_timed_out(const struct process *p);
